//! Writing of JSON strings: each implementation of the connector, three other crates, and memcpy,
//! which escapes nothing.
//!
//! Only strings are compared. The connector copies numbers as the server has written them, and has
//! no tree of values, which is the input of the other crates.

use criterion::{BenchmarkId, Criterion, Throughput};
use source_postgres::json::Escaper;

use crate::tables::{Random, WORDS};

/// Number of strings of each case, so that lengths and contents vary.
const STRINGS: usize = 64;

/// Measures how fast strings of several kinds are written.
pub(crate) fn benches(criterion: &mut Criterion) {
    let beyond_ascii = [
        "größe",
        "日本",
        "naïve",
        "plain",
        "ascii",
        "🎉",
        "Прага",
        "text",
    ];
    let plain = [
        "left", "at", "the", "door", "of", "number", "eleven", "again",
    ];
    let cases: [(&str, usize, &[&str]); 5] = [
        ("8 to 24 bytes", 24, &plain),
        ("100 bytes", 100, &plain),
        ("3 KB", 3_000, &plain),
        ("3 KB with escapes", 3_000, &WORDS),
        ("3 KB beyond ASCII", 3_000, &beyond_ascii),
    ];
    for (case, length, words) in cases {
        let mut random = Random::default();
        let texts: Vec<String> = (0..STRINGS)
            .map(|_| {
                let length = if length < 30 {
                    8 + random.below(length - 7)
                } else {
                    length
                };
                random.words(length, words)
            })
            .collect();
        compare(criterion, case, &texts);
    }
}

/// Function that appends a text as a JSON string.
type Writer = Box<dyn Fn(&str, &mut Vec<u8>)>;

fn compare(criterion: &mut Criterion, case: &str, texts: &[String]) {
    let mut group = criterion.benchmark_group(format!("json/{case}"));
    group.throughput(Throughput::ElementsAndBytes {
        elements: texts.len() as u64,
        bytes: texts.iter().map(|text| text.len() as u64).sum(),
    });
    let mut writers: Vec<(String, Writer)> = Escaper::all()
        .into_iter()
        .map(|escaper| -> (String, Writer) {
            let write = move |text: &str, out: &mut Vec<u8>| escaper.write(text.as_bytes(), out);
            (format!("ours, {}", escaper.name()), Box::new(write))
        })
        .collect();
    writers.push((
        "serde_json".to_owned(),
        Box::new(|text, out| serde_json::to_writer(out, text).expect("a vector")),
    ));
    writers.push((
        "simd-json".to_owned(),
        Box::new(|text, out| simd_json::to_writer(out, text).expect("a vector")),
    ));
    writers.push((
        "json-escape-simd".to_owned(),
        Box::new(|text, out| json_escape_simd::escape_into(text, out)),
    ));
    for (name, write) in &writers {
        for text in texts {
            let mut out = Vec::new();
            write(text, &mut out);
            let read: String = serde_json::from_slice(&out).expect("a string");
            assert_eq!(read, *text, "{name}");
            let read: String = simd_json::from_slice(&mut out).expect("a string");
            assert_eq!(read, *text, "{name}, read by simd-json");
        }
    }
    writers.push((
        "memcpy".to_owned(),
        Box::new(|text, out| out.extend_from_slice(text.as_bytes())),
    ));
    for (name, write) in &writers {
        let mut out = Vec::with_capacity(1024 * 1024);
        group.bench_with_input(
            BenchmarkId::from_parameter(name),
            texts,
            |bencher, texts| {
                bencher.iter(|| {
                    out.clear();
                    for text in texts {
                        write(text, &mut out);
                    }
                    out.len()
                });
            },
        );
    }
}
