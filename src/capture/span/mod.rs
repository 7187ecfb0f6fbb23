//! Spans: many chunks from one snapshot, read over connections that do nothing else.
//!
//! A span is one transaction: the table is locked against being rewritten, the snapshot is taken, and
//! then the rows of many chunks come, the next always asked for before the last are there. The stream
//! is followed past what the snapshot can contain before the first row is emitted; from then on every
//! change that is streamed is one that the rows do not contain. Between two chunks the stream is
//! followed as far as it has come, and a change of a row that the span has yet to emit is kept until
//! then (`deferred`).
//!
//! A condition of the user's can make the server take any time for a row. Then the stream is followed
//! amid a chunk too, and the scan moves on behind the rows that have come.
//!
//! Over several connections, ranges of one table are read at once: a span then ends at a key that is
//! looked up first, in its own snapshot, and the next begins behind it. Each has a snapshot of its own,
//! and a change is judged by the range that its key is in. Behind the last range of a table comes
//! the next table. They are emitted strictly in this order, so that one position says how far the scan
//! is. What is read ahead of that waits in the sockets.
//!
//! A span holds its lock for some seconds, for longer only where the output is not taken. Whoever
//! waits for the table meanwhile holds up everybody who comes later, our other connection too. So
//! before that one reads a table, or may wait for long, spans are given up: what was not emitted of
//! them is read again.

mod emit;
mod request;
mod snapshot;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{debug, warn};

use super::engine::{ChangeStream, Engine};
use super::locks::LOCK_SHARE;
use super::rows::SpanRun;
use super::sink::Sink;
use super::visibility::UnseenCommits;
use crate::backfill::{ExtraColumns, SpanReader};
use crate::client::{Client, Connecting};
use crate::error::{Error, ErrorKind, Result};
use crate::net::{ConnectConfig, Purpose};
use crate::record::RowKey;

/// How long the end of a transaction is waited for. Beyond it the connection is given up.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// How long the first rows of a span are waited for after one that has emitted nothing; twice as long
/// after each that follows.
const FIRST_ROWS: Duration = Duration::from_millis(125);
const LONGEST_FIRST_ROWS: Duration = Duration::from_secs(60);

/// How long after a refusal another connection is asked for.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// The most connections that are made ahead.
const AHEAD: u32 = 2;

/// SQLSTATE too_many_connections: of the server, the database or the role.
const TOO_MANY_CONNECTIONS: &str = "53300";

/// Settings of a connection for spans, as far as the server has them. A transaction may have to wait
/// for the output to be taken. The rows are to come at once, in the order of an index: sorting the
/// whole table for each span is for keys that have none. A scan by position goes from page to page.
const SETTINGS: &str = "\
SELECT set_config(s.name, s.value, false)
FROM (VALUES ('idle_in_transaction_session_timeout', '0'), ('transaction_timeout', '0'),
             ('idle_session_timeout', '0'), ('enable_sort', 'off'), ('jit', 'off'),
             ('synchronize_seqscans', 'off')) AS s(name, value)
JOIN pg_catalog.pg_settings AS p USING (name)";

/// The spans that are being read, and connections for more.
#[derive(Debug, Default)]
pub(in crate::capture) struct Spans {
    /// In the order in which they are emitted.
    open: VecDeque<Span>,
    idle: Vec<Idle>,
    /// Those that are being made ahead.
    connecting: VecDeque<Connecting>,
    /// Numbers that were given away.
    numbers: u64,
    /// What the server has refused.
    refusal: Option<Refusal>,
    /// Spans that were given up one after the other for changes that had to be kept, before they had
    /// emitted anything.
    unlucky: u32,
    /// When a span behind others was given up: its snapshot came too early, or not at all.
    too_early: Option<Instant>,
}

/// That the server had no connection to spare.
#[derive(Debug)]
struct Refusal {
    /// How many there were.
    connected: usize,
    when: Instant,
}

impl Refusal {
    /// Returns whether there will be no more than so many still.
    fn holds(&self, connected: usize, now: Instant) -> bool {
        connected >= self.connected && now.saturating_duration_since(self.when) < ASK_AGAIN
    }
}

