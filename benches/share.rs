//! Speed of the way from bytes to documents, as a share of memcpy's speed: the figure of merit.
//!
//! Both are timed alternately, many times, so that other work of the machine disturbs both alike,
//! and their medians are compared. The input is larger than the caches.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use source_postgres::flow::{Codec, Output};

use crate::record::{checked, documents_of};
use crate::stream::{Reader, Stream};
use crate::tables::{self, Random};

/// Number of measurements of each part.
const ROUNDS: usize = 9;

/// Number of parts, which together are larger than the caches. One part takes about a millisecond,
/// less than the time slice of a process on a busy machine.
const PARTS: usize = 40;

/// Size of the pieces that the connector writes, in bytes.
const PIECE: usize = 1024 * 1024;

/// Writes the documents of a thousand rows `PROFILE_PASSES` times, for a profiler; the measured
/// code is below `Reader::write`. Returns whether this environment variable is set. The rows are
/// narrow unless `PROFILE_TABLE` is `wide` or `documents`.
pub(crate) fn profile() -> bool {
    let Some(passes) = std::env::var_os("PROFILE_PASSES") else {
        return false;
    };
    let passes: usize = passes.to_string_lossy().parse().expect("a number");
    let stream = match std::env::var("PROFILE_TABLE").as_deref() {
        Ok("wide") => tables::inserts(&tables::WIDE, 1_000, tables::wide_row),
        Ok("documents") => tables::inserts(&tables::DOCUMENTS, 1_000, tables::document_row),
        _ => tables::inserts(&tables::NARROW, 1_000, tables::narrow_row),
    };
    let mut reader = Reader::new(&stream);
    let mut output = Output::new(std::io::sink(), Codec::Proto);
    for _ in 0..passes {
        reader.write(&stream, &mut output);
    }
    true
}

/// Prints the shares, unless the arguments of the benchmarks exclude them.
pub(crate) fn report(_: &mut Criterion) {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let filters: Vec<_> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
    let is_excluded = !filters.is_empty() && !filters.iter().any(|it| "share".contains(*it));
    if is_excluded || arguments.iter().any(|it| it == "--list") {
        return;
    }
    // Without `--bench` this is a test, for which a few rows are enough.
    let divisor = if arguments.iter().any(|it| it == "--bench") {
        1
    } else {
        100
    };
    println!(
        "\nshare of memcpy, one core, medians and quartiles of {} alternating measurements\n\
         {:20}{:>8}{:>10}{:>10}{:>24}{:>24}",
        ROUNDS * PARTS,
        "",
        "ns/row",
        "B/row",
        "GB/s",
        "of memcpy, far",
        "of memcpy, near"
    );
    compare("narrow inserts", |random| {
        tables::inserts_from(
            random,
            &tables::NARROW,
            10_000 / divisor,
            tables::narrow_row,
        )
    });
    compare("wide inserts", |random| {
        tables::inserts_from(random, &tables::WIDE, 2_000 / divisor, tables::wide_row)
    });
    compare("document inserts", |random| {
        tables::inserts_from(
            random,
            &tables::DOCUMENTS,
            1_000 / divisor,
            tables::document_row,
        )
    });
}

/// Part of the measured input.
struct Part {
    stream: Stream,
    reader: Reader,
    /// The documents of the part.
    json: Vec<u8>,
    /// Destination of memcpy, as large as `json`.
    copy: Vec<u8>,
}

fn compare(name: &str, stream: impl Fn(&mut Random) -> Stream) {
    let mut random = Random::default();
    let mut parts: Vec<Part> = (0..PARTS)
        .map(|_| {
            let stream = stream(&mut random);
            let frames = checked(&stream, Codec::Proto);
            let json: Vec<u8> = documents_of(&frames, Codec::Proto)
                .flatten()
                .copied()
                .collect();
            Part {
                reader: Reader::new(&stream),
                stream,
                copy: vec![0; json.len()],
                json,
            }
        })
        .collect();
    let mut piece = vec![0; PIECE];
    let mut output = Output::new(std::io::sink(), Codec::Proto);
    let mut times = [const { Vec::new() }; 3];
    for round in 0..=ROUNDS {
        for Part {
            stream,
            reader,
            json,
            copy,
        } in &mut parts
        {
            let measured = [
                timed(|| {
                    black_box(reader.write(stream, &mut output));
                }),
                // To memory that is in no cache, as the input.
                timed(|| black_box(copy).copy_from_slice(black_box(json))),
                // To a buffer that is reused, as the connector's output is.
                timed(|| {
                    for from in json.chunks(PIECE) {
                        black_box(&mut piece)[..from.len()].copy_from_slice(black_box(from));
                    }
                }),
            ];
            // The first round warms up.
            if round > 0 {
                let bytes = count(json.len());
                for (times, time) in times.iter_mut().zip(measured) {
                    times.push(time.as_secs_f64() / bytes);
                }
            }
        }
    }
    times
        .iter_mut()
        .for_each(|times| times.sort_by(f64::total_cmp));
    let quartile = |times: &[f64], quarter: usize| times[times.len() * quarter / 4];
    let [ours, far, near] = &times;
    let share = |other: &[f64]| {
        let [low, median, high] = [(1, 3), (2, 2), (3, 1)]
            .map(|(theirs, own)| quartile(other, theirs) / quartile(ours, own));
        format!("{median:.3} ({low:.3}-{high:.3})")
    };
    let rows: usize = parts.iter().map(|part| part.stream.rows).sum();
    let bytes: usize = parts.iter().map(|part| part.json.len()).sum();
    let bytes_per_row = count(bytes) / count(rows);
    println!(
        "{name:20}{:8.1}{:10.1}{:10.2}{:>24}{:>24}",
        quartile(ours, 2) * bytes_per_row * 1e9,
        bytes_per_row,
        1e-9 / quartile(ours, 2),
        share(far),
        share(near),
    );
    println!(
        "{:20}memcpy: {:.2} GB/s to memory, {:.2} GB/s to a buffer that is used again",
        "",
        1e-9 / quartile(far, 2),
        1e-9 / quartile(near, 2),
    );
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).expect("a small number"))
}

fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}
