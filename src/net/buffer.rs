//! The receive buffer: bytes from the socket until the session has consumed them.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncRead, ReadBuf};

/// Size that the buffer has when nothing larger than this is in flight.
const USUAL_SIZE: usize = 256 * 1024;

/// Contiguous bytes received but not consumed yet.
///
/// A message larger than the buffer makes it grow to just that message; once it is consumed the
/// buffer goes back to its usual size, so that one huge row does not cost its memory for good.
#[derive(Debug)]
pub struct ReceiveBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Met behind the last bytes.
    failure: Option<io::Error>,
}

impl Default for ReceiveBuffer {
    fn default() -> Self {
        Self {
            bytes: vec![0; USUAL_SIZE],
            start: 0,
            end: 0,
            failure: None,
        }
    }
}

impl ReceiveBuffer {
    /// Returns the bytes that wait to be consumed.
    #[inline]
    pub fn unread(&self) -> &[u8] {
        // Both ends are only ever moved by `consume` and `fill`, which keep start <= end <= len.
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Returns the waiting bytes, and a counter that says how many of them were consumed: what is
    /// parsed from the bytes may go on borrowing them while the counter moves.
    #[inline]
    pub fn split(&mut self) -> (&[u8], &mut usize) {
        (
            self.bytes.get(self.start..self.end).unwrap_or_default(),
            &mut self.start,
        )
    }

    /// Reads what has arrived, as far as there is room, or else waits for something, making room for at
    /// least `needed` more bytes first. Returns the number of bytes read: zero means that the peer has
    /// closed the connection.
    ///
    /// A stream that decrypts gives a few rows at a time, however many have arrived.
    ///
    /// # Errors
    ///
    /// Fails when the stream does.
    pub async fn fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        needed: usize,
    ) -> io::Result<usize> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.make_room(needed.max(1));
        let failure = &mut self.failure;
        let mut room = ReadBuf::new(self.bytes.get_mut(self.end..).unwrap_or_default());
        poll_fn(|context| {
            loop {
                let before = room.filled().len();
                match Pin::new(&mut *stream).poll_read(context, &mut room) {
                    Poll::Ready(Ok(())) if room.filled().len() == before => break,
                    Poll::Ready(Ok(())) if room.remaining() == 0 => break,
                    Poll::Ready(Ok(())) => (),
                    Poll::Ready(Err(error)) if before > 0 => {
                        *failure = Some(error);
                        break;
                    }
                    Poll::Pending if before > 0 => break,
                    other => return other,
                }
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        let count = room.filled().len();
        self.end += count;
        Ok(count)
    }

    fn make_room(&mut self, needed: usize) {
        let unread = self.end - self.start;
        if unread == 0 {
            (self.start, self.end) = (0, 0);
        }
        if self.bytes.len() > USUAL_SIZE && unread + needed <= USUAL_SIZE {
            // What made the buffer grow is consumed.
            let mut usual = vec![0; USUAL_SIZE];
            usual[..unread].copy_from_slice(&self.bytes[self.start..self.end]);
            self.bytes = usual;
            (self.start, self.end) = (0, unread);
        }
        if self.bytes.len() - self.end >= needed {
            return;
        }
        if self.bytes.len() - unread < needed {
            self.bytes.resize(unread + needed, 0);
        }
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, unread);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_unread_bytes_while_it_grows_and_shrinks_afterwards() {
        let data: Vec<u8> = (0..USUAL_SIZE * 3)
            .map(|i| u8::try_from(i % 251).unwrap())
            .collect();
        let mut stream = data.as_slice();
        let mut buffer = ReceiveBuffer::default();
        while buffer.unread().len() < data.len() {
            let missing = data.len() - buffer.unread().len();
            assert!(buffer.fill(&mut stream, missing).await.unwrap() > 0);
        }
        assert_eq!(buffer.unread(), data);
        *buffer.split().1 += data.len();
        assert_eq!(buffer.fill(&mut stream, 1).await.unwrap(), 0);
        assert_eq!(buffer.bytes.len(), USUAL_SIZE);
    }

    /// Gives a few bytes at a time, as decryption does, and fails at the end.
    struct Trickle {
        left: usize,
        wakes: bool,
    }

    impl AsyncRead for Trickle {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if std::mem::take(&mut self.wakes) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.left == 0 {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let count = self.left.min(100).min(buffer.remaining());
            buffer.put_slice(&[7; 100][..count]);
            self.left -= count;
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn takes_what_comes_in_small_pieces_at_once_and_then_what_it_ended_with() {
        let mut stream = Trickle {
            left: 2 * USUAL_SIZE - 50,
            wakes: true,
        };
        let mut buffer = ReceiveBuffer::default();
        assert_eq!(buffer.fill(&mut stream, 1).await.unwrap(), USUAL_SIZE);
        *buffer.split().1 += USUAL_SIZE;
        stream.wakes = true;
        assert_eq!(buffer.fill(&mut stream, 1).await.unwrap(), USUAL_SIZE - 50);
        *buffer.split().1 += USUAL_SIZE - 50;
        for _ in 0..2 {
            let error = buffer.fill(&mut stream, 1).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }

    #[tokio::test]
    async fn compacts_instead_of_growing_when_the_front_is_consumed() {
        let data = vec![7u8; USUAL_SIZE + 10];
        let mut stream = data.as_slice();
        let mut buffer = ReceiveBuffer::default();
        assert_eq!(buffer.fill(&mut stream, 1).await.unwrap(), USUAL_SIZE);
        *buffer.split().1 += USUAL_SIZE - 5;
        assert_eq!(buffer.fill(&mut stream, 10).await.unwrap(), 10);
        assert_eq!(buffer.unread().len(), 15);
        assert_eq!(buffer.bytes.len(), USUAL_SIZE);
    }
}
