//! Results as files: JSON with every run, and Markdown tables for `benches/README.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::backfill;
use crate::backlog;
use crate::latency::{Latency, READERS};
use crate::report::{Comparison, LatencyTable};
use crate::rounds::{Series, Spread, cpu, rate};
use crate::support::postgres::Server;
use crate::targets::{self, Target};
use crate::tls;

/// All results of a run of the benchmarks.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) latencies: Vec<LatencyTable>,
    /// Versions of the servers, as they report them.
    pub(crate) servers: Vec<String>,
    pub(crate) date: String,
    /// Whether there are enough rows to compare the figures with the targets.
    pub(crate) has_targets: bool,
}

impl Results {
    /// Adds a comparison, and prints it.
    pub(crate) fn add(&mut self, name: String, rows: u64, server: &Server, series: Vec<Series>) {
        let comparison = Comparison {
            name,
            version: server.version().0,
            rows,
            series,
            has_targets: self.has_targets,
        };
        print!("{comparison}");
        self.comparisons.push(comparison);
    }

    /// Returns every run as JSON.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "machine": machine(),
            "date": self.date,
            "servers": self.servers,
            "comparisons": self.comparisons.iter().map(comparison_json).collect::<Vec<_>>(),
            "latencies": self.latencies.iter().map(latencies_json).collect::<Vec<_>>(),
        })
    }

    /// Returns the medians as Markdown tables.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = format!(
            "Measured on {}, {}, {}. Medians; seconds unless a column says otherwise.\n",
            machine(),
            self.servers.join(" and "),
            self.date
        );
        self.backlogs(&mut text);
        self.backfills(&mut text);
        self.encryption(&mut text);
        self.latencies(&mut text);
        text
    }

    fn backlogs(&self, text: &mut String) {
        text.push_str(
            "\n| backlog | PostgreSQL | rows | wall: connector, JSON codec / drain / pg_recvlogical | \
             CPU: the same | RSS, MiB | krows/s | MB/s |\n|---|---|---|---|---|---|---|---|\n",
        );
        let names = [
            backlog::PROTOBUF,
            backlog::JSON,
            backlog::DRAIN,
            backlog::RECVLOGICAL,
        ];
        let is_backlog = |comparison: &&Comparison| {
            !["backfill-", tls::PREFIX]
                .iter()
                .any(|other| comparison.name.starts_with(other))
        };
        for comparison in self.comparisons.iter().filter(is_backlog) {
            row(text, comparison, &names);
        }
    }

    fn backfills(&self, text: &mut String) {
        text.push_str(
            "\n| backfill | PostgreSQL | rows | wall: 4096 rows a chunk, 50000 / COPY / 4096 with a \
             round trip of 20 ms | CPU: the same | RSS, MiB | krows/s | MB/s |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        let delayed = backfill::delayed(backfill::DEFAULT, backfill::ROUND_TRIP);
        let names = [backfill::DEFAULT, backfill::LARGE, backfill::COPY, &delayed];
        let is_backfill = |comparison: &&Comparison| comparison.name.starts_with("backfill-");
        for comparison in self.comparisons.iter().filter(is_backfill) {
            row(text, comparison, &names);
        }
    }

    /// Appends a line for each reader that was measured with and without TLS.
    fn encryption(&self, text: &mut String) {
        let is_encryption = |comparison: &&Comparison| comparison.name.starts_with(tls::PREFIX);
        if !self.comparisons.iter().any(|one| is_encryption(&one)) {
            return;
        }
        text.push_str(
            "\n| without TLS, with | PostgreSQL | rows | reader | wall | CPU | CPU, us a row | \
             CPU, ratio | RSS, MiB |\n|---|---|---|---|---|---|---|---|---|\n",
        );
        for comparison in self.comparisons.iter().filter(is_encryption) {
            for plain in &comparison.series {
                let Some(encrypted) = comparison.reader(&tls::encrypted(&plain.reader)) else {
                    continue;
                };
                let both = |figure: &dyn Fn(&Series) -> f64| {
                    format!("{:.2}, {:.2}", figure(plain), figure(encrypted))
                };
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} | {} | {} | {:.2} | {} |",
                    comparison.name,
                    comparison.version,
                    comparison.rows,
                    plain.reader,
                    both(&|series| series.wall().median),
                    both(&|series| series.cpu().median),
                    both(&|series| 1e6 / rate(comparison.rows, series.cpu().median)),
                    encrypted.ratio(plain, cpu),
                    both(&Series::peak_memory),
                );
            }
        }
    }

    fn latencies(&self, text: &mut String) {
        text.push_str(
            "\n| commits a second | PostgreSQL | p50, ms: connector / drain / drain to a pipe | p90 | p99 | longest | \
             CPU, % of one |\n|---|---|---|---|---|---|---|\n",
        );
        for table in &self.latencies {
            for readers in table.rows.chunks_exact(READERS.len()) {
                let all = |member: fn(&Latency) -> f64| {
                    let medians: Vec<_> = readers
                        .iter()
                        .map(|latencies| format!("{:.2}", latencies.spread(member).median))
                        .collect();
                    medians.join(" / ")
                };
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} | {} | {} |",
                    readers[0].rate,
                    table.version,
                    all(|run| run.p50),
                    all(|run| run.p90),
                    all(|run| run.p99),
                    all(|run| run.max),
                    all(|run| run.cpu * 100.0),
                );
            }
        }
    }
}

