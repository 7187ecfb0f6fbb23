use super::*;
use crate::buffer::Buffer;

fn compacted(text: &[u8]) -> Result<String, MalformedJson> {
    let mut out = Buffer::new();
    let mut cursor = OutputCursor::new(&mut out, 0);
    compact(text, &mut cursor)?;
    cursor.finish();
    Ok(String::from_utf8(out.to_vec()).unwrap())
}

#[test]
fn tokens_are_kept_as_written_and_white_space_is_dropped() {
    let rows = [
        (
            r#" { "b" : 1 , "a" : "<&>", "d":1.0e5 } "#,
            r#"{"b":1,"a":"<&>","d":1.0e5}"#,
        ),
        (r#"{"a": 1, "a": [ ], "c":{ }}"#, r#"{"a":1,"a":[],"c":{}}"#),
        (
            "[ 1.50 , 1E400,-0, -0.5e-7,\t0 ]\r\n",
            "[1.50,1E400,-0,-0.5e-7,0]",
        ),
        (
            r#" "\/ \u0000 \u00E9 é 😀 \\u \" \b\f\n\r\t" "#,
            r#""\/ \u0000 \u00E9 é 😀 \\u \" \b\f\n\r\t""#,
        ),
        (" null ", "null"),
        ("[true,false , null]", "[true,false,null]"),
        ("12345678901234567890.10", "12345678901234567890.10"),
    ];
    for (text, expected) in rows {
        assert_eq!(compacted(text.as_bytes()).unwrap(), expected);
    }
}

#[test]
fn unpaired_surrogates_are_replaced() {
    let rows = [
        (r#""\ud83d\u200b\ude14""#, r#""\uFFFD\u200b\uFFFD""#),
        (
            r#"{"\uDeAd": "\ud83d\udE14"}"#,
            r#"{"\uFFFD":"\ud83d\udE14"}"#,
        ),
        (r#""foo \"bar\\udfs\" /baz""#, r#""foo \"bar\\udfs\" /baz""#),
        (
            r#""\uD800\uD83D\uDE00\uDC00x""#,
            r#""\uFFFD\uD83D\uDE00\uFFFDx""#,
        ),
        (r#""\uD800""#, r#""\uFFFD""#),
        (r#""a\uD800b""#, r#""a\uFFFDb""#),
    ];
    for (text, expected) in rows {
        assert_eq!(compacted(text.as_bytes()).unwrap(), expected);
    }
}

#[test]
fn invalid_utf8_is_replaced_in_strings_and_refused_elsewhere() {
    assert_eq!(
        compacted(b"[\"\xe9\xff\"]").unwrap(),
        "[\"\u{fffd}\u{fffd}\"]"
    );
    assert!(compacted(b"[\xe9]").is_err());
    for length in 0..200 {
        let mut text = format!("[\"{}", "x".repeat(length)).into_bytes();
        text.extend_from_slice(b"\xff\"]");
        let expected = format!("[\"{}\u{fffd}\"]", "x".repeat(length));
        assert_eq!(compacted(&text).unwrap(), expected);
    }
}

#[test]
fn prefixes_trailing_text_and_other_malformed_text_are_refused() {
    let whole = r#"{"a":[1,-2.5e+3,"x\u00e9",{}],"b":null}"#;
    for length in 0..whole.len() {
        assert!(compacted(&whole.as_bytes()[..length]).is_err(), "{length}");
    }
    let rows = [
        "1 2",
        "{}x",
        "01",
        "-",
        "1.",
        "1e",
        "+1",
        ".5",
        "[1,]",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "[1}",
        "{\"a\":1]",
        "tru",
        "nul",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "]",
        "{1:2}",
        "'a'",
        "NaN",
    ];
    for text in rows {
        assert!(compacted(text.as_bytes()).is_err(), "{text}");
    }
}

#[cfg_attr(miri, ignore = "takes minutes in Miri")]
#[test]
fn strings_and_numbers_of_every_length_are_copied_up_to_their_end() {
    for length in 0..150 {
        let plain = "x".repeat(length);
        for special in [
            "",
            "\\\"",
            "\\\\",
            "\\u00e9",
            "\u{e9}",
            "\\ud83d\\ude00",
            "\u{1F600}",
            " , ",
        ] {
            for tail in [0, 1, 15, 16, 17, 70] {
                let text = format!("\"{plain}{special}{}\"", "y".repeat(tail));
                assert_eq!(compacted(text.as_bytes()).unwrap(), text);
                let member = format!("{{ {text} : [{text}]}}");
                let expected = format!("{{{text}:[{text}]}}");
                assert_eq!(compacted(member.as_bytes()).unwrap(), expected);
            }
        }
        for control in 0..b' ' {
            let text = format!("\"{plain}{}\"", char::from(control));
            assert!(compacted(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(compacted(format!("\"{plain}").as_bytes()).is_err());
        let digits = "7".repeat(length + 1);
        for number in ["", "-", "0.", "-7.", "1e", "1E+", "0.5e-"] {
            let number = format!("{number}{digits}");
            assert_eq!(compacted(number.as_bytes()).unwrap(), number);
            for end in ["x", ".", "e", "-", "e+", " 1"] {
                assert!(compacted(format!("{number}{end}").as_bytes()).is_err());
            }
        }
    }
}

#[cfg_attr(miri, ignore = "takes minutes in Miri")]
#[test]
fn containers_are_closed_by_their_own_bracket_at_any_depth() {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for depth in (0..140).chain([300]) {
        let (mut text, mut ends) = (String::new(), String::new());
        for _ in 0..depth {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let (start, end) = [("[", ']'), ("{\"a\":", '}')][usize::from(random >> 40 & 1 == 1)];
            text += start;
            ends.insert(0, end);
        }
        let whole = format!("{text}1{ends}");
        assert_eq!(compacted(whole.as_bytes()).unwrap(), whole);
        for at in 0..depth {
            let other = if &ends[at..=at] == "]" { "}" } else { "]" };
            let wrong = format!("{text}1{}{other}{}", &ends[..at], &ends[at + 1..]);
            assert!(compacted(wrong.as_bytes()).is_err());
        }
        assert!(compacted(format!("{whole}]").as_bytes()).is_err());
    }
}

#[cfg_attr(miri, ignore = "takes minutes in Miri")]
#[test]
fn nesting_is_not_limited_by_the_stack() {
    let depth = 200_000;
    let text = "[{\"a\":".repeat(depth) + "1" + &"}]".repeat(depth);
    assert_eq!(compacted(text.as_bytes()).unwrap(), text);
}

#[test]
fn strings_are_truncated_between_characters() {
    let rows = [
        (r#""abcdef""#, 3, r#""abc""#),
        (r#""abc""#, 3, r#""abc""#),
        (r#""ab\ncd""#, 3, r#""ab\n""#),
        (r#""aé""#, 2, r#""a""#),
        (r#""a\u00e9b""#, 3, r#""a\u00e9""#),
        (r#""a\u00e9b""#, 2, r#""a""#),
        (r#""\u0041\u2028x""#, 3, r#""\u0041""#),
        (r#""\ud83d\ude00x""#, 3, r#""""#),
        (r#""\ud83d\ude00x""#, 4, r#""\ud83d\ude00""#),
        ("[12345]", 3, "[12345]"),
    ];
    for (text, limit, expected) in rows {
        let mut out = Buffer::new();
        let mut cursor = OutputCursor::new(&mut out, 0);
        cursor.push(b"[");
        cursor.extend(text.as_bytes());
        truncate_string(&mut cursor, 1, limit);
        cursor.finish();
        assert_eq!(std::str::from_utf8(&out[1..]).unwrap(), expected);
    }
}
