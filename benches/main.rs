//! Micro-benchmarks: `cargo bench`, or `cargo bench -- narrow` for some of them.
//!
//! Rows and texts are generated from a fixed seed. Each result is asserted to be right before it is
//! timed. `benches/README.md` describes the groups.

mod decode;
mod json;
mod record;
mod share;
mod stream;
mod tables;

use criterion::{Criterion, criterion_group};

criterion_group!(
    benches,
    json::benches,
    decode::benches,
    record::benches,
    share::report
);

fn main() {
    if share::profile() {
        return;
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
