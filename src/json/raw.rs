//! Raw JSON: checked and stripped of white space in one pass.
//!
//! What the server accepted as `json` may hold escapes of surrogates without a partner, which no
//! string of Unicode characters has; each becomes the escape of U+FFFD. All else stays as it is
//! spelled: the order of members, duplicates, the digits of numbers.

use std::fmt;

use super::escape::plain_run;
use super::short::push_part;

/// Text that is not one JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedJson {
    offset: usize,
}

impl MalformedJson {
    /// Returns the number of bytes that were well-formed.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl fmt::Display for MalformedJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed JSON at byte {}", self.offset)
    }
}

impl std::error::Error for MalformedJson {}

/// Appends a JSON value without white space between its tokens. Nesting has no limit.
///
/// # Errors
///
/// Fails if the text is not exactly one value; what was appended by then is of no use.
pub fn compact(text: &[u8], out: &mut Vec<u8>) -> Result<(), MalformedJson> {
    match simdutf8::basic::from_utf8(text) {
        Ok(text) => Compactor::new(text, out).run(),
        Err(_) => compact_repaired(text, out),
    }
}

#[cold]
fn compact_repaired(text: &[u8], out: &mut Vec<u8>) -> Result<(), MalformedJson> {
    let mut repaired = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        repaired.push_str(chunk.valid());
        repaired.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Compactor::new(&repaired, out).run()
}

struct Compactor<'a> {
    /// Valid UTF-8.
    text: &'a [u8],
    at: usize,
    /// From here on what was read is yet to be copied: all up to the next white space at once.
    uncopied: usize,
    out: &'a mut Vec<u8>,
}

impl<'a> Compactor<'a> {
    fn new(text: &'a str, out: &'a mut Vec<u8>) -> Self {
        Self {
            text: text.as_bytes(),
            at: 0,
            uncopied: 0,
            out,
        }
    }

