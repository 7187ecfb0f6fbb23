//! End-to-end benchmarks: `make bench`, or `make bench ARGS=--short` to see whether they work.
//!
//! Servers are started, tables filled, and the connector's release build reads them as Flow would
//! have it, in turns with others that read the same rows: the floors, which are the connector's own
//! way of receiving and throw away what they have received, and pg_recvlogical. Before anything is
//! measured every reader runs once with its output checked.

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
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Args)]
struct Options {
    /// What to measure, all by default: names or beginnings of names, separated by commas.
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// Versions of PostgreSQL.
    #[arg(long, value_delimiter = ',', default_value = "15")]
    versions: Vec<u32>,
    /// How many times each reader runs, beside the first time.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Reads a table over so many connections as well, with advanced.backfill_connections.
    #[arg(long)]
    connections: Option<u32>,
    /// How many rows there are, as a multiple of what a run of a few seconds takes.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// How long rows are committed for each figure of latency, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Measures a transaction of five million rows as well, and what TLS costs.
    #[arg(long)]
    full: bool,
    /// Where the results go.
    #[arg(long, default_value = "target/bench")]
    output: PathBuf,
    /// Takes a thousandth of the rows and one round, to see whether everything works.
    #[arg(long)]
    short: bool,
}

impl Options {
    /// Whether a case of this name is to be measured.
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

    /// Whether a case with and without TLS is to be measured.
    fn wants_tls(&self, name: &str) -> bool {
        if self.cases.is_empty() {
            self.full || self.short
        } else {
            self.full || self.wants(name)
        }
    }

    /// How many rows a case has.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a scale of more than 2^53 rows would not end"
    )]
    fn rows(&self, usual: u64) -> u64 {
        let rows = (usual as f64 * self.scale).round() as u64;
        // Cases make their changes in groups of up to fifty.
        (rows / 500).max(1) * 500
    }
}

/// What is read, as a backlog and as a table.
const CASES: [Case; 5] = [NARROW, WIDE, DOCUMENTS, SMALL, TOAST];

/// What is read as a table. The others look the same then.
const BACKFILLS: [&str; 3] = ["narrow", "wide", "documents"];

/// A single transaction, of which memory is what matters.
const HUGE: &str = "huge";
const HUGE_ROWS: u64 = 5_000_000;

/// Rounds of twenty seconds that are enough for latencies.
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
    let picture = options.output.join("results.svg");
    plot::draw(&results, &picture).expect("the picture can be drawn");
    println!("{}", picture.display());
    ExitCode::SUCCESS
}

fn measure_all(options: &Options) -> Results {
    let mut results = Results {
        are_judged: !options.short,
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
                is_judged: results.are_judged,
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

/// Measures a case in both ways, as far as they are wanted.
fn measure(server: &Server, case: Case, options: &Options, results: &mut Results) {
    let stream = format!("stream-{}", case.name);
    let backfill = format!("backfill-{}", case.name);
    let wants_stream = options.wants(&stream);
    let wants_backfill = BACKFILLS.contains(&case.name) && options.wants(&backfill);
    if !wants_stream && !wants_backfill {
        return;
    }
    let mut stage = Stage::set(server, case, options.rows(case.usual));
    if wants_stream {
        let series = rounds::compare(&mut stage, &backlog::readers(), options.rounds);
        results.add(stream, stage.rows, server, series);
    }
    if wants_backfill {
        stage.drop_slot(stage::ORIGINAL);
        let readers = backfill::readers(&stage, options.connections);
        let series = rounds::compare(&mut stage, &readers, options.rounds);
        results.add(backfill, stage.table_rows, server, series);
    }
    stage.strike();
}

/// Measures what encryption costs, with a server of its own.
fn measure_tls(version: Version, options: &Options, results: &mut Results) {
    let stream = format!("{}stream-{}", tls::CASES, NARROW.name);
    let backfill = format!("{}backfill-{}", tls::CASES, NARROW.name);
    let wants_stream = options.wants_tls(&stream);
    let wants_backfill = options.wants_tls(&backfill);
    if !wants_stream && !wants_backfill {
        return;
    }
    let server = stage::server_with_tls(version);
    let mut stage = Stage::set(&server, NARROW, options.rows(NARROW.usual));
    if wants_stream {
        let series = rounds::compare(&mut stage, &tls::of_backlog(), options.rounds);
        results.add(stream, stage.rows, &server, series);
    }
    if wants_backfill {
        stage.drop_slot(stage::ORIGINAL);
        let series = rounds::compare(&mut stage, &tls::of_backfill(), options.rounds);
        results.add(backfill, stage.table_rows, &server, series);
    }
}

/// Measures what memory one very large transaction takes.
fn measure_huge(server: &Server, options: &Options, results: &mut Results) {
    let mut stage = Stage::set(server, NARROW, options.rows(HUGE_ROWS));
    let readers = backlog::readers();
    let series = rounds::compare(&mut stage, &readers[..1], 1);
    results.add(HUGE.to_owned(), stage.rows, server, series);
    stage.strike();
}
