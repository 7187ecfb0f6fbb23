//! Positions and windows of a scan by physical position.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// Physical position of a scan: rows at or before it were read. Its text is that of a tid,
/// `(block,offset)`, also in the stored state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// Block number.
    pub block: u32,
    /// Row number within the block, from 1; 0 is before the first row.
    pub offset: u16,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({},{})", self.block, self.offset)
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.strip_prefix('(')
            .and_then(|inner| inner.strip_suffix(')'))
            .and_then(|inner| inner.split_once(','))
            .and_then(|(block, offset)| {
                Some(Self {
                    block: block.parse().ok()?,
                    offset: offset.parse().ok()?,
                })
            })
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::State,
                    "the position of a keyless backfill in the state does not have the form \
                     (block,offset)",
                )
            })
    }
}

/// Part of a table that one chunk of a scan by physical position reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Position after which the window begins.
    pub after: Position,
    /// Last position of the window.
    pub until: Position,
}

/// Number of rows of a page that is assumed for the size of a window.
const ROWS_PER_PAGE: u32 = 100;

/// Limit of the pages of a window: statements for servers before version 14 list each position in
/// it.
const MAX_PAGES: u32 = 10_000;

impl Window {
    /// Returns the window after a position. It has about `chunk_size` rows in all partitions
    /// together, each of which has its own page numbers; `partitions` is zero for a table that is
    /// not partitioned.
    pub fn starting_after(after: Position, chunk_size: u32, partitions: u32) -> Self {
        let pages =
            (chunk_size / ROWS_PER_PAGE / (partitions.saturating_add(1)) + 1).min(MAX_PAGES);
        let until = Position {
            block: after.block.saturating_add(pages),
            offset: 0,
        };
        Self { after, until }
    }

    /// Returns the window with at most its first `pages` pages.
    #[must_use]
    pub fn limited_to(self, pages: u32) -> Self {
        let block = self.until.block.min(self.after.block.saturating_add(pages));
        let until = Position { block, offset: 0 };
        Self { until, ..self }
    }

    /// Returns half the number of pages, if the window has more than one.
    pub fn half_pages(&self) -> Option<u32> {
        let half = self.until.block.saturating_sub(self.after.block) / 2;
        (half > 0).then_some(half)
    }

    /// Returns whether the window reaches the end of a table with `pages` pages. A twentieth is
    /// added for pages that are appended during the scan.
    pub fn reaches_end(&self, pages: u64) -> bool {
        u64::from(self.until.block) >= (pages * 105).div_ceil(100) || self.until.block == u32::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_printed_and_parsed_as_tids() {
        let position = Position {
            block: 501,
            offset: 3,
        };
        assert_eq!(position.to_string(), "(501,3)");
        assert_eq!("(501,3)".parse::<Position>().unwrap(), position);
        for text in ["", "501,3", "(1)", "(1,2,3)", "(-1,0)", "(1,99999)"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn consecutive_windows_reach_the_end_of_the_table() {
        let window = Window::starting_after(Position::default(), 50_000, 0);
        assert_eq!(
            window.until,
            Position {
                block: 501,
                offset: 0
            }
        );
        assert_eq!(Window::starting_after(window.until, 1, 2).until.block, 502);
        assert!(window.reaches_end(0));
        assert!(window.reaches_end(477));
        assert!(!window.reaches_end(478));
    }
}
