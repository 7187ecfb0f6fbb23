//! Binary strings: from hexadecimal to base64, without an intermediate buffer.

use super::super::error::ValueError;
use super::super::options::LARGE_VALUE;
use crate::json::OutputCursor;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value of each hexadecimal digit; above 15 for all other bytes.
static NIBBLES: [u8; 256] = {
    let mut table = [0xFF; 256];
    let mut value: u8 = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value as usize] as usize] = value;
        table[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    table
};

/// Appends the base64 of a binary string in the server's hex format, as a JSON string.
#[inline(never)]
pub(super) fn write(text: &[u8], parent: &mut OutputCursor<'_>) -> Result<(), ValueError> {
    let error = ValueError::new("bytea", "\\x and pairs of hexadecimal digits");
    let hex = text
        .strip_prefix(b"\\x")
        .filter(|hex| hex.len() % 2 == 0)
        .ok_or(error)?;
    let hex = hex.get(..2 * LARGE_VALUE).unwrap_or(hex);
    parent.reserve(hex.len() / 6 * 4 + "\"abcd\"".len());
    let mut cursor = parent.reborrow();
    cursor.push(b"\"");
    let (groups, rest) = hex.as_chunks::<6>();
    // A byte that is not a digit has a bit above the low four; one check for all bytes is enough.
    let mut seen = 0;
    for group in groups {
        let nibbles = group.map(|byte| NIBBLES[usize::from(byte)]);
        seen |= nibbles.iter().fold(0, |seen, nibble| seen | nibble);
        cursor.push(&encode(nibbles));
    }
    let mut last = [b'0'; 6];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let nibbles = last.map(|byte| NIBBLES[usize::from(byte)]);
    seen |= nibbles.iter().fold(0, |seen, nibble| seen | nibble);
    match (rest.len(), encode(nibbles)) {
        (2, [a, b, ..]) => cursor.push(&[a, b, b'=', b'=']),
        (4, [a, b, c, _]) => cursor.push(&[a, b, c, b'=']),
        _ => {}
    }
    cursor.push(b"\"");
    let end = cursor.position();
    parent.resume_at(end);
    if seen > 0xF { Err(error) } else { Ok(()) }
}

/// Encodes three bytes, given as six nibbles, as four characters of six bits.
#[inline]
fn encode([a, b, c, d, e, f]: [u8; 6]) -> [u8; 4] {
    [a << 2 | b >> 2, b << 4 | c, d << 2 | e >> 2, e << 4 | f]
        .map(|sextet| ALPHABET[usize::from(sextet & 0x3F)])
}

/// Reads a binary string in the server's hex format.
pub(in crate::value) fn parse(text: &[u8]) -> Result<Vec<u8>, ValueError> {
    let error = ValueError::new("bytea", "\\x and pairs of hexadecimal digits");
    let hex = text
        .strip_prefix(b"\\x")
        .filter(|hex| hex.len() % 2 == 0)
        .ok_or(error)?;
    let (pairs, _) = hex.as_chunks::<2>();
    let byte = |pair: &[u8; 2]| match pair.map(|byte| NIBBLES[usize::from(byte)]) {
        [high @ ..16, low @ ..16] => Some(high << 4 | low),
        _ => None,
    };
    pairs.iter().map(byte).collect::<Option<_>>().ok_or(error)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::{OutputCursor, ValueError};
    use crate::buffer::Buffer;

    fn write(text: &str) -> Result<String, ValueError> {
        let mut out = Buffer::new();
        let mut cursor = OutputCursor::new(&mut out, 0);
        super::write(text.as_bytes(), &mut cursor)?;
        cursor.finish();
        Ok(String::from_utf8(out.to_vec()).unwrap())
    }

    #[test]
    fn every_length_agrees_with_another_encoder() {
        let bytes: Vec<u8> = (0..=255).collect();
        for length in 0..bytes.len() {
            let hex: String = bytes[..length]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let text = format!("\\x{hex}");
            let expected = format!("\"{}\"", STANDARD.encode(&bytes[..length]));
            assert_eq!(write(&text).unwrap(), expected);
            assert_eq!(super::parse(text.as_bytes()).unwrap(), &bytes[..length]);
        }
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in [
            "",
            "\\",
            "abc",
            "\\xa",
            "\\x0g",
            "\\x00112233445g",
            "\\x 1",
            "\\000",
        ] {
            assert!(write(text).is_err(), "{text}");
            assert!(super::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
