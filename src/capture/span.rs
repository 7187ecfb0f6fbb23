//! Spans: many chunks from one snapshot, read over connections that do nothing else.
//!
//! A span is one transaction: the table is locked against being rewritten, the view is taken, and
//! then the rows of many chunks come, the next always asked for before the last are there. The stream
//! is followed past what the view can contain before the first row is emitted; from then on every
//! change that is streamed is one that the rows do not contain. Between two chunks the stream is
//! followed as far as it has come, and a change of a row that the span has yet to emit is kept until
//! then ([`super::kept`]).
//!
//! Over several connections, sections of one table are read at once: a span then ends at a key that is
//! looked up first, in its own snapshot, and the next begins behind it. Each has a snapshot of its own,
//! and a change is judged by the section that its key is in. Behind the last section of a table comes
//! the next table. They are emitted strictly in this order, so that one position says how far the scan
//! is. What is read ahead of that waits in the sockets.
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
use crate::error::Result;
use crate::net::{ConnectConfig, Purpose};
use crate::record::RowKey;

/// The most rows of a span, and the most chunks.
const SPAN_ROWS: u32 = 1_000_000;
const SPAN_CHUNKS: u32 = 256;
/// How long rows are asked for from one snapshot.
const SPAN_TIME: Duration = Duration::from_secs(5);

/// The most rows of a span where others are read beside it, and what their documents are to come to.
const SECTION_ROWS: u32 = 65_536;
const SECTION_BYTES: u64 = 16 * 1024 * 1024;

