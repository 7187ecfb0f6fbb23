//! Spans: many chunks from one snapshot, read over connections that do nothing else.
//!
//! A span is one transaction: the table is locked against being rewritten, the view is taken, and
//! then the rows of many chunks come, the next always asked for before the last are there. The stream
//! is followed past what the view can contain before the first row is emitted; from then on every
//! change that is streamed is one that the rows do not contain. Between two chunks the stream is
//! followed as far as it has come, and a change of a row that the span has yet to emit is kept until
//! then ([`super::kept`]).
//!
//! A span holds its lock for some seconds, for longer only where the output is not taken. Whoever
//! waits for the table meanwhile holds up everybody who comes later, our other connection too. So
//! before that one reads a table, or may wait for long, spans are given up: what was not emitted of
//! them is read again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::checkpoint::IDLE_CHECKPOINT;
use super::engine::{Engine, Following};
use super::fence::Checkpoints;
use super::follow::Follower;
use super::kept::KeptChanges;
use super::rows::{ChunkEnd, PlanContext, SpanRun, depth, unknown};
use super::sink::Sink;
use super::state::Mode;
use super::table::{Section, Table};
use super::visibility::Unseen;
use crate::backfill::{ChunkStart, SpanReader};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::net::{ConnectConfig, Purpose};

/// The most rows of a span, and the most chunks.
const SPAN_ROWS: u32 = 1_000_000;
const SPAN_CHUNKS: u32 = 256;
/// How long rows are asked for from one snapshot.
const SPAN_TIME: Duration = Duration::from_secs(5);

/// How long the answer to a request is waited for with nothing else going on.
const VIEW_PATIENCE: Duration = Duration::from_millis(250);
/// How long the end of a transaction is waited for. Beyond it the connection is given up.
const END_PATIENCE: Duration = Duration::from_secs(1);
/// How long what the stream has ready is handled between two chunks.
const STREAM_SHARE: Duration = Duration::from_millis(50);

/// Memory for kept changes of all tables.
const KEPT_BYTES: usize = 16 * 1024 * 1024;

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
pub(super) struct Spans {
    /// In the order in which they are emitted.
    open: VecDeque<Span>,
    idle: Vec<Idle>,
    /// Numbers that were given away.
    numbers: u64,
    /// No connection could be had.
    refused: bool,
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
    /// What was remembered for the table when the span was asked for: its view has to contain it.
    awaited: Unseen,
    /// The most chunks that it has.
    chunks: u32,
    /// Whether the stream has passed what its view can contain.
    passed: bool,
}

/// A connection that is free, or will be once it has answered what it was asked last.
#[derive(Debug)]
struct Idle {
    client: Client,
    reader: Option<SpanReader>,
}

