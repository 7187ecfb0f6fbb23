//! The receive buffer: bytes from the socket until the session has consumed them.

use tokio::io::{AsyncRead, AsyncReadExt};

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
}

impl Default for ReceiveBuffer {
    fn default() -> Self {
        Self {
            bytes: vec![0; USUAL_SIZE],
            start: 0,
            end: 0,
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

    /// Reads once, making room for at least `needed` more bytes first. Returns the number of bytes
    /// read: zero means that the peer has closed the connection.
    ///
    /// # Errors
    ///
    /// Fails when the stream does.
    pub async fn fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        needed: usize,
    ) -> std::io::Result<usize> {
        self.make_room(needed.max(1));
        let room = self.bytes.get_mut(self.end..).unwrap_or_default();
        let count = stream.read(room).await?;
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
