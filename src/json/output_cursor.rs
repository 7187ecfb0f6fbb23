//! Cursor for writing at the end of a buffer.

use super::number::{short_decimal, write_u64};
use crate::buffer::Buffer;

/// Write position at the end of a buffer, held in a register while a document is written.
///
/// A buffer has its length in memory, so that each append has to wait for the append before it. A
/// cursor moves only its position, which becomes the length in [`OutputCursor::finish`].
///
/// Short texts are written as whole arrays, of which only a part is appended: that costs less than
/// writing exactly that part.
#[derive(Debug)]
pub(crate) struct OutputCursor<'a> {
    out: &'a mut Buffer,
    position: usize,
}

impl<'a> OutputCursor<'a> {
    /// Makes a cursor at the end of the buffer, and reserves `expected` bytes there. Longer output
    /// makes the buffer grow.
    #[inline]
    pub(crate) fn new(out: &'a mut Buffer, expected: usize) -> Self {
        out.reserve(expected);
        let position = out.len();
        Self { out, position }
    }

    /// Reserves `additional` bytes after the position.
    #[inline(always)]
    pub(crate) fn reserve(&mut self, additional: usize) {
        self.out.end_at(self.position);
        self.out.reserve(additional);
    }

    /// Returns the position: the number of bytes in the buffer, those of this cursor included.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Returns the bytes that were written from a position on.
    #[inline]
    pub(crate) fn written(&mut self, from: usize) -> &[u8] {
        self.out
            .memory()
            .get(from..self.position)
            .unwrap_or_default()
    }

    /// Returns the byte at a position, if it was written.
    #[inline]
    pub(crate) fn byte_mut(&mut self, at: usize) -> Option<&mut u8> {
        self.out.memory().get_mut(..self.position)?.get_mut(at)
    }

    /// Returns the memory of the next `N` bytes, if as many are reserved. Bytes that are written
    /// there are appended by [`OutputCursor::advance`]; the others do not matter.
    #[inline(always)]
    pub(crate) fn window<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        self.out
            .memory()
            .get_mut(self.position..)?
            .first_chunk_mut()
    }

    /// Returns all memory after the position. Bytes that are written there are appended by
    /// [`OutputCursor::advance`]; the others do not matter.
    #[inline(always)]
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        self.out
            .memory()
            .get_mut(self.position..)
            .unwrap_or_default()
    }

    /// Takes back the last `count` bytes. They stay in memory, so that [`OutputCursor::advance`]
    /// can append them again.
    #[inline(always)]
    pub(crate) fn step_back(&mut self, count: usize) {
        self.position -= count;
    }

    /// Appends `count` bytes that are in memory after the position already.
    #[inline(always)]
    pub(crate) fn advance(&mut self, count: usize) {
        self.position += count;
    }

    /// Appends the first `length` of these bytes. All of them are written to memory.
    #[inline(always)]
    pub(crate) fn push_prefix<const N: usize>(&mut self, bytes: &[u8; N], length: usize) {
        match self.window() {
            Some(window) => *window = *bytes,
            None => append_cold(self.out, self.position, bytes),
        }
        self.position += length.min(N);
    }

    /// Appends the first `length` bytes of an integer, from its lowest byte.
    #[inline(always)]
    pub(crate) fn push_register(&mut self, bytes: u128, length: usize) {
        match self.window::<16>() {
            // In two halves, because the integer is in two registers: an array would be written to
            // memory in halves and read back as a whole, which stalls the processor.
            Some(window) => {
                let bytes = bytes.to_le_bytes();
                let (halves, _) = bytes.as_chunks::<8>();
                for (target, half) in window.as_chunks_mut::<8>().0.iter_mut().zip(halves) {
                    *target = *half;
                }
            }
            None => append_register_cold(self.out, self.position, bytes),
        }
        self.position += length.min(16);
    }

    /// Appends an array of bytes.
    #[inline(always)]
    pub(crate) fn push<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.push_prefix(bytes, N);
    }

    /// Appends a slice of bytes.
    #[inline(always)]
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let end = self.position + bytes.len();
        match self.out.memory().get_mut(self.position..end) {
            Some(target) => target.copy_from_slice(bytes),
            None => append_cold(self.out, self.position, bytes),
        }
        self.position = end;
    }

    /// Appends a number.
    #[inline(always)]
    pub(crate) fn push_u64(&mut self, number: u64) {
        match short_decimal(number) {
            Some((characters, length)) => self.push_register(characters, length),
            None => self.append_with(|out| write_u64(number, out)),
        }
    }

    /// Replaces bytes that were written at a position by the first `length` of these bytes.
    #[inline(always)]
    pub(crate) fn overwrite(&mut self, at: usize, bytes: &[u8; 8], length: usize) {
        let written = self.out.memory().get_mut(..self.position);
        let Some(target) = written.and_then(|written| written.get_mut(at..)) else {
            return;
        };
        match target.first_chunk_mut() {
            Some(window) if length == bytes.len() => *window = *bytes,
            _ => {
                for (target, byte) in target.iter_mut().zip(bytes).take(length) {
                    *target = *byte;
                }
            }
        }
    }

    /// Appends what the closure appends to a vector.
    #[inline(always)]
    pub(crate) fn append_with<T>(&mut self, append: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let (appended, at) = append_at(self.out, self.position, append);
        self.position = at;
        appended
    }

    /// Returns another cursor at this one's position. When it is done, [`OutputCursor::resume_at`]
    /// moves this cursor to its position.
    ///
    /// A function that takes a cursor by reference and is not inlined has the position in memory.
    /// The new cursor has it in a register.
    #[inline(always)]
    pub(crate) fn reborrow(&mut self) -> OutputCursor<'_> {
        OutputCursor {
            out: self.out,
            position: self.position,
        }
    }

    /// Moves to a position, at which the next bytes are appended.
    #[inline(always)]
    pub(crate) fn resume_at(&mut self, at: usize) {
        self.position = at;
    }

    /// Makes the written bytes a part of the buffer.
    #[inline]
    pub(crate) fn finish(self) {
        self.out.end_at(self.position);
    }
}

