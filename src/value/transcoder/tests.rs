//! Server texts and their JSON: a table for each family of types, a row for each type or special
//! value.

use protocol::Oid;
use serde_json::{Value, json};

use super::*;
use crate::value::builtin::{KeyForm, ROWS, SchemaForm, TextForm, row};
use crate::value::options::LARGE_VALUE;
use crate::value::{
    ColumnType, KeyCodec, KeyValue, PgType, TypeKind, TypeRegistry, ValueError, ValueOptions,
    column_schema,
};

fn options() -> ValueOptions {
    ValueOptions::default()
}

fn write(transcoder: &Transcoder, text: &[u8]) -> Result<String, ValueError> {
    // Bytes that are in the buffer before must stay.
    let mut out = b"before".to_vec();
    let written = transcoder.write(text, &mut out);
    let out = String::from_utf8(out).unwrap();
    let json = out.strip_prefix("before").unwrap().to_owned();
    if written.is_err() {
        assert_eq!(json, "");
    } else {
        serde_json::from_str::<Value>(&json).expect("JSON");
    }
    written.map(|()| json)
}

fn check_with(types: &TypeRegistry, options: &ValueOptions, rows: &[(u32, &str, &str)]) {
    for (oid, text, expected) in rows {
        let transcoder = Transcoder::new(Oid(*oid), types, options, false);
        let json = write(&transcoder, text.as_bytes());
        assert_eq!(json.as_deref(), Ok(*expected), "type {oid}, {text}");
    }
}

fn check(rows: &[(u32, &str, &str)]) {
    check_with(&TypeRegistry::default(), &options(), rows);
}

fn refuse(rows: &[(u32, &str)]) {
    let types = TypeRegistry::default();
    for (oid, text) in rows {
        let transcoder = Transcoder::new(Oid(*oid), &types, &options(), false);
        assert!(
            write(&transcoder, text.as_bytes()).is_err(),
            "type {oid}, {text}"
        );
    }
}

fn with_type(types: &mut TypeRegistry, oid: u32, name: &str, kind: TypeKind) {
    let (name, schema) = (name.to_owned(), "shop".to_owned());
    types.insert(PgType {
        oid: Oid(oid),
        name,
        schema,
        kind,
        delimiter: b',',
    });
}

