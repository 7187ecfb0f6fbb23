//! The receive buffer, which holds bytes from the socket until the session has consumed them.

use tokio::io::{AsyncRead, AsyncReadExt};

/// Size of the buffer unless it has to hold a larger message.
const USUAL_SIZE: usize = 256 * 1024;

/// Contiguous bytes that were received and are not consumed yet.
///
/// The buffer grows to the size of a message that is larger than the buffer, and returns to its
/// usual size when that message has been consumed, so that one huge row does not occupy memory for
/// good.
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
    /// Returns the bytes that are not consumed yet.
    #[inline]
    pub fn unread(&self) -> &[u8] {
        // Invariant: start <= end <= len. `start` moves by the counter of `split`, `end` in `fill`.
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Returns the bytes that are not consumed yet, and the counter to advance by the number of
    /// bytes consumed. Values parsed from the bytes can keep borrowing them while the counter
    /// advances.
    #[inline]
    pub fn split(&mut self) -> (&[u8], &mut usize) {
        (
            self.bytes.get(self.start..self.end).unwrap_or_default(),
            &mut self.start,
        )
    }

    /// Reads once, after making space for at least `needed` more bytes. Returns the number of bytes
    /// read; zero if the peer has closed the connection.
    ///
    /// # Errors
    ///
    /// Fails if reading from the stream fails.
    pub async fn fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        needed: usize,
    ) -> std::io::Result<usize> {
        self.make_space(needed.max(1));
        let space = self.bytes.get_mut(self.end..).unwrap_or_default();
        let count = stream.read(space).await?;
        self.end += count;
        Ok(count)
    }

    fn make_space(&mut self, needed: usize) {
        let unread = self.end - self.start;
        if unread == 0 {
            (self.start, self.end) = (0, 0);
        }
        if self.bytes.len() > USUAL_SIZE && unread + needed <= USUAL_SIZE {
            // The message that made the buffer grow is consumed.
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
    async fn a_buffer_keeps_unread_bytes_when_it_grows_and_shrinks_afterwards() {
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
    async fn a_buffer_moves_unread_bytes_to_the_front_instead_of_growing() {
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