/// Writes a file into the folder for results, and prints its path.
pub(crate) fn save(folder: &Path, name: &str, content: &str) {
    fs::create_dir_all(folder).expect("the folder can be made");
    let path = folder.join(name);
    fs::write(&path, content).expect("the file can be written");
    println!("{}", path.display());
}

/// Appends a line with four readers: two of the connector, separated by a comma, and two others,
/// separated by slashes.
fn row(text: &mut String, comparison: &Comparison, names: &[&str; 4]) {
    let figures = |figure: fn(&Series) -> Spread| {
        let [own, twin, first, second] = names.map(|name| {
            comparison.reader(name).map_or_else(
                || "-".to_owned(),
                |series| format!("{:.2}", figure(series).median),
            )
        });
        format!("{own}, {twin} / {first} / {second}")
    };
    let Some(own) = comparison.reader(names[0]) else {
        return;
    };
    let wall = own.wall().median;
    let _ = writeln!(
        text,
        "| {} | {} | {} | {} | {} | {:.0} | {:.0} | {:.0} |",
        comparison.name,
        comparison.version,
        comparison.rows,
        figures(Series::wall),
        figures(Series::cpu),
        own.peak_memory(),
        rate(comparison.rows, wall) / 1e3,
        rate(own.bytes().unwrap_or_default(), wall) / 1e6,
    );
}

fn comparison_json(comparison: &Comparison) -> Value {
    let readers: Vec<_> = comparison
        .series
        .iter()
        .map(|series| {
            json!({
                "reader": series.reader,
                "wall_s": spread_json(series.wall()),
                "cpu_s": spread_json(series.cpu()),
                "first_row_s": series.first().map(spread_json),
                "peak_rss_mib": series.peak_memory(),
                "bytes": series.bytes(),
                "runs": series.usages.iter().map(|usage| json!({
                    "wall_s": usage.wall.as_secs_f64(),
                    "cpu_s": usage.cpu.as_secs_f64(),
                    "peak_rss_bytes": usage.peak_memory,
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "case": comparison.name,
        "postgresql": comparison.version,
        "rows": comparison.rows,
        "readers": readers,
        "targets": targets::of(comparison).iter().map(target_json).collect::<Vec<_>>(),
    })
}

fn latencies_json(table: &LatencyTable) -> Value {
    let readers: Vec<_> = table
        .rows
        .iter()
        .map(|latencies| {
            let spread = |member: fn(&Latency) -> f64| spread_json(latencies.spread(member));
            json!({
                "reader": latencies.reader,
                "rate": latencies.rate,
                "p50_ms": spread(|run| run.p50),
                "p90_ms": spread(|run| run.p90),
                "p99_ms": spread(|run| run.p99),
                "max_ms": spread(|run| run.max),
                "cpu": spread(|run| run.cpu),
            })
        })
        .collect();
    let targets: Vec<_> = table
        .rows
        .chunks_exact(READERS.len())
        .map(|readers| {
            let targets = targets::of_latencies(readers);
            json!({
                "rate": readers[0].rate,
                "targets": targets.iter().map(target_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({"postgresql": table.version, "readers": readers, "targets": targets})
}

fn spread_json(spread: Spread) -> Value {
    json!({"median": spread.median, "min": spread.least, "max": spread.greatest})
}

fn target_json(target: &Target) -> Value {
    json!({
        "what": target.name,
        "value": target.value,
        "limit": target.limit,
        "met": target.is_met(),
    })
}

/// Returns the model of the processor and the number of its cores.
fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("an unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model} ({cores} cores)")
}
