//! The byte stream of a connection through a tunnel.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use russh::client::{Handle, Msg};
use russh::{Channel, ChannelStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::host_key::HostKeyCheck;

/// A channel of an SSH session. The session lives as long as the channel.
pub(in crate::net) struct TunnelStream {
    /// `None` only while the value is dropped.
    stream: Option<ChannelStream<Msg>>,
    session: Arc<Handle<HostKeyCheck>>,
    server: String,
    /// Runtime for the task that the drop of `stream` spawns to close the channel. The drop may
    /// happen outside of a runtime.
    runtime: tokio::runtime::Handle,
}

impl Drop for TunnelStream {
    fn drop(&mut self) {
        let _entered = self.runtime.enter();
        self.stream = None;
    }
}

impl fmt::Debug for TunnelStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunnelStream")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl TunnelStream {
    pub(super) fn new(
        channel: Channel<Msg>,
        session: Arc<Handle<HostKeyCheck>>,
        server: String,
    ) -> Self {
        Self {
            stream: Some(channel.into_stream()),
            session,
            server,
            runtime: tokio::runtime::Handle::current(),
        }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut ChannelStream<Msg>>> {
        match &mut self.stream {
            Some(stream) => Ok(Pin::new(stream)),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Returns the error for the end of the SSH connection. Without it, the error would look as if
    /// the database server had closed the connection.
    fn ended(&self) -> io::Error {
        io::Error::new(
            io::ErrorKind::ConnectionAborted,
            format!("the SSH connection to {} has ended", self.server),
        )
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(this.stream()?.poll_read(context, buffer)).map_err(|_| this.ended())?;
        if buffer.filled().len() == before && this.session.is_closed() {
            return Poll::Ready(Err(this.ended()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(this.stream()?.poll_write(context, bytes));
        Poll::Ready(written.map_err(|_| this.ended()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = ready!(this.stream()?.poll_flush(context));
        Poll::Ready(flushed.map_err(|_| this.ended()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let done = ready!(this.stream()?.poll_shutdown(context));
        Poll::Ready(done.map_err(|_| this.ended()))
    }
}
