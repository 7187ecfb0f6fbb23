//! Results as tables on the terminal.

use std::fmt;

use crate::latency::{Latencies, READERS};
use crate::rounds::{Series, Spread, cpu, rate, wall};
use crate::targets;
use crate::{backfill, backlog, tls};

/// Results of several readers of the same rows.
#[derive(Debug, Clone)]
pub(crate) struct Comparison {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) rows: u64,
    pub(crate) series: Vec<Series>,
    /// Whether there are enough rows to compare the figures with the targets.
    pub(crate) has_targets: bool,
}

impl Comparison {
    /// Returns the results of a reader, if it was measured.
    pub(crate) fn reader(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.reader == name)
    }

    /// Returns the readers to which ratios are printed.
    fn others(&self) -> Vec<&Series> {
        let names: &[&str] = match self.name.strip_prefix(tls::PREFIX) {
            Some(name) if name.starts_with("backfill") => &[backfill::DEFAULT, backfill::COPY],
            Some(_) => &[backlog::PROTOBUF, backlog::DRAIN, backlog::RECVLOGICAL],
            None if self.name.starts_with("backfill") => &[backfill::COPY, backfill::DEFAULT],
            None => &[backlog::DRAIN, backlog::RECVLOGICAL],
        };
        names.iter().filter_map(|name| self.reader(name)).collect()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            version,
            rows,
            ..
        } = self;
        writeln!(f, "\n{name}: {rows} rows, PostgreSQL {version}")?;
        write!(
            f,
            "  {:<47}{:<25}{:<25}{:>10}{:>9}{:>9}{:>7}",
            "",
            "wall, s (min - max)",
            "CPU, s (min - max)",
            "1st row, s",
            "RSS, MiB",
            "krows/s",
            "MB/s"
        )?;
        for other in self.others() {
            write!(f, "  of {}: wall, CPU", other.reader)?;
        }
        writeln!(f)?;
        for series in &self.series {
            let speed = series.bytes().map_or_else(
                || "-".to_owned(),
                |bytes| format!("{:.0}", rate(bytes, series.wall().median) / 1e6),
            );
            let first = series
                .first()
                .map_or_else(|| "-".to_owned(), |first| format!("{:.3}", first.median));
            write!(
                f,
                "  {:<47}{:<25}{:<25}{first:>10}{:>9.1}{:>9.0}{speed:>7}",
                series.reader,
                with_spread(series.wall()),
                with_spread(series.cpu()),
                series.peak_memory(),
                rate(*rows, series.wall().median) / 1e3,
            )?;
            for other in self.others() {
                let (wall, cpu) = (series.ratio(other, wall), series.ratio(other, cpu));
                let width = "  of : wall, CPU".len() + other.reader.len();
                write!(f, "{:>width$}", format!("{wall:.2}, {cpu:.2}"))?;
            }
            writeln!(f)?;
        }
        if !self.has_targets {
            return Ok(());
        }
        for target in targets::of(self) {
            writeln!(f, "  - {target}")?;
        }
        Ok(())
    }
}

/// Latencies of several readers at the same rates.
#[derive(Debug, Clone)]
pub(crate) struct LatencyTable {
    pub(crate) version: u32,
    /// The readers at one rate, then at the next.
    pub(crate) rows: Vec<Latencies>,
    pub(crate) has_targets: bool,
}

impl fmt::Display for LatencyTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version;
        writeln!(
            f,
            "\nlatency: ms from commit to output, PostgreSQL {version}"
        )?;
        writeln!(
            f,
            "  {:<23}{:>8}  {:<25}{:<25}{:<25}{:<25}% of a CPU",
            "", "rows/s", "p50 (min - max)", "p90", "p99", "longest"
        )?;
        for latencies in &self.rows {
            writeln!(
                f,
                "  {:<23}{:>8}  {:<25}{:<25}{:<25}{:<25}{}",
                latencies.reader,
                latencies.rate,
                with_spread(latencies.spread(|run| run.p50)),
                with_spread(latencies.spread(|run| run.p90)),
                with_spread(latencies.spread(|run| run.p99)),
                with_spread(latencies.spread(|run| run.max)),
                with_spread(latencies.spread(|run| run.cpu * 100.0)),
            )?;
        }
        if !self.has_targets {
            return Ok(());
        }
        for readers in self.rows.chunks_exact(READERS.len()) {
            for target in targets::of_latencies(readers) {
                writeln!(f, "  - at {} rows/s, {target}", readers[0].rate)?;
            }
        }
        Ok(())
    }
}

fn with_spread(spread: Spread) -> String {
    let Spread {
        median,
        least,
        greatest,
    } = spread;
    format!("{median:.3} ({least:.3} - {greatest:.3})")
}
