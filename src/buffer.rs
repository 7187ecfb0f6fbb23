//! A buffer whose bytes to come are there already.

use std::ops::{Deref, DerefMut};

/// Bytes that grow at their end, with initialised memory behind it.
///
/// A vector may only be written to behind its end by appending, which moves its length with each
/// piece, or after filling that part with zeros. Here the memory is filled when it is got and stays
/// as it is when the end moves back: what was written there before is overwritten.
#[derive(Debug, Default)]
pub struct Buffer {
    /// The bytes, and behind them what is of no use.
    memory: Vec<u8>,
    length: usize,
    /// Where bytes come together that a writer to vectors appends.
    scratch: Vec<u8>,
}

/// The least that a buffer grows by.
const MIN_GROWTH: usize = 256;

/// What is kept of the memory beside a buffer.
const MAX_IDLE_SCRATCH: usize = 1024 * 1024;

impl Buffer {
    /// Makes an empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets something write to a vector as to a buffer.
    #[inline]
    pub(crate) fn wrap<T>(vec: &mut Vec<u8>, write: impl FnOnce(&mut Self) -> T) -> T {
        let memory = std::mem::take(vec);
        let length = memory.len();
        let mut buffer = Self {
            memory,
            length,
            scratch: Vec::new(),
        };
        let written = write(&mut buffer);
        buffer.memory.truncate(buffer.length);
        *vec = buffer.memory;
        written
    }

    /// Makes the memory behind the bytes at least so large.
    #[inline(always)]
    pub fn reserve(&mut self, additional: usize) {
        if self.memory.len() - self.length < additional {
            grow(&mut self.memory, self.length, additional);
        }
    }

    /// Appends bytes.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        let end = self.length + bytes.len();
        if let Some(target) = self.memory.get_mut(self.length..end) {
            target.copy_from_slice(bytes);
            self.length = end;
        }
    }

    /// Appends the first `length` of these bytes. All of them are written, which costs less.
    #[inline(always)]
    pub fn push_part<const N: usize>(&mut self, bytes: &[u8; N], length: usize) {
        self.reserve(N);
        let target = self.memory.get_mut(self.length..);
        if let Some(target) = target.and_then(<[u8]>::first_chunk_mut) {
            *target = *bytes;
            self.length += length.min(N);
        }
    }

    /// Appends what is appended to a vector.
    pub fn append<T>(&mut self, append: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut scratch = std::mem::take(&mut self.scratch);
        let appended = append(&mut scratch);
        self.extend_from_slice(&scratch);
        if scratch.capacity() <= MAX_IDLE_SCRATCH {
            scratch.clear();
            self.scratch = scratch;
        }
        appended
    }

    /// Returns all of the memory, which only [`Buffer::reserve`] makes larger.
    #[inline(always)]
    pub(crate) fn memory(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    /// Takes what the memory has before this place to be the bytes.
    #[inline(always)]
    pub(crate) fn end_at(&mut self, end: usize) {
        self.length = end.min(self.memory.len());
    }

    /// Takes back the bytes from this place on.
    #[inline]
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Takes back all bytes.
    #[inline]
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Returns the number of bytes, without a look whether the memory holds as many, as a slice of them
    /// needs.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns whether there are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns how large the memory is.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    /// Gives back memory beyond this size that holds no bytes.
    pub fn shrink_to(&mut self, size: usize) {
        self.memory.truncate(size.max(self.length));
        self.memory.shrink_to_fit();
    }
}

#[cold]
#[inline(never)]
fn grow(memory: &mut Vec<u8>, length: usize, additional: usize) {
    memory.reserve((length + additional + MIN_GROWTH).saturating_sub(memory.len()));
    // With some for what comes next, and not all that there is: where many strings are appended to one
    // vector, each would fill the rest of it anew.
    let size = (length + MIN_GROWTH).saturating_add(additional.saturating_mul(2));
    memory.resize(size.min(memory.capacity()), 0);
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        self.memory.get(..self.length).unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appended_bytes_are_kept_until_truncated() {
        let mut buffer = Buffer::new();
        let mut due = Vec::new();
        for round in 0..200_usize {
            let bytes = vec![u8::try_from(round).unwrap(); round * 7 % 100];
            buffer.extend_from_slice(&bytes);
            due.extend_from_slice(&bytes);
            buffer.push_part(b"12345678", round % 10);
            due.extend_from_slice(&b"12345678"[..(round % 10).min(8)]);
            assert_eq!(buffer.append(|out| out.extend_from_slice(b"apart")), ());
            due.extend_from_slice(b"apart");
            assert_eq!(*buffer, *due);
            buffer.truncate(buffer.len() - round % 6);
            due.truncate(due.len() - round % 6);
            buffer.truncate(usize::MAX);
        }
        assert_eq!(*buffer, *due);
        buffer.clear();
        assert!(buffer.is_empty());
    }

    #[test]
    fn shrinking_keeps_the_bytes_and_frees_the_rest() {
        let mut buffer = Buffer::new();
        buffer.extend_from_slice(&[7; 10_000]);
        buffer.shrink_to(100);
        assert_eq!(*buffer, [7; 10_000]);
        buffer.truncate(50);
        buffer.shrink_to(100);
        assert!(buffer.capacity() < 1_000);
        assert_eq!(*buffer, [7; 50]);
        buffer.append(|out| out.resize(2 * MAX_IDLE_SCRATCH, 1));
        assert_eq!(
            (buffer.len(), buffer.scratch.capacity()),
            (50 + 2 * MAX_IDLE_SCRATCH, 0)
        );
    }

    #[test]
    fn a_wrapped_vector_keeps_its_bytes_and_gets_the_new_ones() {
        let mut vec = b"before".to_vec();
        let length = Buffer::wrap(&mut vec, |buffer| {
            buffer.extend_from_slice(b", after");
            buffer.len()
        });
        assert_eq!((vec.as_slice(), length), (&b"before, after"[..], 13));
    }

    #[test]
    fn a_short_append_to_a_large_vector_does_not_fill_its_capacity() {
        let mut vec = Vec::with_capacity(100 * MIN_GROWTH);
        for round in 1..=20 {
            let filled = Buffer::wrap(&mut vec, |buffer| {
                buffer.reserve(10);
                buffer.extend_from_slice(b"0123456789");
                buffer.memory().len()
            });
            assert!((10 * round..10 * round + 2 * MIN_GROWTH).contains(&filled));
        }
        assert_eq!(vec, b"0123456789".repeat(20));
    }
}
