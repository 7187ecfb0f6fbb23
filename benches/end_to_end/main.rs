//! End-to-end benchmarks: `make bench`, or `make bench SHORT=1` to see whether they work.
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
mod process;
mod proxy;
mod report;
mod rounds;
mod stage;
#[path = "../../tests/support/mod.rs"]
#[expect(unused, reason = "the tests use all of it")]
mod support;

use std::process::ExitCode;

use clap::{Args, Parser};

use cases::{Case, DOCUMENTS, NARROW, SMALL, TOAST, WIDE};
use floor::Floor;
use report::Comparison;
use stage::Stage;
use support::postgres::{Server, Version};

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
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Reads a table over so many connections as well, with advanced.backfill_connections.
    #[arg(long)]
    connections: Option<u32>,
    /// How many rows there are, as a multiple of what a run of a few seconds takes.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
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
    }
    for version in &options.versions {
        let server = stage::server(Version(*version));
        for case in CASES {
            measure(&server, case, &options);
        }
    }
    ExitCode::SUCCESS
}

/// Measures a case in both ways, as far as they are wanted.
fn measure(server: &Server, case: Case, options: &Options) {
    let stream = format!("stream-{}", case.name);
    let backfill = format!("backfill-{}", case.name);
    let wants_stream = options.wants(&stream);
    let wants_backfill = BACKFILLS.contains(&case.name) && options.wants(&backfill);
    if !wants_stream && !wants_backfill {
        return;
    }
    let mut stage = Stage::set(server, case, options.rows(case.usual));
    let report = |name, rows, series| {
        let comparison = Comparison {
            name,
            version: server.version().0,
            rows,
            series,
        };
        print!("{comparison}");
    };
    if wants_stream {
        let series = rounds::compare(&mut stage, &backlog::readers(), options.rounds);
        report(stream, stage.rows, series);
    }
    if wants_backfill {
        stage.drop_slot(stage::ORIGINAL);
        let readers = backfill::readers(&stage, options.connections);
        let series = rounds::compare(&mut stage, &readers, options.rounds);
        report(backfill, stage.table_rows, series);
    }
    stage.strike();
}