/// A span that was asked for.
#[derive(Debug)]
struct Span {
    number: u64,
    /// The table, by its place among them.
    table: usize,
    client: Client,
    run: SpanRun,
    requested: Instant,
    /// What was remembered for the table when the span was asked for: its snapshot has to contain it.
    awaited: UnseenCommits,
    /// The most chunks that it has.
    chunks: u32,
    /// Whether the stream has passed what its snapshot can contain.
    passed: bool,
    /// Its last key was asked for, so that the next span can begin behind it.
    is_section: bool,
    end: End,
}

/// Where a span ends.
#[derive(Debug)]
enum End {
    /// After so many chunks.
    Unknown,
    /// With this key.
    Key(RowKey),
    /// With the table.
    Table,
}

/// A connection that is free, or will be once it has answered what it was asked last.
#[derive(Debug)]
struct Idle {
    client: Client,
    reader: Option<SpanReader>,
}

impl Spans {
    /// Returns whether the first span has emitted a chunk, or a part of one.
    pub(super) fn have_emitted(&self) -> bool {
        let first = self.open.front();
        first.is_some_and(|span| span.run.progress.has_emitted)
    }

    /// How long the first rows of a span are waited for with nothing else going on.
    fn first_patience(&self) -> Duration {
        match self.unlucky {
            0 => Duration::ZERO,
            times => (FIRST_ROWS * 2u32.saturating_pow(times.min(16))).min(LONGEST_FIRST_ROWS),
        }
    }