/// How long the answer to a request is waited for with nothing else going on.
const VIEW_PATIENCE: Duration = Duration::from_millis(250);
/// How soon a span behind others is asked for again whose view came too early.
const READ_AGAIN: Duration = Duration::from_secs(1);
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
    /// The server has refused another connection: there will be no more than these.
    most: Option<usize>,
    /// When a span behind others was given up, since its view came too early.
    too_early: Option<Instant>,
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
        let connected = self.open.len();
        if self.most.is_some_and(|most| connected >= most) {
            return Ok(None);
        }
        let mut client = match Client::connect(connect, Purpose::Query).await {
            Ok(client) => client,
            Err(error) if error.sqlstate() == Some(TOO_MANY_CONNECTIONS) => {
                self.most = Some(connected);
                if connected > 0 {
                    warn!(error = %error, connected, "there are no more connections for backfills");
                } else {
                    warn!(error = %error, "there is no connection for backfills to spare: chunks are \
                        read one by one, which takes longer");
                }
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        client.query(SETTINGS, &[]).await?;
        Ok(Some(client))
    }

    /// Ends the transactions of all spans, so that nobody waits for their locks.
    pub(super) async fn release(&mut self) {
        self.release_behind(0).await;
    }

    /// Ends the transactions of all spans but so many.
    async fn release_behind(&mut self, kept: usize) {
        for Span {
            mut client, run, ..
        } in self.open.drain(kept.min(self.open.len())..)
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
        if self.is_judged_by_rows(index)? || !self.request_spans(index).await? {
            return self.backfill_chunk(following, index).await;
        }
        self.take_views(following).await?;
        if self.await_view(following).await? {
            self.request_spans(index).await?;
            if self.pass_fence(following).await? && self.await_rows(following).await? {
                self.emit_chunk(following).await?;
            }
        }
        Ok(())
    }

    /// Returns whether changes of a table are judged by the keys that a chunk was found to hold: then
    /// its rows come before them.
    fn is_judged_by_rows(&self, index: usize) -> Result<bool> {
        Ok(self.table(index)?.state.mode == Mode::Backfill && !self.scan(index)?.comparable)
    }

    /// Asks for spans as long as there are connections, and it is known where the next begins. Returns
    /// whether there is a span now.
    async fn request_spans(&mut self, index: usize) -> Result<bool> {
        let most = usize::try_from(self.config.backfill_connections).unwrap_or(1);
        while self.spans.open.len() < most {
            let is_soon = |then: Instant| then.elapsed() < READ_AGAIN;
            let next = match self.spans.open.back() {
                Some(_) if self.spans.too_early.is_some_and(is_soon) => None,
                None => Some((index, self.scan(index)?.position.clone())),
                Some(Span { end, table, .. }) => match end {
                    End::Unknown => None,
                    End::Key(key) => Some((*table, Some(key.clone()))),
                    End::Table => self.next_table()?,
                },
            };
            let Some((index, after)) = next else { break };
            let Some(client) = self.spans.connection(&self.connect).await? else {
                break;
            };
            self.request_span(client, index, after).await?;
        }
        Ok(!self.spans.open.is_empty())
    }

    /// The table that comes behind those which are being read, and where its scan stands.
    fn next_table(&self) -> Result<Option<(usize, Option<RowKey>)>> {
        let open: Vec<_> = self.spans.open.iter().map(|span| span.table).collect();
        let Some(index) = self.next_backfill(&open) else {
            return Ok(None);
        };
        if self.is_judged_by_rows(index)? || self.scan_by_position(index)? {
            // Its pages are counted over the connection for queries, which may wait for a lock.
            return Ok(None);
        }
        Ok(Some((index, self.scan(index)?.position.clone())))
    }

    fn scan_by_position(&self, index: usize) -> Result<bool> {
        Ok(self.table(index)?.state.mode == Mode::KeylessBackfill)
    }

    /// The chunks of a section, if a table can be read in sections: by a key in an order that is known
    /// here, and that an index has.
    fn section_chunks(&self, index: usize) -> Result<Option<u32>> {
        let table = self.table(index)?;
        let (Some(scan), Some(info)) = (&table.scan, &table.info) else {
            return Ok(None);
        };
        let names = || scan.table.key_columns.iter().map(|(name, _)| name);
        let is_key = |columns: &[String]| names().eq(columns);
        let is_indexed = info.primary_key.as_deref().is_some_and(is_key)
            || info
                .unique_indexes
                .iter()
                .any(|index| is_key(&index.columns));
        let is_nullable = scan.table.key_columns.iter().any(|(_, nullable)| *nullable);
        if self.config.backfill_connections < 2 || !scan.comparable || is_nullable || !is_indexed {
            return Ok(None);
        }
        let by_rows = u64::from(SECTION_ROWS / scan.table.chunk_size);
        let by_bytes = SECTION_BYTES
            .checked_div(scan.chunk_bytes)
            .unwrap_or(by_rows);
        let chunks = u32::try_from(by_rows.min(by_bytes)).unwrap_or(SPAN_CHUNKS);
        Ok(Some(chunks.clamp(1, SPAN_CHUNKS)))
    }

    /// Asks for a span of a table, behind a key.
    async fn request_span(
        &mut self,
        mut client: Client,
        index: usize,
        after: Option<RowKey>,
    ) -> Result<()> {
        let section = self.section_chunks(index)?;
        let chunk_size = self.scan(index)?.table.chunk_size;
        let most = (SPAN_ROWS / chunk_size).clamp(1, SPAN_CHUNKS);
        let chunks = section.unwrap_or(most);
        let windows = self.next_windows(index, chunks).await?;
        let (rows, helper_columns) = self.rows_of_span(index, after.as_ref(), &windows, chunks)?;
        let lock = self.lock(index)?;
        let scan = self.scan(index)?;
        let last_key = section.map(|chunks| {
            let after = after.as_ref().map(|key| key.parameters(&scan.codecs));
            let rows = u64::from(chunks) * u64::from(chunk_size);
            scan.table.last_key(after.as_deref(), rows)
        });
        let depth = depth(scan.chunk_bytes);
        let reader = SpanReader::request(
            &mut client,
            rows,
            lock.as_deref(),
            last_key.as_ref(),
            self.standby,
            depth,
        )
        .await?;
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
            is_section: section.is_some(),
            end: End::Unknown,
        });
        Ok(())
    }

    /// Takes the views of spans behind the first, as far as they are there.
    async fn take_views(&mut self, following: &mut Following) -> Result<()> {
        for place in 1..self.spans.open.len() {
            let Some(span) = self.spans.open.get_mut(place) else {
                break;
            };
            if span.run.start.is_some() {
                continue;
            }
            span.client.connection().fill_now().await?;
            match span.run.reader.try_start(&mut span.client) {
                Ok(None) => break,
                Ok(Some(start)) => {
                    // Whether or not the stream is past it when the rows are due, it need not be
                    // asked for then.
                    following.stream.feedback().ask_position();
                    if !self.accept(place, start)? {
                        self.spans.too_early = Some(Instant::now());
                        self.end_spans_behind(place).await?;
                    }
                }
                Err(error) => {
                    let index = span.table;
                    self.end_spans_behind(place).await?;
                    self.refused(index, error)?;
                }
            }
        }
        Ok(())
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
            let index = span.table;
            match span.run.reader.try_start(&mut span.client) {
                Ok(Some(start)) => {
                    if !self.accept(0, start)? {
                        self.end_spans().await?;
                        self.until_visible(following, index).await?;
                        return Ok(false);
                    }
                    if self.owed {
                        // It was held back for commits that this span contains; its rows come after.
                        self.try_settle().await?;
                    }
                    return Ok(!self.spans.open.is_empty());
                }
                Ok(None) => {}
                Err(error) => {
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

    /// Takes the view of a span, if it contains what it has to.
    fn accept(&mut self, place: usize, start: ChunkStart) -> Result<bool> {
        self.resolve(&start.view);
        let Some(span) = self.spans.open.get_mut(place) else {
            return Ok(false);
        };
        let (index, number) = (span.table, span.number);
        span.awaited.resolve(&start.view);
        let is_complete = span.awaited.is_empty();
        let table = self.tables.get_mut(index).ok_or_else(unknown)?;
        let is_free = table.barrier.is_empty();
        let Some(scan) = &mut table.scan else {
            return Err(unknown());
        };
        if span.is_section {
            span.end = match span.run.reader.take_last_key() {
                Some(texts) => End::Key(RowKey::of_texts(&texts, &scan.codecs)?),
                None => End::Table,
            };
        }
        let Some(section) = scan.section(number).filter(|_| is_complete && is_free) else {
            return Ok(false);
        };
        let mut documents = section.kept.take_contained(&start.view);
        section.view = Some(start.view.clone());
        if let End::Key(key) = &span.end {
            // A later span will contain what is behind.
            documents.append(&mut section.kept.take_owed_behind(key));
            section.until = Some(key.clone());
        }
        span.run.start = Some(start);
        self.emit_kept(index, documents)?;
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
        let is_due = following.follower.position.received() < fence;
        if is_due && fence > flushed && !self.standby {
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
        let goes_on = match (&span.end, &self.scan(index)?.position) {
            (End::Key(last), Some(position)) => !complete && last.compare(position).is_eq(),
            _ => complete,
        };
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
            if !goes_on {
                // The spans behind begin where this one was to end.
                self.end_spans().await?;
            }
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

    /// Gives up all spans but so many.
    async fn end_spans_behind(&mut self, kept: usize) -> Result<()> {
        self.spans.release_behind(kept).await;
        self.close_sections()
    }

    /// Emits what is owed of changes that were kept for spans which are gone. The others are in what
    /// later views have to contain.
    pub(super) fn close_sections(&mut self) -> Result<()> {
        for index in 0..self.tables.len() {
            let Some(scan) = &mut self.tables.get_mut(index).ok_or_else(unknown)?.scan else {
                continue;
            };
            let mut documents = Vec::new();
            let open = &self.spans.open;
            scan.sections.retain_mut(|section| {
                let is_open = open.iter().any(|span| span.number == section.span);
                if !is_open {
                    documents.append(&mut section.kept.take_owed());
                }
                is_open
            });
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
            // The first comes to its end by itself, and gives back what is kept.
            self.end_spans_behind(usize::from(self.spans.open.len() > 1))
                .await?;
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
