//! A byte stream to the server: which way it takes, and whether it is encrypted.

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

/// The way to the server.
#[derive(Debug)]
pub(super) enum Route {
    /// Directly.
    Direct(TcpStream),
    /// Through an SSH server.
    Tunnel(Box<TunnelStream>),
}

/// A connection's bytes, in clear or through TLS.
#[derive(Debug)]
pub(super) enum Stream {
    /// Bytes go as they are.
    Plain(Route),
    /// Bytes go through TLS.
    Tls(Box<TlsStream<BufReader<Route>>>),
}

/// How much is read from a socket at once where the bytes are encrypted. By itself, the TLS library
/// reads 4 KiB at most.
const ENCRYPTED_PIECE: usize = 64 * 1024;

impl Route {
    /// Buffers what is encrypted.
    pub(super) fn buffered(self) -> BufReader<Self> {
        BufReader::with_capacity(ENCRYPTED_PIECE, self)
    }
}

impl Stream {
    pub(super) fn tls(stream: TlsStream<BufReader<Route>>) -> Self {
        Self::Tls(Box::new(stream))
    }

    /// Sends what the session has queued.
    ///
    /// # Errors
    ///
    /// Fails when the connection is gone.
    pub(super) async fn send_queued(&mut self, session: &mut Session) -> Result<()> {
        while let Some(bytes) = session.poll_transmit() {
            self.write_all(&bytes).await.map_err(connection_lost)?;
        }
        self.flush().await.map_err(connection_lost)
    }

    /// Returns whether the bytes are encrypted all the way to the server.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

/// Hands reading and writing on to whichever variant it is.
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
