//! End-to-end benchmarks: `make bench`, or `make bench ARGS=--short` to see whether they work.
//!
//! Servers are started, tables are filled, and the connector's release build reads them as it does
//! in Flow, in turns with other readers of the same rows: the floors, which are the connector's own
//! receiving code and discard the rows, and pg_recvlogical. Before anything is measured, every
//! reader runs once with its output checked. `benches/README.md` describes the method.

mod backfill;
mod backlog;
mod cases;
mod connector;
mod floor;
mod frames;
mod latency;
mod plot;
mod process;
mod programs;
mod proxy;
mod report;
mod results;
mod rounds;
mod stage;
#[path = "../../tests/support/mod.rs"]
#[expect(unused, reason = "the tests use all of it")]
mod support;
mod targets;
mod tls;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser};

use cases::{Case, DOCUMENTS, NARROW, SMALL, TOAST, WIDE};
use floor::Floor;
use report::LatencyTable;
use results::Results;
use stage::Stage;
use support::postgres::{self, Server, Version};

/// Measures the connector from the server's log or table to its standard output.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    floor: Option<Floor>,
    #[command(flatten)]
    options: Options,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Args)]
struct Options {
    /// Cases to measure, all by default: names or beginnings of names, separated by commas.
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// Major versions of PostgreSQL, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "15")]
    versions: Vec<u32>,
    /// Number of measured runs of each reader, after the one whose output is checked.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Also reads each table over this number of connections (advanced.backfill_connections).
    #[arg(long)]
    connections: Option<u32>,
    /// Factor for the number of rows; with 1, a run takes a few seconds.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Time for which rows are committed for each figure of latency, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Also measures a transaction of five million rows, and the cost of TLS.
    #[arg(long)]
    full: bool,
    /// Folder for the results.
    #[arg(long, default_value = "target/bench")]
    output: PathBuf,
    /// Uses a thousandth of the rows and one round, to see whether everything works.
    #[arg(long)]
    short: bool,
}

impl Options {
    /// Returns whether a case is to be measured.
    fn wants(&self, name: &str) -> bool {
        self.cases.is_empty()
            || self
                .cases
                .iter()
                .any(|case| name.starts_with(case.as_str()))
    }

    fn wants_huge(&self) -> bool {
        self.full || !self.cases.is_empty() && self.wants(HUGE)
    }

    /// Returns whether a case is to be measured with and without TLS.
    fn wants_tls(&self, name: &str) -> bool {
        if self.cases.is_empty() {
            self.full || self.short
        } else {
            self.full || self.wants(name)
        }
    }

    /// Returns the number of rows of a case.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "more than 2^53 rows would never end"
    )]
    fn rows(&self, default: u64) -> u64 {
        let rows = (default as f64 * self.scale).round() as u64;
        // Cases make their changes in groups of up to fifty.
        (rows / 500).max(1) * 500
    }
}

/// Cases whose changes are streamed as a backlog, and whose tables are backfilled.
const CASES: [Case; 5] = [NARROW, WIDE, DOCUMENTS, SMALL, TOAST];

/// Cases that are backfilled. As tables, the others are like these.
const BACKFILLS: [&str; 3] = ["narrow", "wide", "documents"];

/// Case of a single transaction, whose result is the memory that the connector uses.
const HUGE: &str = "huge";
/// Rows of that transaction.
const HUGE_ROWS: u64 = 5_000_000;

/// Most rounds for latencies, each of which takes twenty seconds.
const LATENCY_ROUNDS: u16 = 3;

fn main() -> ExitCode {
    let Arguments {
        floor, mut options, ..
    } = Arguments::parse();
    if let Some(floor) = floor {
        return match floor.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{floor:?}: {error:?}");
                ExitCode::FAILURE
            }
        };
    }
    if options.short {
        options.rounds = 1;
        options.scale = 0.001;
        options.seconds = 1;
    }
    let results = measure_all(&options);
    results::save(
        &options.output,
        "results.json",
        &format!("{:#}\n", results.to_json()),
    );
    results::save(&options.output, "results.md", &results.to_markdown());
    let plot = options.output.join("results.svg");
    plot::draw(&results, &plot).expect("the plot can be drawn");
    println!("{}", plot.display());
    ExitCode::SUCCESS
}

fn measure_all(options: &Options) -> Results {
    let mut results = Results {
        has_targets: !options.short,
        ..Results::default()
    };
    for version in &options.versions {
        let server = stage::server(Version(*version));
        let mut client = server.connect("postgres");
        let number = postgres::value(&mut client, "show server_version");
        results.servers.push(format!("PostgreSQL {number}"));
        results.date = postgres::value(&mut client, "select current_date");
        for case in CASES {
            measure(&server, case, options, &mut results);
        }
        if options.wants_huge() {
            measure_huge(&server, options, &mut results);
        }
        if options.wants("latency") {
            let time = Duration::from_secs(options.seconds);
            let table = LatencyTable {
                version: *version,
                rows: latency::compare(&server, time, options.rounds.min(LATENCY_ROUNDS)),
                has_targets: results.has_targets,
            };
            print!("{table}");
            results.latencies.push(table);
        }
        drop(client);
        drop(server);
        measure_tls(Version(*version), options, &mut results);
    }
    results
}

/// Measures a case as a stream and as a backfill, as far as the options ask for them.
fn measure(server: &Server, case: Case, options: &Options, results: &mut Results) {
    let stream = format!("stream-{}", case.name);
    let backfill = format!("backfill-{}", case.name);
    let wants_stream = options.wants(&stream);
    let wants_backfill = BACKFILLS.contains(&case.name) && options.wants(&backfill);
    if !wants_stream && !wants_backfill {
        return;
    }
    let mut stage = Stage::prepare(server, case, options.rows(case.default_rows));
    if wants_stream {
        let series = rounds::compare(&mut stage, &backlog::readers(), options.rounds);
        results.add(stream, stage.rows, server, series);
    }
    if wants_backfill {
        stage.drop_slot(stage::TEMPLATE_SLOT);
        let readers = backfill::readers(&stage, options.connections);
        let series = rounds::compare(&mut stage, &readers, options.rounds);
        results.add(backfill, stage.table_rows, server, series);
    }
    stage.remove();
}

/// Measures the cost of encryption, with a server of its own.
fn measure_tls(version: Version, options: &Options, results: &mut Results) {
    let stream = format!("{}stream-{}", tls::PREFIX, NARROW.name);
    let backfill = format!("{}backfill-{}", tls::PREFIX, NARROW.name);
    let wants_stream = options.wants_tls(&stream);
    let wants_backfill = options.wants_tls(&backfill);
    if !wants_stream && !wants_backfill {
        return;
    }
    let server = stage::server_with_tls(version);
    let mut stage = Stage::prepare(&server, NARROW, options.rows(NARROW.default_rows));
    if wants_stream {
        let series = rounds::compare(&mut stage, &tls::backlog_readers(), options.rounds);
        results.add(stream, stage.rows, &server, series);
    }
    if wants_backfill {
        stage.drop_slot(stage::TEMPLATE_SLOT);
        let series = rounds::compare(&mut stage, &tls::backfill_readers(), options.rounds);
        results.add(backfill, stage.table_rows, &server, series);
    }
}

/// Measures the memory that one very large transaction takes.
fn measure_huge(server: &Server, options: &Options, results: &mut Results) {
    let mut stage = Stage::prepare(server, NARROW, options.rows(HUGE_ROWS));
    let readers = backlog::readers();
    let series = rounds::compare(&mut stage, &readers[..1], 1);
    results.add(HUGE.to_owned(), stage.rows, server, series);
    stage.remove();
}
