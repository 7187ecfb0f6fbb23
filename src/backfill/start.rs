//! The start of a span: its snapshot, and the answers up to the rows.

use protocol::{DataRow, Lsn};

use super::snapshot::Snapshot;
use super::snapshot_query::{parse_lsn, parse_snapshot};
use crate::error::Result;

/// Answer of the statement that takes the snapshot of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkStart {
    /// Snapshot that decides which transactions the rows contain.
    pub snapshot: Snapshot,
    /// End of the log when the snapshot was taken. Every transaction that the rows contain has
    /// committed before it, so once the stream has passed it, the rows contain no later change.
    pub fence: Lsn,
    /// Position up to which the log was flushed then. The stream does not pass it.
    pub flushed: Lsn,
    /// Value of the expression for the columns of the table.
    pub columns: String,
}

/// Reader of the answers before the rows of a span.
#[derive(Debug)]
pub(super) struct StartReader {
    is_standby: bool,
    /// Replay position of a standby, once it was received.
    replay_position: Option<Lsn>,
    /// Answer of the snapshot statement, once it was received.
    start: Option<ChunkStart>,
    /// Number of statements from that of the snapshot to the rows that are not complete yet.
    incomplete: u32,
    /// Last key of the span, if it was requested and there is one.
    last_key: Option<Vec<Option<String>>>,
}

impl StartReader {
    /// Starts before the first answer. Between the snapshot statement and the rows there is one
    /// statement, and that for the last key if it is requested.
    pub(super) fn new(is_standby: bool, has_last_key: bool) -> Self {
        Self {
            is_standby,
            replay_position: None,
            start: None,
            incomplete: 2 + u32::from(has_last_key),
            last_key: None,
        }
    }

    /// Handles a row.
    ///
    /// # Errors
    ///
    /// Fails if the server breaks the protocol.
    pub(super) fn handle_row(&mut self, row: &DataRow<'_>) -> Result<()> {
        let mut texts = row
            .iter()
            .map(|value| value.and_then(|bytes| std::str::from_utf8(bytes).ok()));
        if self.is_standby && self.replay_position.is_none() {
            self.replay_position = Some(parse_lsn(texts.next().flatten())?);
        } else if self.start.is_none() {
            let mut next = || texts.next().flatten();
            self.start = Some(ChunkStart {
                snapshot: parse_snapshot(self.replay_position, next())?,
                fence: parse_lsn(next())?,
                flushed: parse_lsn(next())?,
                columns: next().unwrap_or_default().to_owned(),
            });
        } else {
            self.last_key = Some(texts.map(|text| text.map(str::to_owned)).collect());
        }
        Ok(())
    }

    /// Handles the end of a statement. Returns the start after the last statement before the rows.
    pub(super) fn handle_complete(&mut self) -> Option<ChunkStart> {
        if self.start.is_some() {
            self.incomplete = self.incomplete.saturating_sub(1);
        }
        if self.incomplete == 0 {
            return self.start.take();
        }
        None
    }

    /// Takes the texts of the last key; `None` if the span has fewer rows than were requested.
    pub(super) fn take_last_key(&mut self) -> Option<Vec<Option<String>>> {
        self.last_key.take()
    }
}
