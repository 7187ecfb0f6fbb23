//! Escaping without special instructions, eight bytes at a time in an integer register.

use super::super::short::push_part;

/// First byte after all that are escaped.
const ESCAPE_TABLE_SIZE: usize = b'\\' as usize + 1;

/// Escape sequence of each byte, with its length as the last element: 0 if the byte needs no
/// escape.
static ESCAPES: [[u8; 8]; ESCAPE_TABLE_SIZE] = {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut table = [[0; 8]; ESCAPE_TABLE_SIZE];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = [
            b'\\',
            b'u',
            b'0',
            b'0',
            HEX[byte >> 4],
            HEX[byte & 0xf],
            0,
            6,
        ];
        byte += 1;
    }
    let letters = *b"\nn\rr\tt\"\"\\\\";
    let mut at = 0;
    while at < letters.len() {
        table[letters[at] as usize] = [b'\\', letters[at + 1], 0, 0, 0, 0, 0, 2];
        at += 2;
    }
    table
};

/// Appends a JSON string.
pub(super) fn write(text: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.reserve(text.len() + 2);
    out.push(b'"');
    write_contents(text, out);
    out.push(b'"');
    if simdutf8::basic::from_utf8(text).is_err() {
        out.truncate(start);
        write_repaired(text, out);
    }
}

/// Appends a JSON string of a text that is not UTF-8.
#[cold]
pub(super) fn write_repaired(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        write_contents(chunk.valid().as_bytes(), out);
        for _ in chunk.invalid() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

/// Appends the text, with escapes where it needs them.
pub(super) fn write_contents(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        let run = plain_run(rest);
        let (plain, special) = rest.split_at(run);
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else {
            return;
        };
        write_escape(byte, out);
        rest = after;
    }
}

/// Appends the escape of a byte that needs one.
#[inline]
fn write_escape(byte: u8, out: &mut Vec<u8>) {
    if let Some(escape @ [.., length]) = escape_of(byte) {
        push_part(escape, usize::from(*length), out);
    }
}

/// Returns the escape sequence of a byte that needs one, with its length as the last element.
#[inline(always)]
pub(super) fn escape_of(byte: u8) -> Option<&'static [u8; 8]> {
    ESCAPES.get(usize::from(byte))
}

/// Returns whether a byte needs no escape.
#[inline]
fn is_plain(byte: u8) -> bool {
    !matches!(byte, 0..0x20 | b'"' | b'\\')
}

/// Returns the number of bytes at the start that need no escape.
#[inline]
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return at + (special.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let tail = bytes.get(at..).unwrap_or_default();
    at + tail.iter().take_while(|byte| is_plain(**byte)).count()
}

/// Returns a word whose lowest set bit is in the first byte that needs an escape; 0 if no byte
/// does.
///
/// A borrow can set bits in bytes after that one, never in bytes before it, so only the lowest set
/// bit has a meaning.
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = is_zero(word ^ (ONES * b'"' as u64));
    let backslash = is_zero(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGHS
}
