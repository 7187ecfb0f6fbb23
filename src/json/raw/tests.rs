use super::*;
use crate::buffer::Buffer;

fn compacted(text: &[u8]) -> Result<String, MalformedJson> {
    let mut out = Buffer::new();
    let mut room = Room::new(&mut out, 0);
    compact(text, &mut room)?;
    room.finish();
    Ok(String::from_utf8(out.to_vec()).unwrap())
}

#[test]
fn keeps_the_spelling_and_drops_white_space() {
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
fn replaces_surrogates_without_a_partner() {
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
fn bytes_that_are_not_utf8_are_repaired_in_strings_and_refused_elsewhere() {
    assert_eq!(
        compacted(b"[\"\xe9\xff\"]").unwrap(),
        "[\"\u{fffd}\u{fffd}\"]"
    );
    assert!(compacted(b"[\xe9]").is_err());
}

#[test]
fn prefixes_extensions_and_other_malformed_text_fail() {
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
    assert_eq!(compacted(b"[1,x").unwrap_err().offset(), 3);
}

#[test]
fn nesting_is_not_limited_by_the_stack() {
    let depth = 200_000;
    let text = "[{\"a\":".repeat(depth) + "1" + &"}]".repeat(depth);
    assert_eq!(compacted(text.as_bytes()).unwrap(), text);
}

#[test]
fn strings_are_cut_between_characters() {
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
        let mut room = Room::new(&mut out, 0);
        room.push(b"[");
        room.extend(text.as_bytes());
        truncate_string(&mut room, 1, limit);
        room.finish();
        assert_eq!(std::str::from_utf8(&out[1..]).unwrap(), expected);
    }
}
