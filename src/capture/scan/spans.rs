//! The spans that are open.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::chunk_reader::ChunkReader;
use super::connections::SpanConnections;
use crate::backfill::ExtraColumns;
use crate::capture::table::{TableIndex, UnseenCommits};
use crate::client::Client;
use crate::error::Result;
use crate::net::ConnectConfig;
use crate::record::RowKey;

/// Half of the time for which the first rows of a span are awaited after one span was given up
/// without any; it doubles with each further one.
const FIRST_ROWS_TIMEOUT: Duration = Duration::from_millis(125);
/// Limit of that time.
const MAX_FIRST_ROWS_TIMEOUT: Duration = Duration::from_secs(60);

/// Time after which a span is requested again whose snapshot came too early.
const TOO_EARLY_PAUSE: Duration = Duration::from_secs(1);

/// The spans that are open, and the connections for more.
#[derive(Debug, Default)]
pub(in crate::capture) struct Spans {
    /// Open spans, in the order in which they are emitted.
    pub(super) open: VecDeque<Span>,
    pub(super) connections: SpanConnections,
    /// Number of the last span.
    last_number: u64,
    /// Number of spans in succession that were given up for deferred changes before they had
    /// emitted anything.
    fruitless: u32,
    /// Time at which a span after the first was given up because its snapshot came too early or not
    /// at all.
    too_early: Option<Instant>,
}

/// A span that was requested.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) number: u64,
    pub(super) table: TableIndex,
    pub(super) client: Client,
    pub(super) chunks: ChunkReader,
    /// Time of the request.
    pub(super) requested: Instant,
    /// Commits of the table that were unseen at the request: the snapshot has to contain them.
    pub(super) awaited: UnseenCommits,
    /// Limit of the chunks.
    pub(super) max_chunks: u32,
    /// Whether the stream has passed everything that the snapshot can contain.
    pub(super) is_fence_passed: bool,
    /// Whether the last key was requested, so that the next span can begin after it.
    pub(super) is_range: bool,
    pub(super) end: SpanEnd,
}

/// End of a span.
#[derive(Debug)]
pub(super) enum SpanEnd {
    /// After a number of chunks.
    Unknown,
    /// With the row of this key.
    Key(RowKey),
    /// With the table.
    Table,
}

impl Span {
    /// Returns whether rows have arrived, or none will.
    pub(super) fn has_rows(&mut self) -> bool {
        self.client.connection().has_event() || self.chunks.reader.is_exhausted()
    }

    /// Returns whether no chunk follows.
    pub(super) fn is_over(&self) -> bool {
        let chunks = &self.chunks;
        let is_late = Instant::now() >= chunks.deadline;
        chunks.progress.chunks >= self.max_chunks
            || chunks.reader.is_exhausted()
            // The rows that were requested would not end with a chunk.
            || chunks.extra_columns == ExtraColumns::Count && is_late
    }
}

impl Spans {
    /// Returns the number of a new span.
    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Returns whether the first span has emitted a chunk, or a part of one.
    pub(in crate::capture) fn have_emitted(&self) -> bool {
        let first = self.open.front();
        first.is_some_and(|span| span.chunks.progress.has_emitted)
    }

    /// Notes that a span has emitted rows.
    pub(super) fn note_emitted(&mut self) {
        self.fruitless = 0;
    }

    /// Notes that a span after the first was given up because its snapshot came too early or not at
    /// all.
    pub(super) fn note_too_early(&mut self) {
        self.too_early = Some(Instant::now());
    }

    /// Returns whether another span may be requested after an open one.
    pub(super) fn may_request_after(&self) -> bool {
        self.too_early
            .is_none_or(|then| then.elapsed() >= TOO_EARLY_PAUSE)
    }

    /// Notes that a span was given up for deferred changes before it had emitted anything.
    pub(super) fn note_fruitless(&mut self) {
        self.fruitless += 1;
    }

    /// Returns the time for which the first rows of a span are awaited before the stream is read
    /// on.
    pub(super) fn first_rows_timeout(&self) -> Duration {
        match self.fruitless {
            0 => Duration::ZERO,
            times => (FIRST_ROWS_TIMEOUT * 2u32.saturating_pow(times.min(16)))
                .min(MAX_FIRST_ROWS_TIMEOUT),
        }
    }

    /// Returns a connection for another span; `None` where the server has no more.
    pub(super) async fn connection(&mut self, connect: &ConnectConfig) -> Result<Option<Client>> {
        self.connections.take(connect, self.open.len()).await
    }

    /// Makes connections ahead, once the stream has its own.
    pub(in crate::capture) fn connect_ahead(
        &mut self,
        connect: &ConnectConfig,
        allowed: u32,
        stream_connected: &watch::Receiver<()>,
    ) {
        self.connections
            .connect_ahead(connect, allowed, stream_connected);
    }

    /// Ends the transactions of all spans, so that their locks are released.
    pub(in crate::capture) async fn release(&mut self) {
        self.release_after(0).await;
    }

    /// Ends the transactions of all spans except the first `remaining`.
    pub(super) async fn release_after(&mut self, remaining: usize) {
        for span in self.open.drain(remaining.min(self.open.len())..) {
            let Span { client, chunks, .. } = span;
            self.connections.put_back_ended(client, chunks.reader).await;
        }
    }

    /// Lets the server end the transactions that have lasted for their time, after the rows that
    /// were requested.
    pub(in crate::capture) async fn close_overdue(&mut self) -> Result<()> {
        for span in &mut self.open {
            let chunks = &mut span.chunks;
            // Where rows are left out, the requested rows need not end with a chunk.
            if chunks.extra_columns != ExtraColumns::Count && Instant::now() >= chunks.deadline {
                chunks.reader.end_transaction(&mut span.client).await?;
            }
        }
        Ok(())
    }

    /// Closes the connections that are not in use.
    pub(in crate::capture) async fn disconnect(&mut self) {
        self.connections.disconnect().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rows_are_awaited_for_longer_after_each_fruitless_span() {
        let timeout = |fruitless| {
            let spans = Spans {
                fruitless,
                ..Spans::default()
            };
            spans.first_rows_timeout()
        };
        assert_eq!(timeout(0), Duration::ZERO);
        assert_eq!(timeout(1), FIRST_ROWS_TIMEOUT * 2);
        assert_eq!(timeout(3), FIRST_ROWS_TIMEOUT * 8);
        assert_eq!(timeout(u32::MAX), MAX_FIRST_ROWS_TIMEOUT);
    }
}
