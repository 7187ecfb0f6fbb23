//! Reading all that is there where a stream hands it out piece by piece.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream whose reads go on until nothing more is there, or the room is used up.
///
/// A server sends each row in a TLS record of its own, and a read of a TLS stream gives one record.
#[derive(Debug)]
pub(super) struct Gathered<S> {
    stream: S,
    /// What came behind bytes that had to be handed out first.
    error: Option<io::Error>,
}

impl<S> Gathered<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            error: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(error) = this.error.take() {
            return Poll::Ready(Err(error));
        }
        let start = buffer.filled().len();
        loop {
            let before = buffer.filled().len();
            let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
            let has_more = buffer.filled().len() > before && buffer.remaining() > 0;
            match polled {
                Poll::Ready(Ok(())) if has_more => {}
                Poll::Ready(Err(error)) if before > start => {
                    this.error = Some(error);
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending if before > start => return Poll::Ready(Ok(())),
                other => return other,
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::io::AsyncReadExt;

    use super::*;

    /// Gives one piece a read; `None` is a moment without bytes.
    struct Pieces(VecDeque<Option<io::Result<&'static [u8]>>>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.0.pop_front() {
                Some(Some(piece)) => {
                    let piece = piece?;
                    let (now, later) = piece.split_at(piece.len().min(buffer.remaining()));
                    buffer.put_slice(now);
                    if !later.is_empty() {
                        self.0.push_front(Some(Ok(later)));
                    }
                    Poll::Ready(Ok(()))
                }
                Some(None) => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                None => Poll::Ready(Ok(())),
            }
        }
    }

    async fn read(stream: &mut Gathered<Pieces>, room: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; room];
        let count = stream.read(&mut bytes).await?;
        bytes.truncate(count);
        Ok(bytes)
    }

    #[tokio::test]
    async fn a_read_takes_what_is_there_and_no_more_than_it_has_room_for() {
        let pieces = [Some(Ok(&b"one"[..])), Some(Ok(b"two")), None];
        let more = [Some(Ok(&b"three"[..])), Some(Ok(b"four"))];
        let mut stream = Gathered::new(Pieces(pieces.into_iter().chain(more).collect()));
        assert_eq!(read(&mut stream, 100).await.unwrap(), b"onetwo");
        assert_eq!(read(&mut stream, 7).await.unwrap(), b"threefo");
        assert_eq!(read(&mut stream, 100).await.unwrap(), b"ur");
        assert_eq!(read(&mut stream, 100).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn an_error_comes_behind_the_bytes_before_it() {
        let reset = || Some(Err(io::ErrorKind::ConnectionReset.into()));
        let pieces = [None, Some(Ok(&b"one"[..])), reset(), reset()];
        let mut stream = Gathered::new(Pieces(pieces.into()));
        assert_eq!(read(&mut stream, 100).await.unwrap(), b"one");
        for _ in 0..2 {
            let error = read(&mut stream, 100).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        assert_eq!(read(&mut stream, 100).await.unwrap(), b"");
    }
}
