//! Strings: quoting, escaping, and the repair of what is not UTF-8.
//!
//! Escaped are the quote, the backslash and U+0000 to U+001F, nothing else. `scalar` is the
//! reference implementation; others have to produce the same bytes.

mod scalar;

pub(super) use scalar::plain_run;
use scalar::write_escaped;

/// Appends a JSON string; each byte that is not UTF-8 becomes U+FFFD.
#[inline]
pub fn write_string(text: impl AsRef<[u8]>, out: &mut Vec<u8>) {
    let text = text.as_ref();
    out.reserve(text.len() + 2);
    out.push(b'"');
    write_string_contents(text, out);
    out.push(b'"');
}

/// Appends a JSON string.
#[inline]
pub fn write_str(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    write_escaped(text, out);
    out.push(b'"');
}

/// Appends what stands between the quotes of a JSON string.
#[inline]
fn write_string_contents(text: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(text) {
        Ok(text) => write_escaped(text, out),
        Err(_) => write_repaired(text, out),
    }
}

#[cold]
fn write_repaired(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        write_escaped(chunk.valid(), out);
        for _ in chunk.invalid() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &[u8]) -> String {
        let mut out = Vec::new();
        write_string(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_quote_backslash_and_controls_alone() {
        let rows: [(&str, &str); 8] = [
            ("", r#""""#),
            ("plain", r#""plain""#),
            ("tabs\tand\nnewlines\r", r#""tabs\tand\nnewlines\r""#),
            (
                r#"special: "quotes" and 'apostrophes' \ /"#,
                r#""special: \"quotes\" and 'apostrophes' \\ /""#,
            ),
            (
                "\u{0}\u{1}\u{8}\u{c}\u{1b}\u{1f}",
                r#""\u0000\u0001\u0008\u000c\u001b\u001f""#,
            ),
            (
                "\u{7f}\u{80}\u{2028}\u{feff}\u{ffff}",
                "\"\u{7f}\u{80}\u{2028}\u{feff}\u{ffff}\"",
            ),
            ("</script>&", r#""</script>&""#),
            ("emoji: 🎉 é 日本", "\"emoji: 🎉 é 日本\""),
        ];
        for (text, expected) in rows {
            assert_eq!(string(text.as_bytes()), expected);
            let mut out = Vec::new();
            write_str(text, &mut out);
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn each_byte_that_is_not_utf8_becomes_one_replacement() {
        let rows: [(&[u8], &str); 5] = [
            (b"caf\xe9", "\"caf\u{fffd}\""),
            (b"\xed\xa0\x80", "\"\u{fffd}\u{fffd}\u{fffd}\""),
            (b"a\xe2\x82\"\n", "\"a\u{fffd}\u{fffd}\\\"\\n\""),
            (b"\xf0\x9f\x8e", "\"\u{fffd}\u{fffd}\u{fffd}\""),
            (b"\xc0\x80ok", "\"\u{fffd}\u{fffd}ok\""),
        ];
        for (text, expected) in rows {
            assert_eq!(string(text), expected);
        }
    }

    #[test]
    fn every_position_and_length_is_escaped_as_serde_reads_it_back() {
        for length in 0..70 {
            for position in 0..length {
                for special in ["\"", "\\", "\n", "\u{1}", "é"] {
                    let mut text = "x".repeat(position) + special;
                    text.push_str(&"y".repeat(length - position));
                    let out = string(text.as_bytes());
                    assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
                }
            }
        }
    }
}
