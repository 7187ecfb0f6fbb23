//! What share of memcpy's speed the way from bytes to documents reaches: the figure of merit.
//!
//! Both are timed in turn, many times over, so that a busy machine disturbs both alike, and the
//! medians are compared. The input is larger than the caches.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use source_postgres::flow::{Codec, Output};

use crate::record::{checked, documents_of};
use crate::stream::{Reader, Stream};
use crate::tables;

const ROWS: usize = 400_000;
const ROUNDS: usize = 21;

/// The size of the pieces that the connector writes.
const PIECE: usize = 1024 * 1024;

/// Goes through a thousand narrow rows as many times as `PROFILE_PASSES` in the environment says, for
/// a profiler: what counts is below `Reader::write`. Returns whether it was asked for.
pub(crate) fn profile() -> bool {
    let Some(passes) = std::env::var_os("PROFILE_PASSES") else {
        return false;
    };
    let passes: usize = passes.to_string_lossy().parse().expect("a number");
    let stream = tables::inserts(&tables::NARROW, 1_000, tables::narrow_row);
    let mut reader = Reader::new(&stream);
    let mut output = Output::new(std::io::sink(), Codec::Proto);
    for _ in 0..passes {
        reader.write(&stream, &mut output);
    }
    true
}

/// Prints the share, where the arguments of the benchmarks do not leave it out.
pub(crate) fn report(_: &mut Criterion) {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let filters: Vec<_> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
    let is_left_out = !filters.is_empty() && !filters.iter().any(|it| "share".contains(*it));
    // Without measuring, once over a few rows is a test.
    let rows = if arguments.iter().any(|it| it == "--bench") {
        ROWS
    } else {
        100
    };
    if is_left_out || arguments.iter().any(|it| it == "--list") {
        return;
    }
    println!(
        "\nshare of memcpy, {rows} rows, one core, medians of {ROUNDS} alternating rounds\n\
         {:24}{:>8}{:>10}{:>12}{:>22}{:>22}",
        "", "ns/row", "B/row", "GB/s", "of memcpy, far", "of memcpy, near"
    );
    let narrow = tables::inserts(&tables::NARROW, rows, tables::narrow_row);
    let wide = tables::inserts(&tables::WIDE, rows / 8, tables::wide_row);
    let documents = tables::inserts(&tables::DOCUMENTS, rows / 20, tables::document_row);
    compare("narrow inserts", &narrow);
    compare("wide inserts", &wide);
    compare("document inserts", &documents);
}

fn compare(name: &str, stream: &Stream) {
    let frames = checked(stream, Codec::Proto);
    let mut json = Vec::with_capacity(frames.len());
    for document in documents_of(&frames, Codec::Proto) {
        json.extend_from_slice(document);
    }
    drop(frames);
    let mut copy = vec![0; json.len()];
    let mut piece = vec![0; PIECE];
    let mut reader = Reader::new(stream);
    let mut output = Output::new(std::io::sink(), Codec::Proto);
    let mut times = [const { Vec::new() }; 3];
    for round in 0..=ROUNDS {
        let measured = [
            timed(|| {
                black_box(reader.write(stream, &mut output));
            }),
            // To memory that is as large and as far away.
            timed(|| black_box(&mut copy).copy_from_slice(black_box(&json))),
            // To a buffer that is used again, as the connector does.
            timed(|| {
                for from in json.chunks(PIECE) {
                    black_box(&mut piece)[..from.len()].copy_from_slice(black_box(from));
                }
            }),
        ];
        // The first round warms up.
        if round > 0 {
            for (times, time) in times.iter_mut().zip(measured) {
                times.push(time.as_secs_f64());
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
    let count = |number: usize| f64::from(u32::try_from(number).expect("a small number"));
    println!(
        "{name:24}{:8.1}{:10.1}{:12.2}{:>22}{:>22}",
        quartile(ours, 2) * 1e9 / count(stream.rows),
        count(json.len()) / count(stream.rows),
        count(json.len()) / quartile(ours, 2) / 1e9,
        share(far),
        share(near),
    );
    println!(
        "{:24}memcpy: {:.2} GB/s to memory, {:.2} GB/s to a buffer that is used again",
        "",
        count(json.len()) / quartile(far, 2) / 1e9,
        count(json.len()) / quartile(near, 2) / 1e9,
    );
}

fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}
