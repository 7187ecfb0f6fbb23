//! What came out, for people to read.

use std::fmt;

use crate::rounds::{Series, rate};

/// Readers of the same rows beside each other.
#[derive(Debug, Clone)]
pub(crate) struct Comparison {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) rows: u64,
    pub(crate) series: Vec<Series>,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            version,
            rows,
            ..
        } = self;
        writeln!(f, "\n{name}, {rows} rows, PostgreSQL {version}")?;
        writeln!(
            f,
            "  {:<34} {:>24} {:>24} {:>8} {:>10} {:>8}",
            "", "wall s (min - max)", "CPU s (min - max)", "RSS MiB", "krows/s", "MB/s"
        )?;
        for series in &self.series {
            let (wall, cpu) = (series.wall(), series.cpu());
            let speed = series.bytes().map_or_else(String::new, |bytes| {
                format!("{:.0}", rate(bytes, wall.median) / 1e6)
            });
            writeln!(
                f,
                "  {:<34} {:>8.3} ({:.3} - {:.3}) {:>8.3} ({:.3} - {:.3}) {:>8.1} {:>10.0} {:>8}",
                series.reader,
                wall.median,
                wall.least,
                wall.greatest,
                cpu.median,
                cpu.least,
                cpu.greatest,
                series.peak_memory(),
                rate(*rows, wall.median) / 1e3,
                speed
            )?;
        }
        Ok(())
    }
}
