//! Raw JSON: validated and copied without white space, in one pass.
//!
//! A value that the server accepted as `json` may have escapes of unpaired surrogates, which are
//! not Unicode characters; each becomes the escape of U+FFFD. Everything else is copied as it is:
//! the order of members, duplicate members, the digits of numbers.

mod truncate;

pub(crate) use truncate::truncate_string;

use super::escape::{Escaper, VALUE_WINDOW, plain_run_16};
use super::number::leading_digits_of_word;
use super::output_cursor::OutputCursor;
use super::short::{padded, padded_word};

/// Error for a text that is not exactly one JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MalformedJson;

/// Appends a JSON value without white space between its tokens. Nesting has no limit.
///
/// # Errors
///
/// Fails if the text is not exactly one value; the bytes that were appended are then unspecified.
pub(crate) fn compact(text: &[u8], cursor: &mut OutputCursor<'_>) -> Result<(), MalformedJson> {
    let start = cursor.position();
    // Includes memory for the block that extends past the end of the text.
    cursor.reserve(text.len() + VALUE_WINDOW);
    let mut compactor = Compactor {
        text,
        at: 0,
        output: cursor.spare(),
        written: 0,
        non_ascii: false,
    };
    compactor.run()?;
    let (written, non_ascii) = (compactor.written, compactor.non_ascii);
    cursor.advance(written);
    if non_ascii && simdutf8::basic::from_utf8(text).is_err() {
        cursor.resume_at(start);
        return compact_repaired(text, cursor);
    }
    Ok(())
}

#[cold]
fn compact_repaired(text: &[u8], cursor: &mut OutputCursor<'_>) -> Result<(), MalformedJson> {
    let mut repaired = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        repaired.push_str(chunk.valid());
        repaired.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    compact(repaired.as_bytes(), cursor)
}

/// Position in the text and in the output. Whole blocks are copied as they are read; only the bytes
/// that belong to the token are appended.
struct Compactor<'a, 'r> {
    text: &'a [u8],
    at: usize,
    /// Longer than the text by more than a block, and no token becomes longer than it was.
    output: &'r mut [u8],
    written: usize,
    /// Whether a string has bytes that are not ASCII; elsewhere they are malformed.
    non_ascii: bool,
}

