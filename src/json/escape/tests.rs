//! Known answers, and comparisons of every implementation with the scalar one.

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

#[cfg_attr(miri, ignore = "takes minutes in Miri")]
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

/// Largest block of an implementation, in bytes.
const LANES: usize = 64;

/// Fails unless every implementation writes the bytes that the scalar one writes.
fn check(text: &[u8]) {
    let written = |escaper: Escaper| {
        // Bytes that are in the buffer before must stay.
        let mut out = b"before".to_vec();
        escaper.write(text, &mut out);
        out
    };
    let expected = written(Escaper::all()[0]);
    let is_plain = text.is_ascii() && expected.len() == "before".len() + text.len() + 2;
    let run = scalar::plain_run(text);
    assert_eq!(plain_run(text), run);
    for escaper in Escaper::all() {
        let mut copied = vec![0; text.len() + VALUE_WINDOW];
        let plain = escaper.copy_plain(text, &mut copied);
        copied.truncate(plain.length);
        assert_eq!(plain.length, run);
        assert_eq!(copied[..], text[..plain.length]);
        assert!(plain.non_ascii || copied.is_ascii());
        let mut window = [0; VALUE_WINDOW];
        if escaper.quote(text, &mut window) {
            assert_eq!(window[..text.len() + 2], expected["before".len()..]);
        } else {
            let name = escaper.name();
            let short = text.len() <= if name == "AVX-512" { 62 } else { 14 };
            assert!(!is_plain || !short || ["scalar", "NEON"].contains(&name));
        }
        let written = written(escaper);
        assert_eq!(
            String::from_utf8_lossy(&written),
            String::from_utf8_lossy(&expected),
            "{} of {text:?}",
            escaper.name()
        );
        assert!(std::str::from_utf8(&written).is_ok());
    }
}

/// Returns a text of `length` bytes without escapes, each byte unlike its neighbours.
fn plain(length: usize) -> Vec<u8> {
    (b'#'..=b'Z').cycle().take(length).collect()
}

/// Returns the length up to which tests of quadratic cost go, less in Miri, which is slow.
fn to_lanes(count: usize) -> usize {
    count * if cfg!(miri) { 8 } else { LANES }
}

#[test]
fn the_scalar_implementation_is_first_and_the_best_one_last() {
    let names: Vec<_> = Escaper::all().into_iter().map(Escaper::name).collect();
    assert_eq!(names.first(), Some(&"scalar"));
    assert_eq!(names.last(), Some(&Escaper::best().name()));
    println!("{names:?}");
}

#[cfg_attr(miri, ignore = "takes minutes in Miri")]
#[test]
fn every_length_at_every_alignment_agrees_with_scalar() {
    for length in 0..=to_lanes(4) {
        let mut text = plain(length + LANES);
        for start in 0..LANES {
            check(&text[start..start + length]);
            if length > 0 {
                // Bytes around the text that would need an escape must not be scanned.
                let kept = text.clone();
                text[..start].fill(b'"');
                text[start + length..].fill(0xFF);
                text[start + length / 2] = b'\\';
                check(&text[start..start + length]);
                text = kept;
            }
        }
    }
}

#[cfg_attr(miri, ignore = "takes minutes in Miri")]
#[test]
fn every_escaped_byte_at_every_position_agrees_with_scalar() {
    let edges = [0x20, 0x21, 0x23, 0x5B, 0x5D, 0x7E, 0x7F, 0x80, 0xC3, 0xFF];
    let bytes: Vec<u8> = (0..0x20).chain(*b"\"\\").chain(edges).collect();
    for length in 1..=to_lanes(4) {
        let mut text = plain(length);
        for position in 0..length {
            // All bytes in texts of up to two of the largest blocks; longer texts repeat them.
            let some = if length <= to_lanes(2) + 2 {
                &bytes[..]
            } else {
                let index = (length * 31 + position) % bytes.len();
                &bytes[index..=index]
            };
            let kept = text[position];
            for byte in some {
                text[position] = *byte;
                check(&text);
            }
            text[position] = kept;
        }
    }
}

