//! The way from bytes to messages: frames are split, messages are parsed and validated, values are
//! not read.

use criterion::{Criterion, Throughput};

use crate::stream::Reader;
use crate::tables;

const ROWS: usize = 10_000;

/// Measures how fast messages about the tables' rows are parsed.
pub(crate) fn benches(criterion: &mut Criterion) {
    let streams = [
        (
            "narrow inserts",
            tables::inserts(&tables::NARROW, ROWS, tables::narrow_row),
        ),
        (
            "narrow rows of a query",
            tables::data_rows(&tables::NARROW, ROWS, tables::narrow_row),
        ),
        (
            "wide inserts",
            tables::inserts(&tables::WIDE, ROWS / 4, tables::wide_row),
        ),
    ];
    let mut group = criterion.benchmark_group("decode");
    for (name, stream) in &streams {
        let mut reader = Reader::new(stream);
        assert_eq!(reader.parse(stream), stream.rows, "{name}");
        group.throughput(Throughput::ElementsAndBytes {
            elements: stream.rows as u64,
            bytes: stream.bytes.len() as u64,
        });
        group.bench_function(*name, |bencher| bencher.iter(|| reader.parse(stream)));
    }
}
