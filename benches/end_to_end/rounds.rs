//! Runs of several readers of the same rows, in an order that rotates from round to round.

use std::fmt;
use std::time::Duration;

use crate::process::Usage;

/// Purpose of a run: its output is checked, or it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    Checked,
    Measured,
}

type Run<'a, S> = dyn Fn(&mut S, Pass) -> Usage + 'a;

/// A reader that is compared with others.
pub(crate) struct Reader<'a, S> {
    pub(crate) name: String,
    run: Box<Run<'a, S>>,
}

impl<S> fmt::Debug for Reader<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<'a, S> Reader<'a, S> {
    pub(crate) fn new(name: &str, run: impl Fn(&mut S, Pass) -> Usage + 'a) -> Self {
        Self {
            name: name.to_owned(),
            run: Box::new(run),
        }
    }

    /// Runs the reader once.
    pub(crate) fn run(&self, stage: &mut S, pass: Pass) -> Usage {
        (self.run)(stage, pass)
    }
}

/// Time and memory that a reader has used, round by round.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) reader: String,
    pub(crate) usages: Vec<Usage>,
}

/// Runs every reader once with its output checked, and then a number of measured rounds.
pub(crate) fn compare<S>(stage: &mut S, readers: &[Reader<'_, S>], rounds: u16) -> Vec<Series> {
    for reader in readers {
        reader.run(stage, Pass::Checked);
        eprintln!("  {}: checked", reader.name);
    }
    let mut series: Vec<_> = readers
        .iter()
        .map(|reader| Series {
            reader: reader.name.clone(),
            usages: Vec::new(),
        })
        .collect();
    for round in 0..rounds {
        for turn in 0..readers.len() {
            let index = (usize::from(round) + turn) % readers.len();
            let usage = readers[index].run(stage, Pass::Measured);
            let (wall, cpu) = (wall(&usage), cpu(&usage));
            eprintln!("  {}: {wall:.3} s, CPU {cpu:.3} s", readers[index].name);
            series[index].usages.push(usage);
        }
    }
    series
}

/// Median, least and greatest of several numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

impl Spread {
    /// Returns the spread of numbers; panics if there are none.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let half = numbers.len() / 2;
        let median = if numbers.len().is_multiple_of(2) {
            f64::midpoint(numbers[half - 1], numbers[half])
        } else {
            numbers[half]
        };
        Self {
            median,
            least: numbers[0],
            greatest: numbers[numbers.len() - 1],
        }
    }
}

impl Series {
    pub(crate) fn wall(&self) -> Spread {
        Spread::of(self.usages.iter().map(wall))
    }

    pub(crate) fn cpu(&self) -> Spread {
        Spread::of(self.usages.iter().map(cpu))
    }

    /// Returns the seconds until the first row, if they are known.
    pub(crate) fn first(&self) -> Option<Spread> {
        let firsts = self.usages.iter().map(|usage| usage.first);
        let firsts: Option<Vec<_>> = firsts.collect();
        Some(Spread::of(firsts?.iter().map(Duration::as_secs_f64)))
    }

    /// Returns the ratio of a figure to that of another reader, as the median over the rounds. The
    /// runs of a round are close in time, so that other work of the machine affects both.
    pub(crate) fn ratio(&self, other: &Self, figure: impl Fn(&Usage) -> f64) -> f64 {
        let rounds = self.usages.iter().zip(&other.usages);
        Spread::of(rounds.map(|(own, other)| figure(own) / figure(other))).median
    }

    /// Returns the greatest peak of all rounds, in MiB.
    #[expect(clippy::cast_precision_loss, reason = "three digits are printed")]
    pub(crate) fn peak_memory(&self) -> f64 {
        let peaks = self.usages.iter().map(|usage| usage.peak_memory);
        peaks.max().unwrap_or_default() as f64 / f64::from(1 << 20)
    }

    /// Returns the bytes of a run, if they are known.
    pub(crate) fn bytes(&self) -> Option<u64> {
        self.usages.first().and_then(|usage| usage.bytes)
    }
}

/// Returns the seconds from start to end.
pub(crate) fn wall(usage: &Usage) -> f64 {
    usage.wall.as_secs_f64()
}

/// Returns the seconds from the first row to the end.
pub(crate) fn wall_of_rows(usage: &Usage) -> f64 {
    let first = usage.first.unwrap_or_default();
    usage.wall.saturating_sub(first).as_secs_f64()
}

/// Returns the CPU time in seconds.
pub(crate) fn cpu(usage: &Usage) -> f64 {
    usage.cpu.as_secs_f64()
}

/// Returns the number per second.
#[expect(clippy::cast_precision_loss, reason = "three digits are printed")]
pub(crate) fn rate(count: u64, time: f64) -> f64 {
    count as f64 / time.max(Duration::from_micros(1).as_secs_f64())
}