    fn run(mut self) -> Result<(), MalformedJson> {
        // With some for what is written beyond the end.
        self.out.reserve(self.text.len() + 32);
        let mut nesting = Nesting::default();
        loop {
            // A value starts here. One that opens a container with something in it is not complete.
            match self.peek_token() {
                Some(b'{') => {
                    self.at += 1;
                    if self.peek_token() == Some(b'}') {
                        self.at += 1;
                    } else {
                        nesting.push(true);
                        self.member_name()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.at += 1;
                    if self.peek_token() == Some(b']') {
                        self.at += 1;
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
                _ => return Err(self.malformed()),
            }
            // A value ended here, and perhaps the containers around it.
            loop {
                match (nesting.top(), self.peek_token()) {
                    (None, None) => {
                        self.copy();
                        return Ok(());
                    }
                    (Some(true), Some(b'}')) | (Some(false), Some(b']')) => {
                        self.at += 1;
                        nesting.pop();
                    }
                    (Some(is_object), Some(b',')) => {
                        self.at += 1;
                        if is_object {
                            self.member_name()?;
                        }
                        break;
                    }
                    _ => return Err(self.malformed()),
                }
            }
        }
    }

    fn malformed(&self) -> MalformedJson {
        MalformedJson { offset: self.at }
    }

    fn byte(&self, offset: usize) -> Option<u8> {
        self.text.get(self.at + offset).copied()
    }

    /// Skips white space and returns the byte that follows.
    #[inline]
    fn peek_token(&mut self) -> Option<u8> {
        match self.byte(0) {
            // A token cannot start with what is less than white space, either.
            Some(..=b' ') => self.skip_white_space(),
            other => other,
        }
    }

    #[inline(never)]
    fn skip_white_space(&mut self) -> Option<u8> {
        self.copy();
        let mut next = self.byte(0);
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = next {
            self.at += 1;
            next = self.byte(0);
        }
        self.uncopied = self.at;
        next
    }

    /// Takes what was read up to here.
    #[inline(always)]
    fn copy(&mut self) {
        let rest = self.text.get(self.uncopied..).unwrap_or_default();
        let length = self.at - self.uncopied;
        match rest.first_chunk::<32>() {
            // Most pieces are short.
            Some(start) if length <= start.len() => push_part(start, length, self.out),
            _ => self
                .out
                .extend_from_slice(rest.get(..length).unwrap_or_default()),
        }
        self.uncopied = self.at;
    }

    /// Passes the name of a member and the colon.
    fn member_name(&mut self) -> Result<(), MalformedJson> {
        if self.peek_token() != Some(b'"') {
            return Err(self.malformed());
        }
        self.string()?;
        if self.peek_token() != Some(b':') {
            return Err(self.malformed());
        }
        self.at += 1;
        Ok(())
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), MalformedJson> {
        if !self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word))
        {
            return Err(self.malformed());
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), MalformedJson> {
        let digits = |from: usize| {
            let rest = self.text.get(self.at + from..).unwrap_or_default();
            rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
        };
        let mut length = usize::from(self.byte(0) == Some(b'-'));
        let integer = digits(length);
        if integer == 0 || integer > 1 && self.byte(length) == Some(b'0') {
            return Err(self.malformed());
        }
        length += integer;
        if self.byte(length) == Some(b'.') {
            let fraction = digits(length + 1);
            if fraction == 0 {
                return Err(self.malformed());
            }
            length += 1 + fraction;
        }
        if let Some(b'e' | b'E') = self.byte(length) {
            length += 1 + usize::from(matches!(self.byte(length + 1), Some(b'+' | b'-')));
            let exponent = digits(length);
            if exponent == 0 {
                return Err(self.malformed());
            }
            length += exponent;
        }
        self.at += length;
        Ok(())
    }

    /// Passes a string, from its opening to its closing quote.
    fn string(&mut self) -> Result<(), MalformedJson> {
        let mut length = 1;
        loop {
            length += plain_run(self.text.get(self.at + length..).unwrap_or_default());
            match self.byte(length) {
                Some(b'"') => {
                    self.at += length + 1;
                    return Ok(());
                }
                Some(b'\\') => match self.byte(length + 1) {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => length += 2,
                    Some(b'u') => match (self.unit(length)?, self.unit(length + 6)) {
                        (0xD800..=0xDBFF, Ok(0xDC00..=0xDFFF)) => length += 12,
                        (0xD800..=0xDFFF, _) => {
                            self.at += length;
                            self.copy();
                            self.out.extend_from_slice(b"\\uFFFD");
                            self.at += 6;
                            self.uncopied = self.at;
                            length = 0;
                        }
                        _ => length += 6,
                    },
                    _ => return Err(self.malformed()),
                },
                _ => return Err(self.malformed()),
            }
        }
    }

    /// Reads the UTF-16 code unit of a `\u` escape.
    fn unit(&self, offset: usize) -> Result<u16, MalformedJson> {
        let from = self.at + offset;
        match self.text.get(from..from + 6) {
            Some([b'\\', b'u', hex @ ..]) => hex.iter().try_fold(0, |unit, &byte| {
                let digit = char::from(byte)
                    .to_digit(16)
                    .and_then(|d| u16::try_from(d).ok());
                digit
                    .map(|digit| unit << 4 | digit)
                    .ok_or_else(|| self.malformed())
            }),
            _ => Err(self.malformed()),
        }
    }
}

/// For each container that is open, whether it is an object: bits, so that the usual depth costs
/// no allocation.
#[derive(Default)]
struct Nesting {
    depth: usize,
    inline: [u64; 4],
    spilled: Vec<u64>,
}

impl Nesting {
    fn word(&mut self, index: usize) -> Option<&mut u64> {
        let inline = self.inline.len();
        if index < inline {
            self.inline.get_mut(index)
        } else {
            self.spilled.get_mut(index - inline)
        }
    }

    fn push(&mut self, is_object: bool) {
        let (index, bit) = (self.depth / 64, self.depth % 64);
        if index >= self.inline.len() + self.spilled.len() {
            self.spilled.push(0);
        }
        if let Some(word) = self.word(index) {
            *word = *word & !(1 << bit) | u64::from(is_object) << bit;
        }
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn top(&mut self) -> Option<bool> {
        let last = self.depth.checked_sub(1)?;
        self.word(last / 64)
            .map(|word| *word >> (last % 64) & 1 == 1)
    }
}

/// Shortens the JSON string that starts at `start` and ends the buffer so that its characters take
/// at most `limit` bytes as UTF-8. A value of another kind stays.
pub fn truncate_string(out: &mut Vec<u8>, start: usize, limit: usize) {
    if out.get(start) != Some(&b'"') {
        return;
    }
    let (mut at, mut decoded) = (start + 1, 0);
    while let Some((spelled, bytes)) = character(out.get(at..).unwrap_or_default()) {
        if decoded + bytes > limit {
            out.truncate(at);
            out.push(b'"');
            return;
        }
        at += spelled;
        decoded += bytes;
    }
}

/// Returns how many bytes the first character of a string's contents takes as spelled, and as
/// UTF-8; `None` at the closing quote.
fn character(contents: &[u8]) -> Option<(usize, usize)> {
    let is_high = |hex: &[u8]| {
        matches!(
            hex,
            [b'd' | b'D', b'8' | b'9' | b'a'..=b'b' | b'A'..=b'B', ..]
        )
    };
    match contents {
        [] | [b'"', ..] => None,
        [b'\\', b'u', hex @ ..] if is_high(hex) => Some((12, 4)),
        [b'\\', b'u', b'0', b'0', b'0'..=b'7', ..] => Some((6, 1)),
        [b'\\', b'u', b'0', b'0'..=b'7', ..] => Some((6, 2)),
        [b'\\', b'u', ..] => Some((6, 3)),
        [b'\\', ..] => Some((2, 1)),
        [0xC0..=0xDF, ..] => Some((2, 2)),
        [0xE0..=0xEF, ..] => Some((3, 3)),
        [0xF0..=0xFF, ..] => Some((4, 4)),
        _ => Some((1, 1)),
    }
}

#[cfg(test)]
mod tests;