impl Compactor<'_, '_> {
    fn run(&mut self) -> Result<(), MalformedJson> {
        let mut nesting = Nesting::default();
        loop {
            // A value starts here. It is not complete if it opens a container that is not empty.
            match self.peek_token() {
                Some(b'{') => {
                    self.take(b'{');
                    if self.peek_token() == Some(b'}') {
                        self.take(b'}');
                    } else {
                        nesting.push(true);
                        self.member_name()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.take(b'[');
                    if self.peek_token() == Some(b']') {
                        self.take(b']');
                    } else {
                        nesting.push(false);
                        continue;
                    }
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal(b"true")?,
                Some(b'f') => self.literal(b"false")?,
                Some(b'n') => self.literal(b"null")?,
                _ => return Err(MalformedJson),
            }
            // A value ended here. Containers around it may end after it.
            loop {
                match (nesting.top(), self.peek_token()) {
                    (None, None) => return Ok(()),
                    (Some(true), Some(end @ b'}')) | (Some(false), Some(end @ b']')) => {
                        self.take(end);
                        nesting.pop();
                    }
                    (Some(is_object), Some(b',')) => {
                        self.take(b',');
                        if is_object {
                            self.member_name()?;
                        }
                        break;
                    }
                    _ => return Err(MalformedJson),
                }
            }
        }
    }

    #[inline(always)]
    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    #[inline(always)]
    fn byte(&self, offset: usize) -> Option<u8> {
        self.text.get(self.at + offset).copied()
    }

    /// Returns the next 16 bytes, padded with zeros after the last one.
    #[inline(always)]
    fn block(&self) -> [u8; 16] {
        let rest = self.rest();
        match rest.first_chunk() {
            Some(block) => *block,
            None => padded(rest).to_le_bytes(),
        }
    }

    /// Skips white space and returns the byte that follows.
    #[inline(always)]
    fn peek_token(&mut self) -> Option<u8> {
        match self.byte(0) {
            // Bytes below a space that are not white space start no token, either.
            Some(..=b' ') => {
                // White space that the server itself writes is a single space.
                self.at += usize::from(self.byte(0) == Some(b' '));
                match self.byte(0) {
                    Some(..=b' ') => self.skip_white_space(),
                    other => other,
                }
            }
            other => other,
        }
    }

    #[inline(never)]
    fn skip_white_space(&mut self) -> Option<u8> {
        let mut next = self.byte(0);
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = next {
            self.at += 1;
            next = self.byte(0);
        }
        next
    }

    /// Appends the first `length` of these bytes, and moves past as many bytes of the text.
    #[inline(always)]
    fn put<const N: usize>(&mut self, bytes: &[u8; N], length: usize) {
        let window = self.output.get_mut(self.written..);
        let window = window.and_then(<[u8]>::first_chunk_mut);
        debug_assert!(window.is_some() && length <= N);
        if let Some(window) = window {
            *window = *bytes;
        }
        self.written += length;
        self.at += length;
    }

    /// Copies the next byte, which is `byte`.
    #[inline(always)]
    fn take(&mut self, byte: u8) {
        self.put(&[byte], 1);
    }

    /// Copies the next `length` bytes.
    #[inline(always)]
    fn copy(&mut self, length: usize) {
        let mut left = length;
        while left > 16 {
            self.put(&self.block(), 16);
            left -= 16;
        }
        self.put(&self.block(), left);
    }

    /// Copies the name of a member and the colon.
    #[inline(always)]
    fn member_name(&mut self) -> Result<(), MalformedJson> {
        if self.peek_token() != Some(b'"') {
            return Err(MalformedJson);
        }
        self.string()?;
        if self.peek_token() != Some(b':') {
            return Err(MalformedJson);
        }
        self.take(b':');
        Ok(())
    }

    fn literal<const N: usize>(&mut self, word: &[u8; N]) -> Result<(), MalformedJson> {
        if self.rest().first_chunk() != Some(word) {
            return Err(MalformedJson);
        }
        self.put(word, N);
        Ok(())
    }

    /// Returns the number of digits from this offset on.
    #[inline(always)]
    fn digits(&self, from: usize) -> usize {
        let mut count = 0;
        loop {
            let rest = self.text.get(self.at + from + count..).unwrap_or_default();
            let word = match rest.first_chunk() {
                Some(word) => u64::from_le_bytes(*word),
                None => padded_word(rest),
            };
            let digits = leading_digits_of_word(word);
            count += digits;
            if digits < 8 {
                return count;
            }
        }
    }

    #[inline(always)]
    fn number(&mut self) -> Result<(), MalformedJson> {
        let mut length = usize::from(self.byte(0) == Some(b'-'));
        let integer = self.digits(length);
        if integer == 0 || integer > 1 && self.byte(length) == Some(b'0') {
            return Err(MalformedJson);
        }
        length += integer;
        if self.byte(length) == Some(b'.') {
            let fraction = self.digits(length + 1);
            if fraction == 0 {
                return Err(MalformedJson);
            }
            length += 1 + fraction;
        }
        if let Some(b'e' | b'E') = self.byte(length) {
            length += 1 + usize::from(matches!(self.byte(length + 1), Some(b'+' | b'-')));
            let exponent = self.digits(length);
            if exponent == 0 {
                return Err(MalformedJson);
            }
            length += exponent;
        }
        self.copy(length);
        Ok(())
    }

    /// Copies a string, from its opening to its closing quote.
    #[inline(always)]
    fn string(&mut self) -> Result<(), MalformedJson> {
        self.copy_block(1);
        loop {
            match self.byte(0) {
                Some(b'"') => {
                    self.take(b'"');
                    return Ok(());
                }
                Some(b'\\') => {
                    self.escape()?;
                    self.copy_block(0);
                }
                // The whole block needed no escape.
                Some(b' '..) => self.copy_plain(),
                _ => return Err(MalformedJson),
            }
        }
    }

    /// Copies the bytes of a string up to an escape or the closing quote, at most one block. The
    /// first `skip` bytes are copied whatever they are.
    #[inline(always)]
    fn copy_block(&mut self, skip: usize) {
        let block = self.block();
        let plain = plain_run_16(&block, skip);
        self.non_ascii |= plain.non_ascii;
        self.put(&block, plain.length);
    }

    /// Copies the bytes of a string up to an escape or the closing quote.
    #[inline(never)]
    fn copy_plain(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let output = self.output.get_mut(self.written..).unwrap_or_default();
        let plain = Escaper::best().copy_plain(rest, output);
        self.at += plain.length;
        self.written += plain.length;
        self.non_ascii |= plain.non_ascii;
    }

    #[inline(never)]
    fn escape(&mut self) -> Result<(), MalformedJson> {
        match self.byte(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.copy(2),
            Some(b'u') => match (self.unit(0)?, self.unit(6)) {
                (0xD800..=0xDBFF, Ok(0xDC00..=0xDFFF)) => self.copy(12),
                (0xD800..=0xDFFF, _) => {
                    self.put(b"\\uFFFD", 6);
                }
                _ => self.copy(6),
            },
            _ => return Err(MalformedJson),
        }
        Ok(())
    }

    /// Reads the UTF-16 code unit of a `\u` escape.
    fn unit(&self, offset: usize) -> Result<u16, MalformedJson> {
        let from = self.at + offset;
        match self.text.get(from..from + 6) {
            Some([b'\\', b'u', hex @ ..]) => hex.iter().try_fold(0, |unit, &byte| {
                let digit = char::from(byte)
                    .to_digit(16)
                    .and_then(|d| u16::try_from(d).ok());
                digit.map(|digit| unit << 4 | digit).ok_or(MalformedJson)
            }),
            _ => Err(MalformedJson),
        }
    }
}

/// Stack of the open containers, one bit each: 1 for an object, 0 for an array. The usual depths
/// cost no allocation.
#[derive(Default)]
struct Nesting {
    depth: usize,
    /// Up to 64 innermost containers, the last one in the lowest bit.
    innermost: u64,
    /// The containers around those, 64 in each element.
    around: Vec<u64>,
}

impl Nesting {
    #[inline(always)]
    fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.around.push(self.innermost);
        }
        self.innermost = self.innermost << 1 | u64::from(is_object);
        self.depth += 1;
    }

    #[inline(always)]
    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.innermost >>= 1;
        if self.depth.is_multiple_of(64)
            && let Some(around) = self.around.pop()
        {
            self.innermost = around;
        }
    }

    #[inline(always)]
    fn top(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.innermost & 1 == 1)
    }
}

#[cfg(test)]
mod tests;
