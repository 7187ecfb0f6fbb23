//! Truncation of strings that are JSON already.

use super::super::output_cursor::OutputCursor;

/// Shortens the JSON string from position `start` to the end of the output, so that its characters
/// take at most `limit` bytes as UTF-8. A value that is not a string stays as it is.
pub(crate) fn truncate_string(cursor: &mut OutputCursor<'_>, start: usize, limit: usize) {
    if cursor.written(start).first() != Some(&b'"') {
        return;
    }
    let (mut at, mut decoded) = (start + 1, 0);
    while let Some((written, bytes)) = character(cursor.written(at)) {
        if decoded + bytes > limit {
            cursor.resume_at(at);
            cursor.push(b"\"");
            return;
        }
        at += written;
        decoded += bytes;
    }
}

/// Returns the length in bytes of the first character of a string's contents, as it is written and
/// as UTF-8; `None` at the closing quote.
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