    /// Returns a connection, or none where the server has no more.
    async fn connection(&mut self, connect: &ConnectConfig) -> Result<Option<Client>> {
        while let Some(Idle { mut client, reader }) = self.idle.pop() {
            let Some(reader) = reader else {
                return Ok(Some(client));
            };
            let finished = tokio::time::timeout(END_PATIENCE, reader.finish(&mut client));
            match finished.await {
                Ok(Ok(())) => return Ok(Some(client)),
                Ok(Err(error)) => debug!(%error, "a connection for backfills is given up"),
                Err(_) => give_up(client),
            }
        }
        let connected = self.open.len();
        let refusal = self.refusal.as_ref();
        if refusal.is_some_and(|refusal| refusal.holds(connected, Instant::now())) {
            return Ok(None);
        }
        // Those of no use have to give up their places first.
        self.drop_stale();
        while let Some(connecting) = self.connecting.pop_front() {
            if let Some(client) = connecting.client().await? {
                return Ok(Some(client));
            }
        }
        match connect_for_rows(connect).await {
            Ok(client) => Ok(Some(client)),
            Err(error) if error.sqlstate() == Some(TOO_MANY_CONNECTIONS) => {
                let again = self.refusal.is_some();
                self.refusal = Some(Refusal {
                    connected,
                    when: Instant::now(),
                });
                if again {
                    debug!(%error, connected, "there are no more connections for backfills");
                } else if connected > 0 {
                    warn!(error = %error, connected, "there are no more connections for backfills");
                } else {
                    warn!(error = %error, "there is no connection for backfills to spare: chunks are \
                        read one by one, which takes longer");
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes connections ahead, while other things are done: as many as there may be, but no more than
    /// a table of more than one range needs. They are made when `behind` has changed, which says that
    /// the stream has its connection: that one comes first where there are few.
    pub(in crate::capture) fn prepare(
        &mut self,
        connect: &ConnectConfig,
        most: u32,
        behind: &watch::Receiver<()>,
    ) {
        for _ in 0..most.min(AHEAD) {
            let (connect, mut behind) = (connect.clone(), behind.clone());
            let attempt = async move {
                if behind.changed().await.is_err() {
                    let text = "the stream has not got its connection yet";
                    return Err(Error::new(ErrorKind::Connection, text));
                }
                connect_for_rows(&connect).await
            };
            self.connecting.push_back(Connecting::start(attempt));
        }
    }

    /// Gives up connections that were made ahead and were not needed for long.
    fn drop_stale(&mut self) {
        self.connecting.retain(|connecting| !connecting.is_stale());
    }

    /// Ends the transactions of all spans, so that nobody waits for their locks.
    pub(in crate::capture) async fn release(&mut self) {
        self.release_behind(0).await;
    }

    /// Ends the transactions of all spans but so many.
    async fn release_behind(&mut self, remaining: usize) {
        for Span {
            mut client, run, ..
        } in self.open.drain(remaining.min(self.open.len())..)
        {
            let finished = tokio::time::timeout(END_PATIENCE, run.reader.finish(&mut client));
            match finished.await {
                Ok(Ok(())) => self.idle.push(Idle {
                    client,
                    reader: None,
                }),
                Ok(Err(error)) => debug!(%error, "a connection for backfills is given up"),
                Err(_) => give_up(client),
            }
        }
    }

    /// Lets the server end transactions that have taken their time, behind what was asked for.
    pub(in crate::capture) async fn close_overdue(&mut self) -> Result<()> {
        for span in &mut self.open {
            // Where rows are left out, what was asked for need not end with a chunk.
            if span.run.extra_columns != ExtraColumns::Count && Instant::now() >= span.run.deadline
            {
                span.run.reader.close(&mut span.client).await?;
            }
        }
        Ok(())
    }

    /// Closes the connections that are not in use.
    pub(in crate::capture) async fn disconnect(&mut self) {
        self.connecting.clear();
        for Idle { mut client, reader } in self.idle.drain(..) {
            if let Some(reader) = reader {
                let finished = tokio::time::timeout(END_PATIENCE, reader.finish(&mut client));
                if finished.await.is_err() {
                    give_up(client);
                    continue;
                }
            }
            client.terminate().await;
        }
    }
}

async fn connect_for_rows(connect: &ConnectConfig) -> Result<Client> {
    let mut client = Client::connect(connect, Purpose::Query).await?;
    client.query(SETTINGS, &[]).await?;
    Ok(client)
}

fn give_up(client: Client) {
    debug!("a connection for backfills is given up: it is busy");
    client.give_up();
}

impl<S: Sink> Engine<S> {
    /// Reads the next chunk of a table, and follows the stream as far as that needs.
    pub(in crate::capture) async fn backfill(
        &mut self,
        changes: &mut ChangeStream,
        index: usize,
    ) -> Result<()> {
        self.report_status("Backfilling Tables");
        self.spans.drop_stale();
        // What is asked for ahead comes first, whichever tables somebody has locked meanwhile.
        let index = self.spans.open.front().map_or(index, |span| span.table);
        let by_rows = self.is_judged_by_rows(index)?;
        let has_spans = !by_rows && self.request_spans(index).await?;
        let is_asked = |span: &Span| span.run.start.is_none();
        if self.spans.open.front().is_some_and(is_asked) {
            // The answer comes about when the snapshot does, and is past it where little is written.
            changes.replication.feedback().ask_position();
        }
        if changes.is_new {
            self.confirm_start(changes).await?;
        } else {
            self.check_once().await?;
        }
        if !has_spans {
            if !by_rows && self.is_locked(index)? {
                return self.follow_for(changes, LOCK_SHARE).await;
            }
            return self.backfill_chunk(changes, index).await;
        }
        self.take_views(changes).await?;
        if self.await_snapshot(changes).await? {
            self.request_spans(index).await?;
            if self.pass_fence(changes).await? && self.await_rows(changes).await? {
                self.emit_chunk(changes).await?;
            }
        }
        Ok(())
    }
}

impl Span {
    /// Returns whether no chunk will follow.
    fn is_over(&self) -> bool {
        let run = &self.run;
        let is_late = Instant::now() >= run.deadline;
        run.progress.chunks >= self.chunks
            || run.reader.is_exhausted()
            // What was asked for would not end with a chunk.
            || run.extra_columns == ExtraColumns::Count && is_late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_forgotten_after_a_while() {
        let when = Instant::now();
        let refusal = Refusal { connected: 2, when };
        assert!(refusal.holds(2, when));
        assert!(refusal.holds(3, when + ASK_AGAIN / 2));
        assert!(!refusal.holds(1, when));
        assert!(!refusal.holds(2, when + ASK_AGAIN));
    }

    #[test]
    fn the_first_rows_are_waited_for_longer_after_each_span_without_any() {
        let patience = |unlucky| {
            let spans = Spans {
                unlucky,
                ..Spans::default()
            };
            spans.first_patience()
        };
        assert_eq!(patience(0), Duration::ZERO);
        assert_eq!(patience(1), FIRST_ROWS * 2);
        assert_eq!(patience(3), FIRST_ROWS * 8);
        assert_eq!(patience(u32::MAX), LONGEST_FIRST_ROWS);
    }
}
