//! A byte buffer whose spare capacity is initialised.

use std::ops::Deref;

/// Growable byte buffer that keeps initialised memory after its end.
///
/// Without unsafe code, bytes after the end of a `Vec` can be written only by appending, which
/// updates the length with each piece, or after filling them with zeros. This buffer fills
/// memory with zeros once, before its first use. Moving the end back leaves the memory initialised;
/// later writes overwrite it.
#[derive(Debug, Default)]
pub struct Buffer {
    /// The bytes of the buffer, then spare initialised memory.
    memory: Vec<u8>,
    length: usize,
    /// Vector that the closures of [`Buffer::append`] write to.
    scratch: Vec<u8>,
}

/// Minimum number of bytes that a buffer grows by.
const MIN_GROWTH: usize = 256;

/// Largest capacity of the scratch vector that is kept for reuse.
const MAX_IDLE_SCRATCH: usize = 1024 * 1024;

impl Buffer {
    /// Creates an empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wraps a vector in a buffer while `write` runs, so that `write` can append to the vector.
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

    /// Reserves initialised memory for at least `additional` bytes after the end.
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

    /// Appends the first `length` bytes of an array. Copies the whole array, which is cheaper than
    /// a copy of variable length.
    #[inline(always)]
    pub fn push_part<const N: usize>(&mut self, bytes: &[u8; N], length: usize) {
        self.reserve(N);
        let target = self.memory.get_mut(self.length..);
        if let Some(target) = target.and_then(<[u8]>::first_chunk_mut) {
            *target = *bytes;
            self.length += length.min(N);
        }
    }

    /// Appends the bytes that a closure appends to an empty vector.
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

    /// Returns the bytes and the spare memory after them, which [`Buffer::reserve`] enlarges.
    #[inline(always)]
    pub(crate) fn memory(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    /// Sets the length: the bytes of the buffer end at `end`, at most at the end of the memory.
    #[inline(always)]
    pub(crate) fn end_at(&mut self, end: usize) {
        self.length = end.min(self.memory.len());
    }

    /// Shortens the buffer to `length` bytes. Has no effect if the buffer is shorter.
    #[inline]
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Removes all bytes and keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Returns the number of bytes, without the bounds check of [`Deref::deref`].
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns whether the buffer has no bytes.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns the number of bytes of memory that the buffer has allocated.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    /// Frees spare memory beyond `size` bytes.
    pub fn shrink_to(&mut self, size: usize) {
        self.memory.truncate(size.max(self.length));
        self.memory.shrink_to_fit();
    }
}

#[cold]
#[inline(never)]
fn grow(memory: &mut Vec<u8>, length: usize, additional: usize) {
    memory.reserve((length + additional + MIN_GROWTH).saturating_sub(memory.len()));
    // Fills some memory for the next writes, but not the whole capacity: where many strings are
    // appended to one vector through `wrap`, each would fill the remaining capacity again.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appended_bytes_are_kept_until_truncated() {
        let mut buffer = Buffer::new();
        let mut expected = Vec::new();
        for round in 0..200_usize {
            let bytes = vec![u8::try_from(round).unwrap(); round * 7 % 100];
            buffer.extend_from_slice(&bytes);
            expected.extend_from_slice(&bytes);
            buffer.push_part(b"12345678", round % 10);
            expected.extend_from_slice(&b"12345678"[..(round % 10).min(8)]);
            assert_eq!(buffer.append(|out| out.extend_from_slice(b"apart")), ());
            expected.extend_from_slice(b"apart");
            assert_eq!(*buffer, *expected);
            buffer.truncate(buffer.len() - round % 6);
            expected.truncate(expected.len() - round % 6);
            buffer.truncate(usize::MAX);
        }
        assert_eq!(*buffer, *expected);
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
