//! The way from a server's bytes to documents in Flow frames, in both codecs.

use criterion::{Criterion, Throughput};
use simd_json::OwnedValue;
use source_postgres::flow::{Codec, Output};

use crate::stream::{Reader, Stream};
use crate::tables;

const ROWS: usize = 10_000;

/// Measures how fast documents are made of the tables' rows.
pub(crate) fn benches(criterion: &mut Criterion) {
    let streams = [
        (
            "narrow inserts",
            tables::inserts(&tables::NARROW, ROWS, tables::narrow_row),
        ),
        ("narrow updates", tables::updates(ROWS)),
        ("narrow deletions", tables::deletions(ROWS)),
        (
            "narrow rows of a query",
            tables::data_rows(&tables::NARROW, ROWS, tables::narrow_row),
        ),
        (
            "wide inserts",
            tables::inserts(&tables::WIDE, ROWS / 4, tables::wide_row),
        ),
        (
            "document inserts",
            tables::inserts(&tables::DOCUMENTS, ROWS / 10, tables::document_row),
        ),
    ];
    let mut group = criterion.benchmark_group("record");
    for (name, stream) in &streams {
        for (codec, codec_name) in [(Codec::Proto, "protobuf"), (Codec::Json, "JSON")] {
            let bytes = checked(stream, codec).len();
            group.throughput(Throughput::ElementsAndBytes {
                elements: stream.rows as u64,
                bytes: bytes as u64,
            });
            let mut reader = Reader::new(stream);
            let mut output = Output::new(std::io::sink(), codec);
            group.bench_function(format!("{name}, {codec_name}"), |bencher| {
                bencher.iter(|| reader.write(stream, &mut output));
            });
        }
    }
}

/// Returns the frames of a stream's documents, after parsing each document with two readers.
pub(crate) fn checked(stream: &Stream, codec: Codec) -> Vec<u8> {
    let mut frames = Vec::new();
    let mut output = Output::new(&mut frames, codec);
    let rows = Reader::new(stream).write(stream, &mut output);
    assert_eq!(rows, stream.rows);
    output.flush().expect("a vector");
    let mut documents = 0;
    for document in documents_of(&frames, codec) {
        // simd-json unescapes strings in place.
        let mut bytes = document.to_vec();
        let again = simd_json::to_owned_value(&mut bytes).expect("a document");
        let document: serde_json::Value = serde_json::from_slice(document).expect("a document");
        assert_eq!(document["_meta"]["source"]["table"], "table");
        let document = OwnedValue::try_from(document).expect("numbers of 64 bits");
        assert_eq!(document, again, "serde_json and simd-json disagree");
        documents += 1;
    }
    assert_eq!(documents, stream.rows);
    frames
}

/// Returns the documents in frames that these benchmarks write: all are of binding 1.
pub(crate) fn documents_of(frames: &[u8], codec: Codec) -> impl Iterator<Item = &[u8]> {
    let mut remaining = frames;
    std::iter::from_fn(move || {
        if remaining.is_empty() {
            return None;
        }
        let (frame, document) = match codec {
            Codec::Proto => {
                let length = remaining
                    .first_chunk()
                    .map(|length| u32::from_le_bytes(*length))?;
                let frame = 4 + usize::try_from(length).ok()?;
                // The document follows the length of the frame, the tag and length of the captured
                // message, the binding, and the tag and length of the document.
                (frame, remaining.get(4 + 6 + 2 + 6..frame)?)
            }
            Codec::Json => {
                let frame = remaining.iter().position(|byte| *byte == b'\n')? + 1;
                let document =
                    remaining.get(b"{\"captured\":{\"binding\":1,\"doc\":".len()..frame - 3)?;
                (frame, document)
            }
        };
        remaining = remaining.get(frame..)?;
        Some(document)
    })
}
