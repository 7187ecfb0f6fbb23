//! Comparison of the fast paths with the general functions, for usual texts and their variants.

use super::super::super::error::ValueError;
use super::super::time;
use super::*;
use crate::buffer::Buffer;
use crate::json::{Escaper, KernelTask};

/// Writes a timestamp with an implementation's kernel alone.
struct KernelAlone<'a>(&'a [u8]);

impl KernelTask for KernelAlone<'_> {
    type Output = Option<Vec<u8>>;

    fn run<K: Kernel>(self, kernel: K) -> Self::Output {
        let mut window = [0; json::VALUE_WINDOW];
        let written = kernel.timestamp(self.0, &mut window)?;
        Some(window[..written].to_vec())
    }
}

/// Calls `check` with a text and with variants that differ in one byte, or in their end.
fn with_variants(text: &str, mut check: impl FnMut(&[u8])) {
    let mut bytes = text.as_bytes().to_vec();
    check(&bytes);
    for index in 0..bytes.len() {
        let kept = bytes[index];
        for other in *b"0123456789:-+. T/\xB0\x10" {
            bytes[index] = other;
            check(&bytes);
        }
        bytes[index] = kept;
        check(&bytes[..index]);
    }
    for end in ["0", "+00", ":00", " BC", ".5", "-08", "Z"] {
        check(format!("{text}{end}").as_bytes());
    }
}

#[test]
fn dates_and_timestamps_of_the_fast_path_agree_with_the_general_functions() {
    let (mut usual, mut quickest) = (0, 0);
    let escapers = Escaper::all();
    // Implementations whose kernel writes timestamps handle all without an offset.
    let kernels = escapers.iter().filter(|it| it.name() == "AVX-512").count();
    let (mut of_kernels, mut expected_of_kernels) = (0, 0);
    let texts = [
        "2024-02-29 23:59:59.123456+00",
        "0001-01-01 00:00:00+00",
        "1999-12-31 10:20:30.5-07",
        "2024-10-31 19:09:49.120+05:45",
        "9999-11-30 01:02:03.0001-15:59",
        "2024-06-15 12:00:00+00:19:32",
        "2024-06-15 12:00:00",
        "2024-06-15 12:00:00.654321",
    ];
    for text in texts {
        with_variants(text, |text| {
            let mut window = [0; json::VALUE_WINDOW];
            if let Some(length) = write_microseconds(text, &mut window) {
                let mut expected = b"\"".to_vec();
                time::write_timestamp(text, false, &mut expected).unwrap();
                expected.push(b'"');
                assert_eq!(window[..length], expected);
                quickest += 1;
            }
            for escaper in &escapers {
                if let Some(written) = escaper.run(KernelAlone(text)) {
                    let mut expected = b"\"".to_vec();
                    time::write_timestamp(text, false, &mut expected).unwrap();
                    expected.push(b'"');
                    assert_eq!(written, expected, "{escaper:?}");
                    of_kernels += 1;
                }
            }
            if Timestamp::find(text, false).is_some() {
                expected_of_kernels += kernels;
            }
            for zoned in [true, false] {
                let Some(timestamp) = Timestamp::find(text, zoned) else {
                    continue;
                };
                let (mut written, mut expected) = (Buffer::new(), Vec::new());
                let mut cursor = OutputCursor::new(&mut written, 10);
                timestamp.write(&mut cursor);
                cursor.finish();
                expected.push(b'"');
                time::write_timestamp(text, zoned, &mut expected).unwrap();
                expected.push(b'"');
                assert_eq!(
                    String::from_utf8_lossy(&written),
                    String::from_utf8_lossy(&expected)
                );
                usual += 1;
            }
        });
    }
    assert_eq!(of_kernels, expected_of_kernels);
    assert!(usual > 500 && quickest > 50, "{usual}, {quickest}");
    let mut dates = 0;
    for text in ["2024-02-29", "0001-01-01", "9999-12-31"] {
        with_variants(text, |text| {
            if is_date(text) {
                let mut expected = Vec::new();
                time::write_date(text, &mut expected).unwrap();
                assert_eq!(text, expected);
                dates += 1;
            }
        });
    }
    assert!(dates > 100, "{dates}");
}

/// Checks that copied texts are what the general function writes.
fn check_copied(
    texts: &[&str],
    is_copied: fn(&[u8]) -> bool,
    copy: fn(&str) -> String,
    write: fn(&[u8], &mut Vec<u8>) -> Result<(), ValueError>,
) {
    let mut copied = 0;
    for text in texts {
        assert!(is_copied(text.as_bytes()), "{text}");
        with_variants(text, |text| {
            if is_copied(text) {
                let mut expected = Vec::new();
                write(text, &mut expected).unwrap();
                let copy = copy(std::str::from_utf8(text).unwrap());
                assert_eq!(copy, String::from_utf8_lossy(&expected));
                copied += 1;
            }
        });
    }
    assert!(copied > 100, "{copied}");
}

#[test]
fn copied_times_and_intervals_agree_with_the_general_functions() {
    check_copied(
        &["00:00:00", "23:59:59.123456", "10:20:30.5"],
        is_time,
        |text| format!("{text}Z"),
        time::write_time,
    );
    check_copied(
        &["00:00:01", "99:59:59", "100:00:00", "10000000:10:20"],
        is_clock,
        |text| format!(" {text}"),
        time::write_interval,
    );
    for text in [
        "",
        "00:00:00",
        "010:00:00",
        "-00:00:01",
        "100000000:00:00",
        "1 day",
        "00:00:01.5",
    ] {
        assert!(!is_clock(text.as_bytes()), "{text}");
    }
    for text in [
        "",
        "24:00:00",
        "10:20:60",
        "10:20:30.",
        "10:20:30.50",
        "10:20",
        "10:20:30+00",
    ] {
        assert!(!is_time(text.as_bytes()), "{text}");
    }
}

#[test]
fn usual_forms_take_the_fast_path_and_others_do_not() {
    for text in ["2024-02-29 23:59:59.123456+00", "2024-02-29 23:59:59-03:30"] {
        assert!(Timestamp::find(text.as_bytes(), true).is_some());
        assert!(Timestamp::find(text.as_bytes(), false).is_none());
    }
    assert!(Timestamp::find(b"2024-02-29 23:59:59.1", false).is_some());
    let written = write_microseconds(b"2024-02-29 23:59:59.123456", &mut [0; 64]);
    assert_eq!(written, Some("\"2024-02-29T23:59:59.123456Z\"".len()));
    for text in [
        "10000-01-01 00:00:00+00",
        "2024-13-01 00:00:00+00",
        "2024-12-00 00:00:00+00",
        "2024-12-01 24:00:00+00",
        "2024-12-01 00:60:00+00",
        "2024-12-01 00:00:60+00",
        "2024-12-01 00:00:00.10+00",
        "2024-12-01 00:00:00-00",
        "infinity",
    ] {
        assert!(Timestamp::find(text.as_bytes(), true).is_none(), "{text}");
        assert_eq!(write_microseconds(text.as_bytes(), &mut [0; 64]), None);
    }
}