#[cfg_attr(miri, ignore = "takes minutes in Miri")]
#[test]
fn pairs_of_escapes_and_characters_of_every_width_agree_with_scalar() {
    for length in 1..=to_lanes(2) + 2 {
        for first in 0..length {
            let mut text = plain(length);
            text[first] = b'\n';
            text[length - 1 - first / 2] = b'"';
            check(&text);
            for character in ["é", "\u{2028}", "\u{2029}", "日", "🎉"] {
                let mut text = plain(length);
                text.splice(first..first, character.bytes());
                check(&text);
                text[length / 2] = b'"';
                check(&text);
            }
        }
    }
    for byte in [0, b'"', b'\\', 0x1F, 0xFF] {
        for length in 0..=to_lanes(4) {
            check(&vec![byte; length]);
        }
    }
}

#[cfg_attr(miri, ignore = "takes minutes in Miri")]
#[test]
fn random_bytes_agree_with_scalar() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let alphabet = "abcdefgh \"\\\n\u{1}é日🎉".as_bytes();
    for round in 0..if cfg!(miri) { 20 } else { 5_000 } {
        let length = usize::from(u16::from_le_bytes([random()[0], 0])) * (round % 3);
        let text: Vec<u8> = (0..length)
            .map(|_| match random() {
                // Single bytes of longer characters make some of the text invalid UTF-8.
                [a, ..] if round % 2 == 0 => alphabet[usize::from(a) % alphabet.len()],
                [a, ..] => a,
            })
            .collect();
        check(&text);
        check(String::from_utf8_lossy(&text).as_bytes());
    }
}

#[cfg_attr(miri, ignore = "takes minutes in Miri")]
#[test]
fn seeds_of_the_fuzz_target_agree_with_scalar() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/json_escape");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read(entry.unwrap().path()).unwrap();
        for start in 0..text.len().min(LANES) {
            check(&text[start..]);
        }
        for end in 0..text.len().min(2 * LANES) {
            check(&text[..end]);
        }
        count += 1;
    }
    assert!(count > 5, "{folder} holds {count} seeds");
}

/// Writes a text with an implementation's kernel, as an integer and as a string.
struct Both<'a>(&'a [u8]);

impl KernelTask for Both<'_> {
    type Output = [Option<Vec<u8>>; 2];

    fn run<K: Kernel>(self, kernel: K) -> Self::Output {
        let mut window = [0; VALUE_WINDOW];
        let integer = kernel.integer(self.0, &mut window);
        let integer = integer.map(|length| window[..length].to_vec());
        let string = kernel.quote(self.0, &mut window);
        [integer, string.map(|length| window[..length].to_vec())]
    }
}

#[cfg_attr(miri, ignore = "takes minutes in Miri")]
#[test]
fn kernels_write_correct_values_or_decline() {
    let mut texts: Vec<Vec<u8>> = [
        "", "-", "0", "-0", "00", "-01", "01", "7", "-9", "1-", "1.5", "+1",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    for length in (1..=70).step_by(if cfg!(miri) { 7 } else { 1 }) {
        let digits: Vec<u8> = (0..length).map(|at| b"123456789"[at % 9]).collect();
        for byte in [b'0', b'/', b':', b'-', b'"', b'\\', 0x1F, 0x80, 0xFF] {
            for at in [0, 1, length / 2, length - 1] {
                let mut text = digits.clone();
                if let Some(target) = text.get_mut(at) {
                    *target = byte;
                }
                texts.push(text);
            }
        }
        texts.push([b"-", &digits[..]].concat());
        texts.push(digits);
    }
    let is_integer = |text: &[u8]| {
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let leads = digits.len() > 1 && digits.first() == Some(&b'0');
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && !leads
    };
    for escaper in Escaper::all() {
        for text in &texts {
            let [integer, string] = escaper.run(Both(text));
            let expected = is_integer(text).then_some(text);
            if integer.is_some() || text.len() <= 16 {
                assert_eq!(integer.as_ref(), expected, "{escaper:?}");
            }
            if let Some(string) = string {
                let mut expected = Vec::new();
                scalar::write(text, &mut expected);
                assert_eq!(string, expected, "{escaper:?}");
            }
        }
    }
}