impl Spans {
    /// Returns a connection, or none where the server has no more.
    async fn connection(&mut self, connect: &ConnectConfig) -> Result<Option<Client>> {
        while let Some(Idle { mut client, reader }) = self.idle.pop() {
            let Some(reader) = reader else {
                return Ok(Some(client));
            };
            let finished = tokio::time::timeout(END_PATIENCE, reader.finish(&mut client));
            if let Ok(Ok(())) = finished.await {
                return Ok(Some(client));
            }
        }
        if self.refused {
            return Ok(None);
        }
        let mut client = match Client::connect(connect, Purpose::Query).await {
            Ok(client) => client,
            Err(error) if is_about_connections(&error) => {
                self.refused = true;
                warn!(error = %error, "there is no connection for backfills to spare: chunks are read \
                    one by one, which takes longer");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        client.query(SETTINGS, &[]).await?;
        Ok(Some(client))
    }

    /// Ends the transactions of all spans, so that nobody waits for their locks.
    pub(super) async fn release(&mut self) {
        while let Some(Span {
            mut client, run, ..
        }) = self.open.pop_front()
        {
            let finished = tokio::time::timeout(END_PATIENCE, run.reader.finish(&mut client));
            match finished.await {
                Ok(Ok(())) => self.idle.push(Idle {
                    client,
                    reader: None,
                }),
                Ok(Err(error)) => debug!(%error, "a connection for backfills is given up"),
                Err(_) => debug!("a connection for backfills is given up: it is busy"),
            }
        }
    }

    /// Lets the server end transactions that have taken their time, behind what was asked for.
    pub(super) async fn close_overdue(&mut self) -> Result<()> {
        for span in &mut self.open {
            // Where rows are left out, what was asked for need not end with a chunk.
            if span.run.helper_columns == 0 && Instant::now() >= span.run.deadline {
                span.run.reader.close(&mut span.client).await?;
            }
        }
        Ok(())
    }

    /// Closes the connections that are not in use.
    pub(super) async fn disconnect(&mut self) {
        for Idle { mut client, .. } in self.idle.drain(..) {
            let connection = client.connection();
            if connection.session().terminate().is_ok() {
                // Nobody waits for it.
                let _ = connection.send().await;
            }
        }
    }
}

impl<S: Sink> Engine<S> {
    /// Reads the next chunk of a table, and follows the stream as far as that needs.
    pub(super) async fn backfill(&mut self, following: &mut Following, index: usize) -> Result<()> {
        self.report_status("Backfilling Tables");
        let judged_by_rows =
            self.table(index)?.state.mode == Mode::Backfill && !self.scan(index)?.comparable;
        if judged_by_rows || (self.spans.open.is_empty() && !self.request_span(index).await?) {
            return self.backfill_chunk(following, index).await;
        }
        if self.await_view(following).await?
            && self.pass_fence(following).await?
            && self.await_rows(following).await?
        {
            self.emit_chunk(following).await?;
        }
        Ok(())
    }

    /// Asks for a span of a table. Returns whether there was a connection for it.
    async fn request_span(&mut self, index: usize) -> Result<bool> {
        let chunk_size = self.scan(index)?.table.chunk_size;
        let chunks = (SPAN_ROWS / chunk_size).clamp(1, SPAN_CHUNKS);
        let Some(mut client) = self.spans.connection(&self.connect).await? else {
            return Ok(false);
        };
        let windows = self.next_windows(index, chunks).await?;
        let (rows, helper_columns) = self.rows_of_span(index, &windows, chunks)?;
        let lock = self.lock(index)?;
        let depth = depth(self.scan(index)?.chunk_bytes);
        let reader =
            SpanReader::request(&mut client, rows, lock.as_deref(), self.standby, depth).await?;
        let time = match self.config.statement_timeout {
            Some(timeout) => SPAN_TIME.min(timeout / 2),
            None => SPAN_TIME,
        };
        self.spans.numbers += 1;
        let number = self.spans.numbers;
        let table = self.table_mut(index)?;
        let awaited = table.unseen.clone();
        if let Some(scan) = &mut table.scan {
            scan.sections.push_back(Section {
                span: number,
                until: None,
                view: None,
                kept: KeptChanges::default(),
            });
        }
        self.spans.open.push_back(Span {
            number,
            table: index,
            client,
            run: SpanRun::new(reader, windows, helper_columns, time),
            requested: Instant::now(),
            awaited,
            chunks,
            passed: false,
        });
        Ok(true)
    }

    /// Waits for the view of the first span. Returns whether it contains what it has to; otherwise the
    /// span is gone.
    async fn await_view(&mut self, following: &mut Following) -> Result<bool> {
        loop {
            let Some(span) = self.spans.open.front_mut() else {
                return Ok(false);
            };
            if span.run.start.is_some() {
                return Ok(true);
            }
            match span.run.reader.try_start(&mut span.client) {
                Ok(Some(start)) => return self.accept(following, start).await,
                Ok(None) => {}
                Err(error) => {
                    let index = span.table;
                    self.end_spans().await?;
                    self.refused(index, error)?;
                    return Ok(false);
                }
            }
            // It is there in a moment, unless the table is locked by somebody else.
            let left = VIEW_PATIENCE.saturating_sub(span.requested.elapsed());
            if !left.is_zero() {
                let filled = span.run.reader.fill(&mut span.client);
                if let Ok(filled) = tokio::time::timeout(left, filled).await {
                    filled?;
                }
                continue;
            }
            tokio::select! {
                filled = span.run.reader.fill(&mut span.client) => filled?,
                filled = following.stream.fill() => filled?,
                () = tokio::time::sleep(IDLE_CHECKPOINT) => {}
            }
            self.follow_ready(following).await?;
        }
    }

    /// Takes the view of the first span, if it contains what it has to.
    async fn accept(&mut self, following: &mut Following, start: ChunkStart) -> Result<bool> {
        self.resolve(&start.view);
        let Some(span) = self.spans.open.front_mut() else {
            return Ok(false);
        };
        let (index, number) = (span.table, span.number);
        span.awaited.resolve(&start.view);
        let is_complete = span.awaited.is_empty();
        let view = start.view.clone();
        span.run.start = Some(start);
        let table = self.tables.get_mut(index).ok_or_else(unknown)?;
        let is_free = table.barrier.is_empty();
        let section = table.scan.as_mut().and_then(|scan| scan.section(number));
        let Some(section) = section.filter(|_| is_complete && is_free) else {
            self.end_spans().await?;
            self.until_visible(following, index).await?;
            return Ok(false);
        };
        let documents = section.kept.take_contained(&view);
        section.view = Some(view);
        self.emit_kept(index, documents)?;
        if self.owed {
            // It was held back for commits that this span contains; its rows come after.
            self.try_settle().await?;
        }
        Ok(true)
    }

    /// Follows the stream past what the rows of the first span can contain. Returns whether it is
    /// still there.
    async fn pass_fence(&mut self, following: &mut Following) -> Result<bool> {
        let Some(span) = self.spans.open.front() else {
            return Ok(false);
        };
        let (Some(start), number) = (&span.run.start, span.number) else {
            return Err(unknown());
        };
        if span.passed {
            return Ok(true);
        }
        let (fence, flushed) = (start.fence, start.flushed);
        if fence > flushed && !self.standby {
            self.nudge().await?;
        }
        self.stream_to(following, fence, Checkpoints::None).await?;
        let Some(span) = self.spans.open.front_mut() else {
            return Ok(false);
        };
        span.passed = span.number == number;
        Ok(span.passed)
    }

    /// Follows the stream until the first span has something. Returns whether it is still there.
    async fn await_rows(&mut self, following: &mut Following) -> Result<bool> {
        loop {
            self.follow_ready(following).await?;
            let Some(span) = self.spans.open.front_mut() else {
                return Ok(false);
            };
            if span.client.connection().has_event() || span.run.reader.is_exhausted() {
                return Ok(true);
            }
            tokio::select! {
                filled = span.run.reader.fill(&mut span.client) => filled?,
                filled = following.stream.fill() => filled?,
                () = tokio::time::sleep(IDLE_CHECKPOINT) => {}
            }
        }
    }

    /// Handles what the stream has ready, up to the end of a transaction.
    async fn follow_ready(&mut self, following: &mut Following) -> Result<()> {
        let end = Instant::now() + STREAM_SHARE;
        let over =
            |follower: &Follower| !follower.position.in_transaction() && Instant::now() >= end;
        let checkpoints = self.stream_checkpoints();
        following.stream.fill_now().await?;
        while !self.drain(following, checkpoints, over).await? {
            if following.follower.position.in_transaction() {
                following.stream.fill().await?;
            } else if !following.stream.fill_now().await? {
                break;
            }
        }
        self.cursor = Some(following.follower.position.received());
        // That a scan has begun is said with its first chunk.
        let is_news =
            self.sink.uncommitted_bytes() > 0 || self.last_checkpoint.elapsed() >= IDLE_CHECKPOINT;
        if checkpoints == Checkpoints::AtCommits && is_news && self.is_checkpoint_due(false) {
            self.owed = true;
            self.try_settle().await?;
        }
        Ok(())
    }

    /// Emits a chunk of the first span, and the changes that were kept for its rows.
    async fn emit_chunk(&mut self, following: &mut Following) -> Result<()> {
        let Some(mut span) = self.spans.open.pop_front() else {
            return Ok(());
        };
        let (index, started) = (span.table, Instant::now());
        let before = self.sink.uncommitted_bytes();
        let table = self.tables.get_mut(index).ok_or_else(unknown)?;
        let context = PlanContext {
            tag: self.config.source_tag.as_deref(),
            types: &self.types,
            options: &self.plan_options,
        };
        let end = if span.run.reader.is_exhausted() {
            ChunkEnd::Nothing
        } else {
            span.run
                .read_chunk(&mut span.client, table, &context, &mut self.sink)
                .await?
        };
        let bytes = self.sink.uncommitted_bytes() - before;
        let cut_off = matches!(end, ChunkEnd::Nothing | ChunkEnd::Failed(_));
        let chunks = span.run.progress.chunks;
        let complete = self.advance(index, &mut span.run, end, started)?;
        let has_chunk = span.run.progress.chunks > chunks;
        let is_over = complete || cut_off || span.is_over();
        let Some(scan) = &mut self.table_mut(index)?.scan else {
            return Err(unknown());
        };
        if has_chunk {
            scan.chunk_bytes = bytes;
        }
        let position = scan.position.clone().filter(|_| scan.comparable);
        let mut documents = Vec::new();
        if let Some(section) = scan.section(span.number) {
            if complete {
                documents = section.kept.take_all();
            } else if let Some(position) = position {
                documents = section.kept.take_through(&position);
            }
            if is_over {
                documents.append(&mut section.kept.take_owed());
                scan.sections.retain(|section| section.span != span.number);
            }
        }
        self.emit_kept(index, documents)?;
        if is_over {
            self.retire(span).await?;
        } else {
            self.spans.open.push_front(span);
        }
        if complete {
            self.complete_table(following, index).await?;
        }
        if has_chunk {
            self.owed = true;
            self.try_settle().await?;
        }
        Ok(())
    }

    /// Frees the connection of a span that has come to its end.
    async fn retire(&mut self, span: Span) -> Result<()> {
        let Span {
            mut client,
            run: SpanRun { mut reader, .. },
            ..
        } = span;
        if reader.is_lost() {
            return Ok(());
        }
        // The answer is there when the connection is used next.
        reader.close(&mut client).await?;
        self.spans.idle.push(Idle {
            client,
            reader: Some(reader),
        });
        Ok(())
    }

    fn emit_kept(&mut self, index: usize, documents: Vec<Box<[u8]>>) -> Result<()> {
        let binding = self.table(index)?.binding;
        for document in documents {
            self.sink.begin_document(binding);
            self.sink.buffer().extend_from_slice(&document);
            self.sink.end_document()?;
        }
        Ok(())
    }

    /// Gives up all spans. What they were to emit is read again.
    pub(super) async fn end_spans(&mut self) -> Result<()> {
        self.spans.release().await;
        self.close_sections()
    }

    /// Emits what is owed of changes that were kept for spans which are gone. The others are in what
    /// later views have to contain.
    pub(super) fn close_sections(&mut self) -> Result<()> {
        for index in 0..self.tables.len() {
            let Some(scan) = &mut self.table_mut(index)?.scan else {
                continue;
            };
            let mut documents = Vec::new();
            for mut section in scan.sections.drain(..) {
                documents.append(&mut section.kept.take_owed());
            }
            self.emit_kept(index, documents)?;
        }
        Ok(())
    }

    /// Gives up spans whose kept changes take too much memory.
    pub(super) async fn bound_kept(&mut self) -> Result<()> {
        let bytes: usize = self.tables.iter().map(Table::kept_bytes).sum();
        if bytes >= KEPT_BYTES {
            debug!(
                bytes,
                "spans are given up: too many of their rows change meanwhile"
            );
            self.end_spans().await?;
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
            || run.helper_columns > 0 && is_late
    }
}

fn is_about_connections(error: &Error) -> bool {
    error.sqlstate() == Some(TOO_MANY_CONNECTIONS)
}
