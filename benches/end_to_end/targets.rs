//! Targets for the figures: ratios to other readers in the same run, and memory.

use std::fmt;

use crate::latency::{self, Latencies, Latency};
use crate::report::Comparison;
use crate::rounds::{Series, cpu, wall, wall_of_rows};
use crate::{backfill, backlog};

/// A figure and its upper limit.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) limit: f64,
}

impl Target {
    fn new(name: impl Into<String>, value: f64, limit: f64) -> Self {
        Self {
            name: name.into(),
            value,
            limit,
        }
    }

    pub(crate) fn is_met(&self) -> bool {
        self.value <= self.limit
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, limit } = self;
        let verdict = if self.is_met() { "met" } else { "NOT MET" };
        write!(f, "{name}: {value:.3}, at most {limit}: {verdict}")
    }
}

/// Most memory that the connector may use, in MiB, for any backlog or table.
const MEMORY: f64 = 64.0;
/// Most memory for one transaction of five million rows, in MiB.
const HUGE_MEMORY: f64 = 192.0;

/// Returns the targets of a comparison.
pub(crate) fn of(comparison: &Comparison) -> Vec<Target> {
    let mut targets = Vec::new();
    if comparison.name.starts_with("stream-") {
        of_backlog(comparison, &mut targets);
    } else if comparison.name.starts_with("backfill-") {
        of_backfill(comparison, &mut targets);
    }
    let limit = if comparison.name == "huge" {
        HUGE_MEMORY
    } else {
        MEMORY
    };
    let connectors = comparison
        .series
        .iter()
        .filter(|series| series.reader.starts_with("connector"));
    let peak = connectors.map(Series::peak_memory).fold(0.0, f64::max);
    targets.push(Target::new("peak RSS in MiB", peak, limit));
    targets
}

fn of_backlog(comparison: &Comparison, targets: &mut Vec<Target>) {
    let [Some(own), Some(json), Some(drain), Some(recvlogical)] = [
        backlog::PROTOBUF,
        backlog::JSON,
        backlog::DRAIN,
        backlog::RECVLOGICAL,
    ]
    .map(|reader| comparison.reader(reader)) else {
        return;
    };
    // Limits of the ratios to pg_recvlogical.
    let (wall_limit, cpu_limit) = match comparison.name.as_str() {
        "stream-narrow" => (0.45, 0.2),
        "stream-small" => (0.8, 0.4),
        _ => (0.45, 0.35),
    };
    targets.push(Target::new("wall of drain", own.ratio(drain, wall), 1.15));
    // There is no target for updates with large values.
    if comparison.name != "stream-toast" {
        let ratio = own.ratio(recvlogical, wall);
        targets.push(Target::new("wall of pg_recvlogical", ratio, wall_limit));
        let ratio = own.ratio(recvlogical, cpu);
        targets.push(Target::new("CPU of pg_recvlogical", ratio, cpu_limit));
    }
    let ratio = json.ratio(own, wall);
    targets.push(Target::new("JSON, wall of protobuf", ratio, 1.10));
}

fn of_backfill(comparison: &Comparison, targets: &mut Vec<Target>) {
    let Some(own) = comparison.reader(backfill::DEFAULT) else {
        return;
    };
    let mut against = |name: &str, other: &str, limit| {
        if let Some(other) = comparison.reader(other) {
            targets.push(Target::new(name, own.ratio(other, wall), limit));
        }
    };
    against("wall of COPY", backfill::COPY, 1.3);
    against("wall of 50000 rows a chunk", backfill::LARGE, 1.10);
    for reader in [backfill::DEFAULT, backfill::LARGE] {
        let delayed = backfill::delayed(reader, backfill::ROUND_TRIP);
        let [Some(direct), Some(delayed)] = [reader, &delayed].map(|name| comparison.reader(name))
        else {
            continue;
        };
        let name = format!("{}, wall of the same without", delayed.reader);
        targets.push(Target::new(
            name.as_str(),
            delayed.ratio(direct, wall),
            1.25,
        ));
        // A fixed number of round trips comes before the first row.
        let name = format!("{name}, from the first row on");
        targets.push(Target::new(name, delayed.ratio(direct, wall_of_rows), 1.25));
    }
    let several = |series: &&Series| series.reader.ends_with("connections");
    for series in comparison.series.iter().filter(several) {
        let name = format!("{}, wall of one", series.reader);
        targets.push(Target::new(name, series.ratio(own, wall), 0.9));
    }
}

/// Returns the targets of the latencies at one rate.
pub(crate) fn of_latencies(readers: &[Latencies]) -> Vec<Target> {
    let mut targets = Vec::new();
    let Some((connector, floors)) = readers.split_first() else {
        return targets;
    };
    for floor in floors {
        let ratio = |member: fn(&Latency) -> f64| {
            connector.spread(member).median / floor.spread(member).median
        };
        let mut target = |name, ratio| {
            let name = format!("{name} of {}", floor.reader);
            targets.push(Target::new(name, ratio, 1.3));
        };
        target("p50", ratio(|run| run.p50));
        target("p99", ratio(|run| run.p99));
    }
    if connector.rate == latency::BUSY {
        let percent = connector.spread(|run| run.cpu).median * 100.0;
        targets.push(Target::new("% of a CPU", percent, 5.0));
    }
    targets
}
