//! Results as an SVG picture: a row for each case, a column for each version.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::report::{Comparison, LatencyTable};
use crate::results::Results;
use crate::rounds::Spread;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Width of the column of a version.
const WIDTH: u32 = 760;
/// Height of a title with its margin.
const TITLE: i32 = 34;
/// Height of a bar with its margin.
const BAR: i32 = 22;
/// Horizontal position at which bars begin.
const LEFT: i32 = 310;
/// Length of the longest bar.
const LENGTH: f64 = 330.0;

/// A bar for the median, with a line from the least to the greatest value.
struct Bar {
    label: String,
    spread: Spread,
}

/// Bars that are compared with each other.
struct Panel {
    title: String,
    bars: Vec<Bar>,
}

/// Draws all results into an SVG file.
pub(crate) fn draw(results: &Results, path: &Path) -> Drawn {
    let mut versions: Vec<u32> = results
        .comparisons
        .iter()
        .map(|comparison| comparison.version)
        .chain(results.latencies.iter().map(|table| table.version))
        .collect();
    versions.sort_unstable();
    versions.dedup();
    let columns: Vec<Vec<Panel>> = versions
        .iter()
        .map(|version| panels(results, *version))
        .collect();
    let height = columns.iter().map(|column| height(column)).max();
    let height = u32::try_from(height.unwrap_or(TITLE))?;
    let width = WIDTH * u32::try_from(columns.len().max(1))?;
    let root = SVGBackend::new(path, (width, height)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, column) in root
        .split_evenly((1, columns.len().max(1)))
        .iter()
        .zip(&columns)
    {
        let mut top = 0;
        for panel in column {
            draw_panel(area, panel, top)?;
            top += panel_height(panel);
        }
    }
    root.present()?;
    Ok(())
}

fn panels(results: &Results, version: u32) -> Vec<Panel> {
    let walls = |comparison: &Comparison| Panel {
        title: format!(
            "{}, {} rows, PostgreSQL {version}: seconds",
            comparison.name, comparison.rows
        ),
        bars: comparison
            .series
            .iter()
            .map(|series| Bar {
                label: series.reader.clone(),
                spread: series.wall(),
            })
            .collect(),
    };
    let latencies = |table: &LatencyTable| Panel {
        title: format!("latency, PostgreSQL {version}: milliseconds"),
        bars: table
            .rows
            .iter()
            .flat_map(|latencies| {
                let bar = |name: &str, spread| Bar {
                    label: format!("{}, {}/s, {name}", latencies.reader, latencies.rate),
                    spread,
                };
                [
                    bar("p50", latencies.spread(|run| run.p50)),
                    bar("p99", latencies.spread(|run| run.p99)),
                ]
            })
            .collect(),
    };
    let comparisons = results.comparisons.iter();
    let tables = results.latencies.iter();
    comparisons
        .filter(|comparison| comparison.version == version)
        .map(walls)
        .chain(
            tables
                .filter(|table| table.version == version)
                .map(latencies),
        )
        .collect()
}

fn panel_height(panel: &Panel) -> i32 {
    TITLE + BAR * i32::try_from(panel.bars.len()).unwrap_or(i32::MAX / 2 / BAR)
}

fn height(panels: &[Panel]) -> i32 {
    panels.iter().map(panel_height).sum::<i32>() + TITLE / 2
}

fn draw_panel(area: &Area<'_>, panel: &Panel, top: i32) -> Drawn {
    let longest = panel
        .bars
        .iter()
        .map(|bar| bar.spread.greatest)
        .fold(f64::MIN_POSITIVE, f64::max);
    let position = |value: f64| LEFT + pixels(value / longest * LENGTH);
    let title = ("sans-serif", 15).into_font().style(FontStyle::Bold);
    area.draw(&Text::new(panel.title.clone(), (10, top + 12), title))?;
    let mut y = top + TITLE;
    for bar in &panel.bars {
        let Bar { label, spread } = bar;
        let colour = if label.starts_with("connector") {
            RGBColor(46, 116, 181)
        } else {
            RGBColor(150, 150, 150)
        };
        let text = ("sans-serif", 13).into_font();
        area.draw(&Text::new(label.clone(), (20, y + 1), text.clone()))?;
        area.draw(&Rectangle::new(
            [(LEFT, y), (position(spread.median), y + BAR - 8)],
            colour.filled(),
        ))?;
        let middle = y + (BAR - 8) / 2;
        area.draw(&PathElement::new(
            vec![
                (position(spread.least), middle),
                (position(spread.greatest), middle),
            ],
            BLACK,
        ))?;
        let figure = format!("{:.3}", spread.median);
        let beside = (position(spread.greatest) + 8, y + 1);
        area.draw(&Text::new(figure, beside, text))?;
        y += BAR;
    }
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "no bar is longer than LENGTH"
)]
fn pixels(length: f64) -> i32 {
    length.round() as i32
}
