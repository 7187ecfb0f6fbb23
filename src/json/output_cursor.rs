//! The end of a buffer while a document is written there.

use super::number::{short_decimal, write_u64};
use crate::buffer::Buffer;

/// Room at the end of a buffer, with a position in it.
///
/// A buffer keeps its length in memory, so that each piece that is appended waits for the one
/// before. Here only the position moves, in a register, and becomes the length in the end.
///
/// Pieces are written as arrays, longer than what is used of them: that costs less than to write
/// just as much as it takes.
#[derive(Debug)]
pub(crate) struct OutputCursor<'a> {
    out: &'a mut Buffer,
    position: usize,
}

impl<'a> OutputCursor<'a> {
    /// Makes room for so many bytes behind what is in the buffer. It grows where that is too little.
    #[inline]
    pub(crate) fn new(out: &'a mut Buffer, expected: usize) -> Self {
        out.reserve(expected);
        let position = out.len();
        Self { out, position }
    }

    /// Makes room for so many bytes more.
    #[inline(always)]
    pub(crate) fn reserve(&mut self, additional: usize) {
        self.out.end_at(self.position);
        self.out.reserve(additional);
    }

    /// Returns how much of the buffer is written.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Returns what was written from a position on.
    #[inline]
    pub(crate) fn written(&mut self, from: usize) -> &[u8] {
        self.out
            .memory()
            .get(from..self.position)
            .unwrap_or_default()
    }

    /// Returns a byte that was written.
    #[inline]
    pub(crate) fn byte_mut(&mut self, at: usize) -> Option<&mut u8> {
        self.out.memory().get_mut(..self.position)?.get_mut(at)
    }

    /// Returns the place of the next bytes, if there is room for so many, whatever is used of them.
    /// What is written there is appended with [`OutputCursor::advance`].
    #[inline(always)]
    pub(crate) fn window<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        self.out
            .memory()
            .get_mut(self.position..)?
            .first_chunk_mut()
    }

    /// Returns the place of the next bytes likewise, all that there is.
    #[inline(always)]
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        self.out
            .memory()
            .get_mut(self.position..)
            .unwrap_or_default()
    }

    /// Takes back so many bytes. They stay in place.
    #[inline(always)]
    pub(crate) fn step_back(&mut self, count: usize) {
        self.position -= count;
    }

    /// Appends so many bytes that are in place already.
    #[inline(always)]
    pub(crate) fn advance(&mut self, count: usize) {
        self.position += count;
    }

    /// Appends the first `length` of these bytes. All of them are put in place.
    #[inline(always)]
    pub(crate) fn push_prefix<const N: usize>(&mut self, bytes: &[u8; N], length: usize) {
        match self.window() {
            Some(place) => *place = *bytes,
            None => append_cold(self.out, self.position, bytes),
        }
        self.position += length.min(N);
    }

    /// Appends the first `length` bytes of a number, from its lowest.
    #[inline(always)]
    pub(crate) fn push_register(&mut self, bytes: u128, length: usize) {
        match self.window::<16>() {
            // In halves, as the number is in registers: an array of both would be written to memory
            // in halves and read from there as a whole, for which the processor waits.
            Some(place) => {
                let bytes = bytes.to_le_bytes();
                let (halves, _) = bytes.as_chunks::<8>();
                for (place, half) in place.as_chunks_mut::<8>().0.iter_mut().zip(halves) {
                    *place = *half;
                }
            }
            None => append_register_cold(self.out, self.position, bytes),
        }
        self.position += length.min(16);
    }

    /// Appends these bytes.
    #[inline(always)]
    pub(crate) fn push<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.push_prefix(bytes, N);
    }

    /// Appends bytes, as many as there are.
    #[inline(always)]
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let end = self.position + bytes.len();
        match self.out.memory().get_mut(self.position..end) {
            Some(place) => place.copy_from_slice(bytes),
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

    /// Writes the first `length` of these bytes over what was written at a position.
    #[inline(always)]
    pub(crate) fn overwrite(&mut self, at: usize, bytes: &[u8; 8], length: usize) {
        let written = self.out.memory().get_mut(..self.position);
        let Some(place) = written.and_then(|written| written.get_mut(at..)) else {
            return;
        };
        match place.first_chunk_mut() {
            Some(place) if length == bytes.len() => *place = *bytes,
            _ => {
                for (place, byte) in place.iter_mut().zip(bytes).take(length) {
                    *place = *byte;
                }
            }
        }
    }

    /// Lets something append to the buffer itself.
    #[inline(always)]
    pub(crate) fn append_with<T>(&mut self, append: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let (appended, at) = append_at(self.out, self.position, append);
        self.position = at;
        appended
    }

    /// Returns a cursor of its own at this one's position, which goes on with [`OutputCursor::resume_at`] where that
    /// one ends. What is called with a room by reference has the position in memory; the one that is
    /// made here has it in a register.
    #[inline(always)]
    pub(crate) fn reborrow(&mut self) -> OutputCursor<'_> {
        OutputCursor {
            out: self.out,
            position: self.position,
        }
    }

    /// Goes on at a position.
    #[inline(always)]
    pub(crate) fn resume_at(&mut self, at: usize) {
        self.position = at;
    }

    /// Makes what was written a part of the buffer.
    #[inline]
    pub(crate) fn finish(self) {
        self.out.end_at(self.position);
    }
}

// What is rarer takes the parts of a room: a reference to one would keep its position in memory.

/// Puts bytes at a position, and makes room for more behind them.
#[cold]
#[inline(never)]
fn append_cold(out: &mut Buffer, at: usize, bytes: &[u8]) {
    out.end_at(at);
    out.extend_from_slice(bytes);
}

/// The same for the bytes of a number, which is not in memory.
#[cold]
#[inline(never)]
fn append_register_cold(out: &mut Buffer, at: usize, bytes: u128) {
    append_cold(out, at, &bytes.to_le_bytes());
}

/// Lets something append at a position. Returns also the position behind that.
#[inline(never)]
fn append_at<T>(out: &mut Buffer, at: usize, append: impl FnOnce(&mut Vec<u8>) -> T) -> (T, usize) {
    out.end_at(at);
    (out.append(append), out.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_does_not_depend_on_the_room() {
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
            cursor.overwrite(cursor.position(), b"behind..", 8);
            assert!(cursor.byte_mut(cursor.position()).is_none());
            cursor.push(b"}");
            cursor.finish();
            out.to_vec()
        };
        let expected = written(0);
        assert!(expected.starts_with(b"before{{\"long\" "));
        assert!(expected.ends_with(b"together}"));
        for cursor in [1, 20, 255, 256, 4000, 100_000] {
            assert!(written(cursor) == expected, "{cursor}");
        }
    }
}