#[test]
fn numbers_and_booleans_are_written() {
    check(&[
        (16, "t", "true"),
        (16, "f", "false"),
        (21, "-32768", "-32768"),
        (23, "2147483647", "2147483647"),
        (20, "-9223372036854775808", "-9223372036854775808"),
        (20, "0", "0"),
        (26, "4294967295", "4294967295"),
        (28, "123", "123"),
        (29, "7", "7"),
        (5069, "4294967299", r#""4294967299""#),
        (700, "3.4028235e+38", "3.4028235e+38"),
        (700, "0.1", "0.1"),
        (701, "1e+300", "1e+300"),
        (701, "1e-07", "1e-7"),
        (701, "NaN", r#""NaN""#),
        (701, "Infinity", r#""Infinity""#),
        (700, "-Infinity", r#""-Infinity""#),
        (1700, "123456.7890", r#""123456.7890""#),
        (1700, "0.0000", r#""0.0000""#),
        (1700, "-0.00010", r#""-0.00010""#),
        (1700, "NaN", r#""NaN""#),
        (790, "-$1,234.56", r#""-$1,234.56""#),
    ]);
    refuse(&[
        (16, "true"),
        (23, ""),
        (23, "-"),
        (23, "01"),
        (23, "1.0"),
        (23, " 1"),
        (701, "x"),
    ]);
}

#[test]
fn floats_of_a_key_are_strings() {
    let types = TypeRegistry::default();
    let rows = [
        (701, "3.14", r#""3.14""#),
        (701, "0", r#""0""#),
        (701, "-0", r#""-0""#),
        (701, "1e+21", r#""1000000000000000000000""#),
        (701, "1e-07", r#""0.0000001""#),
        (701, "NaN", r#""NaN""#),
        (700, "1e+10", r#""10000000000""#),
        (1022, "{1e+21,NULL}", r#"["1000000000000000000000",null]"#),
        (23, "7", "7"),
    ];
    for (oid, text, expected) in rows {
        let transcoder = Transcoder::new(Oid(oid), &types, &options(), true);
        assert_eq!(write(&transcoder, text.as_bytes()).as_deref(), Ok(expected));
    }
}

#[test]
fn text_and_binary_strings_are_written() {
    check(&[
        (25, "emoji: 🎉 </script>&", r#""emoji: 🎉 </script>&""#),
        (
            25,
            "tab\t nl\n cr\r bs\u{8} q\" back\\slash \u{1} \u{1f} \u{7f}",
            "\"tab\\t nl\\n cr\\r bs\\u0008 q\\\" back\\\\slash \\u0001 \\u001f \u{7f}\"",
        ),
        (1043, "", r#""""#),
        (1042, "fixed     ", r#""fixed     ""#),
        (19, "a_name", r#""a_name""#),
        (18, "a", "97"),
        (18, "", "0"),
        (18, "\\200", "128"),
        (18, "\\377", "255"),
        (18, "\\", "92"),
        (17, "\\x", r#""""#),
        (17, "\\x00ff10", r#""AP8Q""#),
        (17, "\\xdeadbeef", r#""3q2+7w==""#),
        (1560, "0010", r#""0010""#),
        (1562, "", r#""""#),
        (
            2950,
            "550e8400-e29b-41d4-a716-446655440000",
            r#""550e8400-e29b-41d4-a716-446655440000""#,
        ),
        (142, "<a>b</a>", r#""<a>b</a>""#),
        (3614, "'a' 'cat' 'fat'", r#""'a' 'cat' 'fat'""#),
        (3615, "'fat' & 'cat'", r#""'fat' & 'cat'""#),
        (3220, "16/B374D848", r#""16/B374D848""#),
        (22, "1 2 3", r#""1 2 3""#),
        (5038, "10:20:10,14,15", r#""10:20:10,14,15""#),
        (
            27,
            "(12,34)",
            r#"{"BlockNumber":12,"OffsetNumber":34,"Valid":true}"#,
        ),
        (
            99_999,
            "\"a\"=>\"1\", \"b\"=>NULL",
            r#""\"a\"=>\"1\", \"b\"=>NULL""#,
        ),
    ]);
    refuse(&[
        (18, "ab"),
        (18, "\\999"),
        (17, "\\000"),
        (17, "\\x0"),
        (27, "12,34"),
        (27, "(1;2)"),
    ]);
    let types = TypeRegistry::default();
    let text = Transcoder::new(Oid(25), &types, &options(), false);
    assert_eq!(write(&text, b"caf\xe9").unwrap(), "\"caf\u{fffd}\"");
    let char = Transcoder::new(Oid(18), &types, &options(), false);
    assert_eq!(write(&char, b"\x80").unwrap(), "128");
}

#[test]
fn dates_and_times_are_written() {
    check(&[
        (1082, "2024-01-15", r#""2024-01-15""#),
        (1082, "0001-01-01", r#""0001-01-01""#),
        (1082, "infinity", r#""9999-12-31""#),
        (1082, "-infinity", r#""0000-01-01""#),
        (1082, "9999-12-31", r#""9999-12-31""#),
        (1082, "12345-06-07", r#""0000-01-01""#),
        (1082, "0001-12-31 BC", r#""0000-12-31""#),
        (1082, "0044-03-15 BC", r#""0000-01-01""#),
        (1083, "14:30:00", r#""14:30:00Z""#),
        (1083, "23:59:59.999999", r#""23:59:59.999999Z""#),
        (1083, "12:34:56.12", r#""12:34:56.12Z""#),
        (1083, "24:00:00", r#""00:00:00Z""#),
        (1266, "14:30:00+05:30", r#""14:30:00+05:30""#),
        (1266, "23:59:59.999999-08", r#""23:59:59.999999-08:00""#),
        (1266, "00:00:00+00", r#""00:00:00Z""#),
        (1266, "12:34:56.12-03:30", r#""12:34:56.12-03:30""#),
        (1266, "24:00:00+00", r#""00:00:00Z""#),
        (1266, "01:02:03+15:59:59", r#""01:01:04+15:59""#),
        (1266, "00:00:03+15:59:59", r#""23:59:04+15:59""#),
        (1114, "2024-01-15 14:30:00", r#""2024-01-15T14:30:00Z""#),
        (
            1114,
            "1999-12-31 23:59:59.999999",
            r#""1999-12-31T23:59:59.999999Z""#,
        ),
        (
            1114,
            "0001-01-01 00:00:00.000001",
            r#""0001-01-01T00:00:00.000001Z""#,
        ),
        (1114, "infinity", r#""9999-12-31T23:59:59Z""#),
        (1114, "-infinity", r#""0000-01-01T00:00:00Z""#),
        (1114, "294276-12-31 23:59:59", r#""0000-01-01T00:00:00Z""#),
        (
            1114,
            "0001-12-31 23:59:59.5 BC",
            r#""0000-12-31T23:59:59.5Z""#,
        ),
        (1114, "4713-01-01 00:00:00 BC", r#""0000-01-01T00:00:00Z""#),
        (
            1184,
            "2024-01-15 06:30:00-08",
            r#""2024-01-15T06:30:00-08:00""#,
        ),
        (1184, "2024-07-15 14:30:00+00", r#""2024-07-15T14:30:00Z""#),
        (
            1184,
            "2024-07-15 20:15:00+05:45",
            r#""2024-07-15T20:15:00+05:45""#,
        ),
        (
            1184,
            "1879-12-31 19:03:58-04:56:02",
            r#""1879-12-31T19:04:00-04:56""#,
        ),
        (1184, "infinity", r#""9999-12-31T23:59:59Z""#),
        (1184, "10000-01-01 00:00:00+00", r#""0000-01-01T00:00:00Z""#),
        (
            1184,
            "0001-12-31 15:59:59.5-08 BC",
            r#""0000-12-31T15:59:59.5-08:00""#,
        ),
        (
            1186,
            "1 year 2 mons 3 days 04:05:06.789",
            r#""14 mon 3 day 04:05:06.789000""#,
        ),
        (1186, "-01:00:00", r#"" -01:00:00""#),
        (1186, "00:00:00", r#""""#),
        (1186, "infinity", r#""infinity""#),
        (1186, "-infinity", r#""-infinity""#),
    ]);
    refuse(&[
        (1082, "01/15/2024"),
        (1083, "14:30"),
        (1114, "Mon Jan 15 14:30:00 2024"),
        (1184, "2024-01-15 06:30:00 PST"),
        (1186, "P1Y"),
    ]);
    let flags = ValueOptions {
        date_as_date: false,
        time_as_time: false,
        ..options()
    };
    check_with(
        &TypeRegistry::default(),
        &flags,
        &[
            (1082, "2024-01-15", r#""2024-01-15T00:00:00Z""#),
            (1082, "infinity", r#""9999-12-31T23:59:59Z""#),
            (1082, "-infinity", r#""0000-01-01T00:00:00Z""#),
            (1082, "12345-06-07", r#""0000-01-01T00:00:00Z""#),
            (1082, "0001-12-31 BC", r#""0000-12-31T00:00:00Z""#),
            (1083, "14:30:00", "52200000000"),
            (1083, "23:59:59.999999", "86399999999"),
            (1083, "24:00:00", "86400000000"),
            (1266, "14:30:00+05:30", r#""14:30:00+05:30""#),
            (1183, "{14:30:00}", "[52200000000]"),
        ],
    );
}

#[test]
fn addresses_and_geometry_are_written() {
    check(&[
        (869, "192.168.1.1", r#""192.168.1.1/32""#),
        (869, "10.0.0.1/8", r#""10.0.0.1/8""#),
        (869, "2001:4f8:3:ba::1", r#""2001:4f8:3:ba::1/128""#),
        (869, "::ffff:1.2.3.4", r#""::ffff:1.2.3.4/128""#),
        (869, "::0.0.0.5", r#""::5/128""#),
        (650, "192.168.1.0/24", r#""192.168.1.0/24""#),
        (650, "2001:4f8:3:ba::/64", r#""2001:4f8:3:ba::/64""#),
        (829, "08:00:2b:01:02:03", r#""08:00:2b:01:02:03""#),
        (
            774,
            "08:00:2b:01:02:03:04:05",
            r#""08:00:2b:01:02:03:04:05""#,
        ),
        (600, "(1,2.5)", r#""(1,2.5)""#),
        (600, "(1000000,123456789.5)", r#""(1e+06,1.234567895e+08)""#),
        (600, "(Infinity,NaN)", r#""(+Inf,NaN)""#),
        (628, "{1,2,3}", r#""{1,2,3}""#),
        (601, "[(0,0),(1,1)]", r#""[(0,0),(1,1)]""#),
        (603, "(3,4),(1,2)", r#""(3,4),(1,2)""#),
        (602, "((0,0),(1,1))", r#""((0,0),(1,1))""#),
        (
            604,
            "((0,0),(0,1e-07),(1e+30,-0))",
            r#""((0,0),(0,0.0000001),(1000000000000000000000000000000,-0))""#,
        ),
        (718, "<(1,2),3>", r#""<(1,2),3>""#),
    ]);
    refuse(&[
        (869, "1.2.3"),
        (869, "::1/x"),
        (869, "1.2.3.4/"),
        (600, "(1,x)"),
        (600, ""),
    ]);
}

#[test]
fn json_is_compacted_and_replaced_if_large() {
    check(&[
        (
            114,
            r#" { "b" : 1 , "a" : "<&>", "d":1.0e5 } "#,
            r#"{"b":1,"a":"<&>","d":1.0e5}"#,
        ),
        (114, r#""\ud83d\u200b\ude14""#, r#""\uFFFD\u200b\uFFFD""#),
        (
            3802,
            r#"{"a": [1, 2.50, null], "b": 1}"#,
            r#"{"a":[1,2.50,null],"b":1}"#,
        ),
        (3802, "12345678901234567890.10", "12345678901234567890.10"),
        (4072, r#"$."a"[*]?(@ > 2)"#, r#""$.\"a\"[*]?(@ > 2)""#),
        (
            3807,
            r#"{"{\"a\": 1.50}","null",NULL,"\"x\"",12345678901234567890}"#,
            r#"[{"a":1.50},null,null,"x",12345678901234567890]"#,
        ),
    ]);
    refuse(&[(114, "{"), (114, ""), (3807, r#"{"{"}"#)]);

    let types = TypeRegistry::default();
    let json = Transcoder::new(Oid(114), &types, &options(), false);
    let text = format!("\"{}\"", "x".repeat(LARGE_VALUE - 1));
    let expected = r#"{"flow_truncated":true,"original_size":8388609}"#;
    assert_eq!(write(&json, text.as_bytes()).unwrap(), expected);
    let elements = Transcoder::new(Oid(199), &types, &options(), false);
    let array = format!("{{\"\\\"{}\\\"\"}}", "x".repeat(LARGE_VALUE + 5));
    assert_eq!(
        write(&elements, array.as_bytes()).unwrap().len(),
        LARGE_VALUE + 4
    );
}

#[test]
fn large_values_are_truncated_between_characters() {
    let types = TypeRegistry::default();
    let of = |oid| Transcoder::new(Oid(oid), &types, &options(), false);
    let length =
        |transcoder: &Transcoder, text: &str| write(transcoder, text.as_bytes()).unwrap().len() - 2;
    let whole = "x".repeat(LARGE_VALUE);
    assert_eq!(length(&of(25), &whole), LARGE_VALUE);
    assert_eq!(length(&of(25), &(whole.clone() + "y")), LARGE_VALUE);
    assert_eq!(length(&of(1042), &(whole.clone() + "y")), LARGE_VALUE);
    for (cut, back) in [("é", 1), ("日", 1), ("日", 2), ("🎉", 3), ("🎉", 1)] {
        let text = "x".repeat(LARGE_VALUE - back) + cut + "yyy";
        assert_eq!(length(&of(25), &text), LARGE_VALUE - back, "{cut} {back}");
    }
    assert_eq!(length(&of(99_999), &(whole.clone() + "y")), LARGE_VALUE);
    assert_eq!(
        length(&of(1562), &"1".repeat(LARGE_VALUE + 1)),
        LARGE_VALUE + 1
    );
    let bytes = String::from("\\x") + &"ab".repeat(LARGE_VALUE + 9);
    assert_eq!(length(&of(17), &bytes), 11_184_812);
    let element = format!("{{{whole}y,z}}");
    assert_eq!(length(&of(1009), &element), LARGE_VALUE + 2 + 4);
}

#[test]
fn ranges_are_written() {
    check(&[
        (3904, "[1,10)", r#""[1,10)""#),
        (3904, "empty", r#""empty""#),
        (3904, "(,6)", r#""(,6)""#),
        (3926, "(,)", r#""(,)""#),
        (3906, "[0.00,)", r#""[0.00,)""#),
        (3906, "(-Infinity,1.5]", r#""(-Infinity,1.5]""#),
        (
            3908,
            r#"["2024-01-01 00:00:00","2024-12-31 00:00:00")"#,
            r#""[2024-01-01T00:00:00Z,2024-12-31T00:00:00Z)""#,
        ),
        (
            3908,
            "[-infinity,infinity]",
            r#""[0000-01-01T00:00:00Z,9999-12-31T23:59:59Z]""#,
        ),
        (
            3908,
            r#"["0044-03-15 01:02:03 BC",)"#,
            r#""[0000-01-01T00:00:00Z,)""#,
        ),
        (
            3910,
            r#"["2023-12-31 16:00:00-08","2024-12-31 15:59:59-08")"#,
            r#""[2023-12-31T16:00:00-08:00,2024-12-31T15:59:59-08:00)""#,
        ),
        (
            3912,
            "[2024-01-01,2024-12-31)",
            r#""[2024-01-01T00:00:00Z,2024-12-31T00:00:00Z)""#,
        ),
        (4451, "{[1,3),[5,8)}", r#""{[1,3),[5,8)}""#),
        (4451, "{}", r#""{}""#),
        (4451, "{(,)}", r#""{(,)}""#),
        (
            4533,
            r#"{["2024-01-01 00:00:00","2024-01-02 00:00:00"),[infinity,)}"#,
            r#""{[2024-01-01T00:00:00Z,2024-01-02T00:00:00Z),[9999-12-31T23:59:59Z,)}""#,
        ),
        (
            4535,
            "{[2024-01-01,2024-01-03)}",
            r#""{[2024-01-01T00:00:00Z,2024-01-03T00:00:00Z)}""#,
        ),
        (3905, r#"{"[1,3)",empty}"#, r#"["[1,3)","empty"]"#),
        (6150, r#"{"{[1,3)}"}"#, r#""{\"{[1,3)}\"}""#),
    ]);
    refuse(&[
        (3904, "[1,2"),
        (3904, "1,2)"),
        (3904, "[1;2)"),
        (3904, "[1,2)x"),
        (3904, ""),
        (4451, "{[1,3),}"),
        (4451, "[1,3)"),
        (4451, "{[1,3)[5,8)}"),
        (3908, "[x,)"),
    ]);
}

#[test]
fn arrays_are_written() {
    check(&[
        (1007, "{1,NULL,3}", "[1,null,3]"),
        (1007, "{}", "[]"),
        (1007, "{{1,2},{3,4}}", "[1,2,3,4]"),
        (1007, "[0:1]={5,6}", "[5,6]"),
        (1007, "[-1:0][2:3]={{1,2},{3,4}}", "[1,2,3,4]"),
        (
            1022,
            "{1.5,NaN,-Infinity,1e-07}",
            r#"[1.5,"NaN","-Infinity",1e-7]"#,
        ),
        (
            1231,
            "{1.50,NaN,0.00,NULL}",
            r#"["1.50","NaN","0.00",null]"#,
        ),
        (
            1009,
            r#"{a,NULL,"NULL",x<y,"","b,c","q\"q","back\\slash"," {x} "}"#,
            r#"["a",null,"NULL","x<y","","b,c","q\"q","back\\slash"," {x} "]"#,
        ),
        // Control characters, which JSON escapes, are not escaped in the text of an array.
        (
            1009,
            "{\"a line\nand another of more than sixteen\t\",\"\u{1}\\\\\u{2}\"}",
            r#"["a line\nand another of more than sixteen\t","\u0001\\\u0002"]"#,
        ),
        (1000, "{t,f}", "[true,false]"),
        (1001, r#"{"\\xdeadbeef",NULL}"#, r#"["3q2+7w==",null]"#),
        (
            1182,
            r#"{2024-01-01,infinity,"0044-03-15 BC"}"#,
            r#"["2024-01-01","9999-12-31","0000-01-01"]"#,
        ),
        (1183, "{14:30:00,NULL}", r#"["14:30:00Z",null]"#),
        (
            1115,
            r#"{"2024-01-01 00:00:00",infinity}"#,
            r#"["2024-01-01T00:00:00Z","9999-12-31T23:59:59Z"]"#,
        ),
        (
            1185,
            r#"{"2023-12-31 16:00:00-08"}"#,
            r#"["2023-12-31T16:00:00-08:00"]"#,
        ),
        (1187, r#"{"1 mon",01:02:03}"#, r#"["1 mon "," 01:02:03"]"#),
        (1002, "{a,b}", "[97,98]"),
        (1041, "{1.2.3.4}", r#"["1.2.3.4/32"]"#),
        (1017, r#"{"(1,2)"}"#, r#"["(1,2)"]"#),
        (
            1020,
            "{(3,4),(1,2);(1,1),(0,0)}",
            r#"["(3,4),(1,2)","(1,1),(0,0)"]"#,
        ),
        (4073, r#"{"$.\"a\""}"#, r#"["$.\"a\""]"#),
        (
            1010,
            r#"{"(1,2)"}"#,
            r#"[{"BlockNumber":1,"OffsetNumber":2,"Valid":true}]"#,
        ),
        // Written as their schema declares.
        (1270, "{14:30:00+02}", r#"["14:30:00+02:00"]"#),
        (791, r#"{$1.50,"$1,000.00"}"#, r#"["$1.50","$1,000.00"]"#),
        (143, "{<a/>}", r#"["<a/>"]"#),
        (
            775,
            "{08:00:2b:01:02:03:04:05}",
            r#"["08:00:2b:01:02:03:04:05"]"#,
        ),
        (3643, "{'a'}", r#"["'a'"]"#),
        // No JSON array: a string of the text.
        (3221, "{0/1}", r#""{0/1}""#),
        (271, "{1,2}", r#""{1,2}""#),
    ]);
    refuse(&[
        (1007, ""),
        (1007, "1"),
        (1007, "{"),
        (1007, "{1"),
        (1007, "{1,}"),
        (1007, "{1}}"),
        (1007, "{1}x"),
        (1007, "{{}}"),
        (1007, "{x}"),
        (1007, "[0:1]"),
        (1007, "[x]={1}"),
        (1009, r#"{"a}"#),
        (1009, r#"{"a\"#),
        (1007, "{{{{{{{1}}}}}}}"),
    ]);
}

#[test]
fn arrays_are_written_in_each_mode() {
    let mut types = TypeRegistry::default();
    with_type(&mut types, 20_001, "mood", TypeKind::Enum);
    with_type(
        &mut types,
        20_002,
        "_mood",
        TypeKind::Array {
            element: Oid(20_001),
        },
    );
    with_type(
        &mut types,
        20_003,
        "ints",
        TypeKind::Domain {
            base: Oid(1007),
            not_null: false,
        },
    );
    with_type(
        &mut types,
        20_004,
        "_ints",
        TypeKind::Array {
            element: Oid(20_003),
        },
    );
    check_with(
        &types,
        &options(),
        &[
            (20_002, "{sad,ok}", r#""{sad,ok}""#),
            (20_003, "{1,2}", "[1,2]"),
            (20_004, r#"{"{1,2}"}"#, r#""{\"{1,2}\"}""#),
        ],
    );
    let object = ValueOptions {
        flatten_arrays: false,
        ..options()
    };
    check_with(
        &types,
        &object,
        &[
            (
                1007,
                "{1,NULL,3}",
                r#"{"elements":[1,null,3],"dimensions":[3]}"#,
            ),
            (1007, "{}", r#"{"elements":[],"dimensions":[]}"#),
            (
                1007,
                "[5:6]={5,6}",
                r#"{"elements":[5,6],"dimensions":[2]}"#,
            ),
            (
                1007,
                "{{1,2,3},{3,4,5}}",
                r#"{"elements":[1,2,3,3,4,5],"dimensions":[2,3]}"#,
            ),
            (
                1009,
                "{{{x}}}",
                r#"{"elements":["x"],"dimensions":[1,1,1]}"#,
            ),
            (20_002, "{sad,ok}", r#""{sad,ok}""#),
        ],
    );
    let nested = ValueOptions {
        multidimensional_arrays: true,
        ..object
    };
    check_with(
        &types,
        &nested,
        &[
            (1007, "{1,NULL,3}", "[1,null,3]"),
            (1007, "{}", "[]"),
            (1007, "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
            (1009, "{{{x}}}", r#"[[["x"]]]"#),
            (1007, "[0:1]={5,6}", "[5,6]"),
            (20_002, "{sad,ok}", r#"["sad","ok"]"#),
            (20_004, r#"{"{1,2}"}"#, "[[1,2]]"),
        ],
    );
}

#[test]
fn types_from_the_catalog_are_written() {
    let mut types = TypeRegistry::default();
    let domain = |base| TypeKind::Domain {
        base: Oid(base),
        not_null: false,
    };
    with_type(&mut types, 20_001, "mood", TypeKind::Enum);
    with_type(&mut types, 20_002, "pair", TypeKind::Composite);
    with_type(&mut types, 20_003, "posint", domain(23));
    with_type(&mut types, 20_004, "doc", domain(20_005));
    with_type(&mut types, 20_005, "inner", domain(3802));
    with_type(
        &mut types,
        20_006,
        "floatrange",
        TypeKind::Range { subtype: Oid(701) },
    );
    with_type(&mut types, 20_007, "citext", TypeKind::Base);
    with_type(
        &mut types,
        20_008,
        "_citext",
        TypeKind::Array {
            element: Oid(20_007),
        },
    );
    check_with(
        &types,
        &options(),
        &[
            (20_001, "happy", r#""happy""#),
            (
                20_002,
                "(1234,5678,\" 'hello'\")",
                r#""(1234,5678,\" 'hello'\")""#,
            ),
            (20_003, "5", "5"),
            (20_004, r#"{"foo": "bar"}"#, r#"{"foo":"bar"}"#),
            (20_006, "[1.5,2e+30)", r#""[1.5,2e+30)""#),
            (20_007, "MiXed", r#""MiXed""#),
            (20_008, "{Hello,World}", r#"["Hello","World"]"#),
        ],
    );
}

#[test]
fn a_type_is_added_by_one_row() {
    let furlong = row(
        30_001,
        30_002,
        "furlong",
        TextForm::Integer,
        SchemaForm::Integer,
        KeyForm::Integer,
    );
    let types = TypeRegistry::of(ROWS.iter().chain([&furlong]));
    check_with(
        &types,
        &options(),
        &[(30_001, "8", "8"), (30_002, "{8,NULL}", "[8,null]")],
    );
    let schema = |oid| {
        let column = ColumnType {
            type_oid: Oid(oid),
            type_modifier: -1,
            not_null: true,
        };
        Value::Object(column_schema(&column, true, &types, &options()))
    };
    assert_eq!(schema(30_001), json!({"type": "integer"}));
    let items = json!({"type": ["integer", "null"]});
    assert_eq!(schema(30_002), json!({"type": "array", "items": items}));
    let codec = KeyCodec::new(Oid(30_001), &types, false);
    assert_eq!(codec.parse(Some(b"8")).unwrap(), KeyValue::Integer(8));
    assert!(codec.is_comparable() && codec.is_predictable());
}
