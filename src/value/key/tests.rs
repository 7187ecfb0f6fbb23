//! Known answers, which are keys that the replaced connector has stored, and properties of random
//! values from fixed seeds.

use std::cmp::Ordering;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use protocol::Oid;

use super::*;
use crate::value::{PgType, TypeKind, TypeRegistry};

fn codec(oid: u32) -> KeyCodec {
    static TYPES: LazyLock<TypeRegistry> = LazyLock::new(TypeRegistry::default);
    KeyCodec::new(Oid(oid), &TYPES, true)
}

fn parse(oid: u32, text: &str) -> KeyValue {
    codec(oid)
        .parse(Some(text.as_bytes()))
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn encoded(oid: u32, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    codec(oid).encode(&parse(oid, text), &mut out);
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stored(text: &str) -> String {
    format!("02{}00", hex(text.as_bytes()))
}

/// Returns types with a server text, its stored bytes, and the parameter to resume with.
fn known_answers() -> Vec<(u32, &'static str, String, &'static str)> {
    let row = |oid, text, hex: &str, parameter| (oid, text, hex.to_owned(), parameter);
    let midnight = stored("2000-01-01T00:00:00.000000000Z");
    vec![
        row(16, "t", "27", "true"),
        row(16, "f", "26", "false"),
        row(20, "-300", "12fed3", "-300"),
        row(
            20,
            "-9223372036854775808",
            "0c7fffffffffffffff",
            "-9223372036854775808",
        ),
        row(21, "0", "14", "0"),
        row(23, "60", "153c", "60"),
        row(26, "70000", "17011170", "70000"),
        row(18, "a", "1561", "97"),
        row(18, "\\200", "1580", "-128"),
        row(18, "", "14", "0"),
        row(700, "0", "2080000000", "0e0"),
        row(700, "-0.9", "2040999999", "-9e-1"),
        row(700, "NaN", "20ffc00000", "NaN"),
        row(701, "-0.1", "214046666666666665", "-1e-1"),
        row(701, "3.14", "21c0091eb851eb851f", "3.14e0"),
        row(701, "-Infinity", "21000fffffffffffff", "-Infinity"),
        row(
            1700,
            "-0.5",
            "05024e000512b1df01343a00000100ff01ffff4000ff00ff0113880000",
            "-0.5",
        ),
        row(
            1700,
            "0.00",
            "05024e0005140100000100ff00ffffff00ff00ff00ff00ff0000",
            "0",
        ),
        row(
            1700,
            "-0.900",
            "05024e000512b1df01303a00000100ff01ffff4000ff00ff0323280000",
            "-0.900",
        ),
        (1700, "NaN", stored("NaN"), "NaN"),
        (1700, "-Infinity", stored("-Infinity"), "-Infinity"),
        row(17, "\\x00ff", "0100ffff00", "\\x00ff"),
        row(1042, "a   ", "026120202000", "a   "),
        row(1043, "B", "024200", "B"),
        (1043, "zé", stored("zé"), "zé"),
        (
            2950,
            "550e8400-e29b-41d4-a716-446655440000",
            stored("550e8400-e29b-41d4-a716-446655440000"),
            "550e8400-e29b-41d4-a716-446655440000",
        ),
        (1082, "2000-01-01", midnight.clone(), "2000-01-01"),
        (1082, "infinity", stored("infinity"), "infinity"),
        (
            1082,
            "5874897-12-31",
            stored("5874897-12-31T00:00:00.000000000Z"),
            "5874897-12-31",
        ),
        (
            1082,
            "0044-03-15 BC",
            stored("-0043-03-15T00:00:00.000000000Z"),
            "0044-03-15 BC",
        ),
        (
            1082,
            "0001-12-31 BC",
            stored("0000-12-31T00:00:00.000000000Z"),
            "0001-12-31 BC",
        ),
        (
            1114,
            "2000-01-01 00:00:00",
            midnight.clone(),
            "2000-01-01 00:00:00",
        ),
        (
            1114,
            "1999-12-31 23:59:59.123456",
            stored("1999-12-31T23:59:59.123456000Z"),
            "1999-12-31 23:59:59.123456",
        ),
        (1114, "-infinity", stored("-infinity"), "-infinity"),
        (
            1184,
            "2000-01-01 00:00:00+00",
            midnight,
            "2000-01-01 00:00:00+00",
        ),
        (
            1184,
            "2024-07-01 08:00:00-04",
            stored("2024-07-01T08:00:00.000000000-04:00"),
            "2024-07-01 12:00:00+00",
        ),
        (
            1184,
            "12345-06-07 08:09:10+05:30",
            stored("12345-06-07T08:09:10.000000000+05:30"),
            "12345-06-07 02:39:10+00",
        ),
        (
            1184,
            "1879-12-31 19:03:58-04:56:02",
            stored("1879-12-31T19:04:00.000000000-04:56"),
            "1880-01-01 00:00:00+00",
        ),
        (1083, "24:00:00", stored("24:00:00"), "24:00:00"),
        (
            1266,
            "14:30:00+05:30",
            stored("14:30:00+05:30"),
            "14:30:00+05:30",
        ),
        (
            1186,
            "1 mon -1 days",
            stored("1 mon -1 days"),
            "1 mon -1 days",
        ),
        (
            829,
            "08:00:2b:01:02:03",
            stored("08:00:2b:01:02:03"),
            "08:00:2b:01:02:03",
        ),
        (869, "10.0.0.1", stored("10.0.0.1"), "10.0.0.1"),
        (3904, "[1,5)", stored("[1,5)"), "[1,5)"),
        (1007, "{1,2}", stored("{1,2}"), "{1,2}"),
        (1560, "101", stored("101"), "101"),
        (3220, "16/B374D848", stored("16/B374D848"), "16/B374D848"),
        (5069, "4294967299", stored("4294967299"), "4294967299"),
        (790, "$1.50", stored("$1.50"), "$1.50"),
    ]
}

#[test]
fn stored_forms_are_those_of_the_replaced_connector() {
    for (oid, text, bytes, parameter) in known_answers() {
        let (codec, value) = (codec(oid), parse(oid, text));
        let out = encoded(oid, text);
        assert_eq!(hex(&out), bytes, "type {oid}, {text}");
        let mut input = [out.as_slice(), &[0x26]].concat();
        let mut rest = input.as_slice();
        let decoded = codec.decode(&mut rest).unwrap();
        assert_eq!(
            (decoded == value, rest),
            (true, &[0x26][..]),
            "type {oid}, {text}"
        );
        assert_eq!(codec.parameter(&decoded).as_deref(), Some(parameter));
        // A prefix fails, or is a shorter value. If it fails, the input is unchanged.
        input.truncate(out.len() - 1);
        let mut rest = input.as_slice();
        if codec.decode(&mut rest).is_err() {
            assert_eq!(rest.len(), input.len());
        }
    }
}

#[test]
fn null_is_stored_as_one_byte_and_sorts_last() {
    for oid in [16, 20, 25, 701, 1184, 1700, 17, 869] {
        let codec = codec(oid);
        let null = codec.parse(None).unwrap();
        let mut out = Vec::new();
        codec.encode(&null, &mut out);
        assert_eq!(out, [0]);
        let mut rest = out.as_slice();
        assert_eq!(codec.decode(&mut rest), Ok(KeyValue::Null));
        assert!(rest.is_empty());
        assert_eq!(codec.parameter(&null), None);
    }
    assert!(KeyValue::Null > parse(20, "9223372036854775807"));
    assert!(KeyValue::Null > parse(701, "NaN"));
    assert_eq!(KeyValue::Null, KeyValue::Null);
}

#[test]
fn a_key_of_several_columns_is_read_column_by_column() {
    let text = "a87ff679-a2f3-e71d-9181-a67b7542122c";
    let mut out = Vec::new();
    for (oid, text) in [(21, "1"), (2950, text), (20, "4")] {
        out.extend(encoded(oid, text));
    }
    let bytes = "15010261383766663637392d613266332d653731642d393138312d61363762373534323132326300\
        1504";
    assert_eq!(hex(&out), bytes);
    let mut rest = out.as_slice();
    assert_eq!(codec(21).decode(&mut rest), Ok(KeyValue::Integer(1)));
    assert_eq!(codec(2950).decode(&mut rest), Ok(parse(2950, text)));
    assert!(codec(25).decode(&mut rest).is_err());
    assert_eq!(codec(20).decode(&mut rest), Ok(KeyValue::Integer(4)));
    assert!(codec(20).decode(&mut rest).is_err());
}

#[test]
fn malformed_values_are_refused() {
    let rows = [
        (16, "true"),
        (23, ""),
        (23, "-"),
        (20, "9223372036854775808"),
        (20, "1x"),
        (700, "x"),
        (1700, "1."),
        (1700, "1e5"),
        (1700, "-NaN"),
        (17, "\\x0"),
        (2950, "550e8400e29b41d4a716446655440000"),
        (2950, "550e8400-e29b-41d4-a716-44665544000g"),
        (1082, "2024-01-01 00:00:00"),
        (1184, "2024-01-01 00:00:00"),
        (1083, "noon"),
        (829, "08:00:2b:01:02:3"),
        (3220, "16-1"),
        (5069, "-1"),
    ];
    for (oid, text) in rows {
        assert!(
            codec(oid).parse(Some(text.as_bytes())).is_err(),
            "type {oid}, {text}"
        );
    }
    assert!(codec(25).parse(Some(b"\xff")).is_err());
}

#[test]
fn malformed_stored_numerics_are_refused() {
    let good = encoded(1700, "12345.678");
    assert!(codec(1700).decode(&mut good.as_slice()).is_ok());
    for length in 0..good.len() {
        assert!(
            codec(1700).decode(&mut &good[..length]).is_err(),
            "{length}"
        );
    }
    // More digits than there are, a digit above 9999, an unknown sign, a part of a header.
    for binary in [
        &[0, 2, 0, 0, 0, 0, 0, 0, 0, 1][..],
        &[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10],
        &[0, 0, 0, 0, 0xC0, 0, 0, 0],
        &[0, 0, 0],
    ] {
        let mut out = Vec::new();
        tuple::write_nested(&mut out, |out| {
            tuple::write_string("N", out);
            tuple::write_nested(out, |out| {
                tuple::write_integer(1, out);
                tuple::write_bytes(b"1", out);
            });
            tuple::write_bytes(binary, out);
        });
        assert!(codec(1700).decode(&mut out.as_slice()).is_err());
    }
}

#[test]
fn values_sort_in_the_servers_order() {
    let rows: &[(u32, &[&str])] = &[
        (16, &["f", "t"]),
        (
            20,
            &[
                "-9223372036854775808",
                "-300",
                "-1",
                "0",
                "255",
                "9223372036854775807",
            ],
        ),
        (18, &["", "A", "a", "\\200", "\\377"]),
        (
            701,
            &[
                "-Infinity",
                "-1e+300",
                "-0.1",
                "0",
                "5e-324",
                "2.5",
                "Infinity",
                "NaN",
            ],
        ),
        (700, &["-1.5", "0", "0.25", "1e+10", "NaN"]),
        (
            1700,
            &[
                "-Infinity",
                "-12345.678",
                "-100",
                "-99.999",
                "-0.5",
                "-0.09",
                "0.000",
                "0.0001",
                "0.09",
                "0.1",
                "1",
                "1.0000001",
                "1.5",
                "9",
                "10",
                "99999999999999999999.25",
                "Infinity",
                "NaN",
            ],
        ),
        (17, &["\\x", "\\x00", "\\x00ff", "\\x01", "\\xff"]),
        (25, &["", "B", "a", "ab", "b", "é"]),
        (1042, &["a   ", "a\t  ", "ab  "]),
        (
            1082,
            &[
                "-infinity",
                "4713-01-01 BC",
                "0044-03-15 BC",
                "0044-03-16 BC",
                "0001-12-31 BC",
                "0001-01-01",
                "2024-02-29",
                "9999-12-31",
                "12345-06-07",
                "infinity",
            ],
        ),
        (
            1184,
            &[
                "-infinity",
                "2024-11-03 01:10:00-07",
                "2024-11-03 01:30:00-07",
                "2024-11-03 01:10:00-08",
                "12345-06-07 00:00:00+00",
                "infinity",
            ],
        ),
        (1083, &["00:00:00", "23:59:59.999999", "24:00:00"]),
        (
            1266,
            &["14:30:00+02", "12:30:00+00", "11:30:00-01", "12:30:00-01"],
        ),
        (
            1186,
            &[
                "-1 days", "00:00:00", "23:00:00", "1 day", "1 mon", "32 days", "infinity",
            ],
        ),
        (1562, &["", "0", "00", "1", "10", "100000001", "11"]),
        (3220, &["0/FFFFFFFF", "9/0", "10/0"]),
        (5069, &["9", "10"]),
    ];
    for (oid, texts) in rows {
        let values: Vec<KeyValue> = texts.iter().map(|text| parse(*oid, text)).collect();
        for (i, left) in values.iter().enumerate() {
            for (j, right) in values.iter().enumerate() {
                assert_eq!(
                    left.cmp(right),
                    i.cmp(&j),
                    "type {oid}, {} {}",
                    texts[i],
                    texts[j]
                );
            }
        }
    }
}

#[test]
fn equal_values_of_different_texts_have_equal_hashes() {
    let hash = |value: &KeyValue| {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        hasher.finish()
    };
    let rows = [
        (1700, "1.50", "1.5000"),
        (1700, "0", "0.000"),
        (1700, "-100", "-100.0"),
        (701, "0", "-0"),
        (701, "NaN", "NaN"),
        (1184, "2024-01-01 00:00:00+00", "2024-01-01 05:30:00+05:30"),
        (1042, "a", "a   "),
        (1186, "1 mon", "30 days"),
    ];
    for (oid, left, right) in rows {
        let (left, right) = (parse(oid, left), parse(oid, right));
        assert_eq!(left, right);
        assert_eq!(hash(&left), hash(&right));
    }
}

#[test]
fn predictable_and_comparable_types_and_their_casts() {
    let mut types = TypeRegistry::default();
    let domain = |base| TypeKind::Domain {
        base: Oid(base),
        not_null: false,
    };
    let kinds = [
        ("mood", TypeKind::Enum),
        ("code", domain(1043)),
        ("outer", domain(20_002)),
        ("citext", TypeKind::Base),
        ("hstore", TypeKind::Base),
        ("count", domain(23)),
        ("feeling", domain(20_001)),
    ];
    for (oid, (name, kind)) in (20_001..).zip(kinds) {
        let (name, schema) = (name.to_owned(), "shop".to_owned());
        types.insert(PgType {
            oid: Oid(oid),
            name,
            schema,
            kind,
            delimiter: b',',
        });
    }
    let rows = [
        // Type, whether it is predictable, comparable under any collation, comparable under one
        // that sorts by bytes.
        (23, true, true, true),
        (1700, true, true, true),
        (2950, true, true, true),
        (1184, true, true, true),
        (17, true, true, true),
        (25, false, false, true),
        (1043, false, false, true),
        (1042, false, false, true),
        (19, true, false, true),
        (869, true, false, false),
        (790, true, false, false),
        (3802, true, false, false),
        (1007, true, false, false),
        (1083, true, true, true),
        (20_001, false, false, false),
        (20_002, false, false, true),
        (20_003, true, false, true),
        (20_004, false, false, false),
        (20_005, true, false, false),
        (20_006, true, true, true),
        (20_007, true, false, false),
    ];
    for (oid, predictable, otherwise, bytewise) in rows {
        let of = |collation| KeyCodec::new(Oid(oid), &types, collation);
        assert_eq!(of(false).is_predictable(), predictable, "{oid}");
        assert_eq!(of(false).is_comparable(), otherwise, "{oid}");
        assert_eq!(of(true).is_comparable(), bytewise, "{oid}");
    }
    let mood = r#"::"shop"."mood""#;
    for (oid, column, parameter) in [
        (23, "", ""),
        (1007, "", ""),
        (20_001, "", ""),
        (20_007, mood, mood),
        (18, "", r#"::int4::"pg_catalog"."char""#),
        (2205, "", r#"::"pg_catalog"."regclass""#),
        (20_005, "", r#"::"shop"."hstore""#),
    ] {
        let codec = KeyCodec::new(Oid(oid), &types, true);
        let Comparison {
            column: found,
            parameter: bound,
            ..
        } = codec.comparison();
        assert_eq!((found.as_str(), bound.as_str()), (column, parameter));
    }
}

#[test]
fn debug_output_does_not_show_values() {
    for (oid, text, ..) in known_answers() {
        let shown = format!("{:?}", parse(oid, text));
        assert!(shown.ends_with("(..)"), "{shown}");
    }
}

/// Generator xorshift64*, with the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    /// Returns small and large magnitudes with equal probability.
    fn integer(&mut self) -> i64 {
        let shift = self.below(64);
        (self.next() >> shift).cast_signed()
    }

    fn numeric(&mut self) -> String {
        let digits = |numbers: &mut Self, most| -> String {
            let length = numbers.below(most);
            (0..length)
                .map(|_| char::from(numbers.pick(b"0000123459")))
                .collect()
        };
        let integer = digits(self, 12).trim_start_matches('0').to_owned();
        let integer = if integer.is_empty() {
            "0".to_owned()
        } else {
            integer
        };
        let fraction = digits(self, 12);
        let text = if fraction.is_empty() {
            integer
        } else {
            format!("{integer}.{fraction}")
        };
        let is_zero = text.bytes().all(|byte| b"0.".contains(&byte));
        if self.below(2) == 0 && !is_zero {
            format!("-{text}")
        } else {
            text
        }
    }
}

/// Parses, encodes and decodes a text. Returns the value and its stored bytes.
fn round_trip(oid: u32, text: &str) -> (KeyValue, Vec<u8>) {
    let codec = codec(oid);
    let (value, bytes) = (parse(oid, text), encoded(oid, text));
    let mut rest = bytes.as_slice();
    let decoded = codec
        .decode(&mut rest)
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    assert!(rest.is_empty());
    assert_eq!(decoded, value, "type {oid}, {text}");
    let parameter = codec.parameter(&decoded).unwrap();
    assert_eq!(
        codec.parse(Some(parameter.as_bytes())).as_ref(),
        Ok(&value),
        "type {oid}, {text}"
    );
    (value, bytes)
}

/// Checks that values compare as expected, and their stored bytes too if `bytes_agree`.
fn agree(oid: u32, texts: [&str; 2], expected: Ordering, bytes_agree: bool) {
    let [(left, left_bytes), (right, right_bytes)] = texts.map(|text| round_trip(oid, text));
    assert_eq!(left.cmp(&right), expected, "type {oid}, {texts:?}");
    assert_eq!(
        right.cmp(&left),
        expected.reverse(),
        "type {oid}, {texts:?}"
    );
    if bytes_agree && expected != Ordering::Equal {
        assert_eq!(
            left_bytes.cmp(&right_bytes),
            expected,
            "type {oid}, {texts:?}"
        );
    }
}

#[test]
fn random_values_round_trip_and_sort() {
    let mut numbers = Numbers(0x0DDB_1A5E_5BAD_5EED);
    for _ in 0..20_000 {
        let (a, b) = (numbers.integer(), numbers.integer());
        agree(20, [&a.to_string(), &b.to_string()], a.cmp(&b), true);

        let floats = [a, b].map(|bits| f64::from_bits(bits.cast_unsigned()));
        if let Some(order) = floats[0].partial_cmp(&floats[1]) {
            agree(
                701,
                [&floats[0].to_string(), &floats[1].to_string()],
                order,
                true,
            );
        }

        let uuids = [a, b].map(|high| {
            let digits = format!("{high:016x}{:016x}", numbers.next());
            let groups = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
            groups
                .map(|(from, to)| digits[from..to].to_owned())
                .join("-")
        });
        agree(2950, [&uuids[0], &uuids[1]], uuids[0].cmp(&uuids[1]), true);

        let hexes = [a, b].map(|bytes| format!("\\x{}", hex(&bytes.to_be_bytes())));
        agree(17, [&hexes[0], &hexes[1]], hexes[0].cmp(&hexes[1]), true);
    }
}

#[test]
fn random_numerics_round_trip_and_sort() {
    let mut numbers = Numbers(0x5EED_0F5E_7E27_1357);
    // Exact for at most 11 digits on each side of the point.
    let scaled = |text: &str| -> i128 {
        let (integer, fraction) = text.split_once('.').unwrap_or((text, ""));
        format!("{integer}{fraction:0<12}").parse().unwrap()
    };
    for _ in 0..20_000 {
        let (a, b) = (numbers.numeric(), numbers.numeric());
        agree(1700, [&a, &b], scaled(&a).cmp(&scaled(&b)), true);
        let (value, _) = round_trip(1700, &a);
        let parameter = codec(1700).parameter(&value);
        assert_eq!(
            parameter.as_deref(),
            Some(a.as_str()),
            "the scale survives parsing"
        );
    }
}

#[test]
fn random_timestamps_round_trip_and_sort() {
    let mut numbers = Numbers(0xCA1E_DA25_CA1E_DA25);
    let (codec, zones) = (codec(1184), [0, -18_000, 19_800, 20_700, -12_600]);
    for _ in 0..20_000 {
        // Range of the server: 4713 BC to 294276 AD.
        let mut moment = || {
            let ticks = numbers
                .integer()
                .clamp(-211_813_488_000_000_000, 9_223_371_331_199_999_999);
            let offset = numbers.pick(&zones);
            KeyValue::Moment { ticks, offset }
        };
        let (left, right) = (moment(), moment());
        for value in [&left, &right] {
            let mut out = Vec::new();
            codec.encode(value, &mut out);
            let decoded = codec.decode(&mut out.as_slice()).unwrap();
            assert_eq!(&decoded, value);
            let mut again = Vec::new();
            codec.encode(&decoded, &mut again);
            assert_eq!(again, out);
        }
        let ticks = |value: &KeyValue| match value {
            KeyValue::Moment { ticks, .. } => *ticks,
            _ => unreachable!(),
        };
        assert_eq!(left.cmp(&right), ticks(&left).cmp(&ticks(&right)));
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut numbers = Numbers(0xBAD_B17E5);
    let codes = [
        0, 1, 2, 5, 0x0C, 0x14, 0x15, 0x1C, 0x20, 0x21, 0x26, 0x27, 0xFF, b'N', b'-',
    ];
    for _ in 0..20_000 {
        let length = numbers.below(24);
        let bytes: Vec<u8> = (0..length)
            .map(|_| match numbers.below(3) {
                0 => numbers.pick(&codes),
                1 => numbers.pick(b"0123456789-:TZ. "),
                _ => numbers.below(256).to_le_bytes()[0],
            })
            .collect();
        for oid in [
            16, 18, 20, 17, 25, 700, 701, 1042, 1082, 1083, 1114, 1184, 1186, 1700, 2950,
        ] {
            let mut rest = bytes.as_slice();
            if let Ok(value) = codec(oid).decode(&mut rest) {
                let _ = codec(oid).parameter(&value);
                codec(oid).encode(&value, &mut Vec::new());
            }
            let _ = codec(oid).parse(Some(&bytes));
        }
    }
}
