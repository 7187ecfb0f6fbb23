//! A byte stream to the server: direct or through a tunnel, in clear text or with TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use protocol::Session;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::error::connection_lost;
use super::tunnel::TunnelStream;
use crate::error::Result;

/// The network path to the server.
#[derive(Debug)]
pub(super) enum Route {
    /// A TCP connection to the server.
    Direct(TcpStream),
    /// A connection through an SSH server.
    Tunnel(Box<TunnelStream>),
}

/// A byte stream to the server.
#[derive(Debug)]
pub(super) enum Stream {
    /// In clear text.
    Plain(Route),
    /// With TLS.
    Tls(Box<TlsStream<BufReader<Route>>>),
}

/// Size of the buffer between the socket and the TLS library, which by itself reads at most 4 KiB
/// at once.
const TLS_READ_BUFFER: usize = 64 * 1024;

impl Route {
    /// Adds the read buffer that TLS needs.
    pub(super) fn buffered(self) -> BufReader<Self> {
        BufReader::with_capacity(TLS_READ_BUFFER, self)
    }
}

impl Stream {
    pub(super) fn tls(stream: TlsStream<BufReader<Route>>) -> Self {
        Self::Tls(Box::new(stream))
    }

    /// Sends the messages that the session has queued.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub(super) async fn send_queued(&mut self, session: &mut Session) -> Result<()> {
        while let Some(bytes) = session.poll_transmit() {
            self.write_all(&bytes).await.map_err(connection_lost)?;
        }
        self.flush().await.map_err(connection_lost)
    }

    /// Returns whether the stream uses TLS, which also encrypts the path between an SSH server and
    /// the database server.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

/// Implements reading and writing by delegation to the stream of each variant.
macro_rules! delegate {
    ($name:ident: $($variant:ident),*) => {
        impl AsyncRead for $name {
            #[inline]
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_read(context, buffer),)*
                }
            }
        }

        impl AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_write(context, bytes),)*
                }
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_flush(context),)*
                }
            }

            fn poll_shutdown(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_shutdown(context),)*
                }
            }
        }
    };
}

delegate!(Route: Direct, Tunnel);
delegate!(Stream: Plain, Tls);