// The functions for rare cases take the parts of a cursor: a reference to the cursor would force
// its position into memory.

/// Appends bytes at a position for which the buffer has to grow.
#[cold]
#[inline(never)]
fn append_cold(out: &mut Buffer, at: usize, bytes: &[u8]) {
    out.end_at(at);
    out.extend_from_slice(bytes);
}

/// Appends the bytes of an integer at a position for which the buffer has to grow. The integer is
/// passed in registers.
#[cold]
#[inline(never)]
fn append_register_cold(out: &mut Buffer, at: usize, bytes: u128) {
    append_cold(out, at, &bytes.to_le_bytes());
}

/// Appends at a position what the closure appends to a vector. Returns also the position after it.
#[inline(never)]
fn append_at<T>(out: &mut Buffer, at: usize, append: impl FnOnce(&mut Vec<u8>) -> T) -> (T, usize) {
    out.end_at(at);
    (out.append(append), out.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg_attr(miri, ignore = "takes minutes in Miri")]
    #[test]
    fn appended_bytes_do_not_depend_on_the_reserved_size() {
        let long = "\"long\" ".repeat(100);
        let written = |expected| {
            let mut out = Buffer::new();
            out.extend_from_slice(b"before");
            let mut cursor = OutputCursor::new(&mut out, expected);
            assert_eq!(cursor.position(), 6);
            for round in 0..40 {
                cursor.push(b",a");
                cursor.push_prefix(b"1234567890", round as usize % 11);
                cursor.extend(long.as_bytes());
                cursor.push_register(
                    u128::from_le_bytes(*b"abcdefghijklmnop"),
                    round as usize % 17,
                );
                cursor.push_u64(10_u64.pow(round % 20));
                cursor.push_string(b"text");
                cursor.push_string("caf\u{e9}\n".as_bytes());
                cursor.push_string(long.as_bytes());
                cursor.push_string(b"\xff");
                cursor.append_with(|out| out.extend_from_slice(b"with"));
            }
            *cursor.byte_mut(6).unwrap() = b'{';
            cursor.overwrite(7, b"{:A.....", 1);
            cursor.overwrite(cursor.position() - 8, b"together", 8);
            cursor.overwrite(cursor.position(), b"after...", 8);
            assert!(cursor.byte_mut(cursor.position()).is_none());
            cursor.push(b"}");
            cursor.finish();
            out.to_vec()
        };
        let expected = written(0);
        assert!(expected.starts_with(b"before{{\"long\" "));
        assert!(expected.ends_with(b"together}"));
        for reserved in [1, 20, 255, 256, 4000, 100_000] {
            assert!(written(reserved) == expected, "{reserved}");
        }
    }
}
