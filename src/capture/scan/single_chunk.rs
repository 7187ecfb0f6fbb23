//! A chunk that is read by itself over the connection for queries: its rows, and then the stream
//! past its fence.
//!
//! Tables are read in this way where changes are matched to a chunk by equality of keys, and where
//! no connection can be had for spans.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tracing::info;

use super::chunk_reader::ChunkReader;
use super::locks::LOCKED_READ_TIME;
use crate::backfill::{ChunkStart, Window};
use crate::capture::session::Session;
use crate::capture::sink::Sink;
use crate::capture::stream::{ChangeStream, CheckpointPolicy};
use crate::capture::table::{TableIndex, UnfencedChunk};
use crate::capture::wait_log::WaitBackoff;
use crate::error::Result;

/// Outcome of a request for a chunk.
enum Requested {
    /// The chunk can be read.
    Started(Box<ChunkReader>, ChunkStart),
    /// The chunk has to be requested again.
    Again,
    /// The table cannot be read now: another session has locked it.
    Locked,
}

impl<S: Sink> Session<S> {
    /// Reads a chunk of a table, and the stream past its fence.
    pub(super) async fn backfill_chunk(
        &mut self,
        changes: &mut ChangeStream,
        index: TableIndex,
    ) -> Result<()> {
        let started = Instant::now();
        let (mut chunk, start) = loop {
            match self.request_chunk(changes, index).await? {
                Requested::Started(chunk, start) => break (chunk, start),
                Requested::Again => {}
                Requested::Locked => {
                    return self.read_for(changes, LOCKED_READ_TIME).await;
                }
            }
        };
        if self.checkpoints.is_due() {
            // It was held back for commits that the chunk contains, and precedes the chunk's rows.
            self.emit_checkpoint()?;
        }
        let Some(mut table) = self.tables.scanned(index) else {
            return chunk.reader.finish(self.server.client()).await;
        };
        let after = table.scan.position.clone();
        if table.is_matched_by_equality() {
            chunk.collect_keys();
        }
        let (client, types) = self.server.client_and_types();
        let inputs = self.settings.plan_inputs(types);
        chunk.start = Some(start.clone());
        let sink = &mut self.sink;
        let end = chunk
            .read_chunk(client, &mut table, &inputs, sink, None)
            .await?;
        let complete = self.advance(index, &mut chunk, end, started)?;
        let keys = chunk.take_keys();
        chunk.reader.finish(self.server.client()).await?;
        self.set_unfenced_chunk(
            index,
            Some(UnfencedChunk {
                after,
                snapshot: start.snapshot,
                keys,
                complete,
            }),
        );
        if start.fence > start.flushed && !self.server.is_standby() {
            self.advance_wal().await?;
        }
        self.read_to(changes, start.fence, CheckpointPolicy::ByCaller)
            .await?;
        self.set_unfenced_chunk(index, None);
        if complete {
            self.complete_table(changes, index).await?;
        }
        self.try_checkpoint().await
    }

    fn set_unfenced_chunk(&mut self, index: TableIndex, chunk: Option<UnfencedChunk>) {
        if let Some(table) = self.tables.scanned(index) {
            table.scan.chunk = chunk;
        }
    }

    /// Requests a chunk. Where its snapshot does not contain what it has to, the stream is read
    /// until another one would.
    async fn request_chunk(
        &mut self,
        changes: &mut ChangeStream,
        index: TableIndex,
    ) -> Result<Requested> {
        let windows = match self.next_windows(index, 1).await {
            Ok(windows) => windows,
            Err(error) => {
                self.on_scan_error(index, error).await?;
                return Ok(Requested::Locked);
            }
        };
        let Some(mut chunk) = self.send_request(index, windows).await? else {
            return Ok(Requested::Locked);
        };
        let started = self.await_start(&mut chunk).await?;
        match started {
            Ok(start) if !self.has_known_columns(index, &start.columns)? => {
                chunk.reader.finish(self.server.client()).await?;
                self.look_up_scanned(index).await?;
                Ok(Requested::Again)
            }
            Ok(start) => {
                self.resolve(&start.snapshot);
                let table = &mut self.tables[index];
                if let Some(scan) = &mut table.scan {
                    scan.locked = None;
                }
                if table.initial_wait.is_empty() && !self.tables.hold_back_checkpoint() {
                    return Ok(Requested::Started(Box::new(chunk), start));
                }
                chunk.reader.finish(self.server.client()).await?;
                self.read_until_visible(changes, index).await?;
                Ok(Requested::Again)
            }
            Err(error) => {
                // The connection has to be free before it is asked who has locked the table.
                chunk.reader.finish(self.server.client()).await?;
                self.on_scan_error(index, error).await?;
                Ok(if self.tables.is_locked(index) {
                    Requested::Locked
                } else {
                    Requested::Again
                })
            }
        }
    }

    /// Sends the request for a chunk, if the table is still being scanned.
    async fn send_request(
        &mut self,
        index: TableIndex,
        windows: VecDeque<(Window, bool)>,
    ) -> Result<Option<ChunkReader>> {
        let lock_timeout = self.lock_timeout();
        let Some(table) = self.tables.scanned(index) else {
            return Ok(None);
        };
        let after = table.scan.position.as_ref();
        let (rows, extra_columns) = table.rows(after, &windows, 1);
        let request = table.request(rows, lock_timeout, self.server.is_standby());
        let reader = request.send(self.server.client()).await?;
        // All rows were requested at once, so no more are requested.
        let chunk = ChunkReader::new(reader, windows, extra_columns, Duration::ZERO);
        Ok(Some(chunk))
    }

    /// Waits for the snapshot of a chunk. Returns the error that the server has sent in its place.
    async fn await_start(&mut self, chunk: &mut ChunkReader) -> Result<Result<ChunkStart>> {
        let client = self.server.client();
        loop {
            match chunk.reader.try_start(client) {
                Ok(None) => chunk.reader.fill(client).await?,
                Ok(Some(start)) => return Ok(Ok(start)),
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Reads the stream until the commits that a chunk of a table has to contain are visible.
    pub(super) async fn read_until_visible(
        &mut self,
        changes: &mut ChangeStream,
        index: TableIndex,
    ) -> Result<()> {
        let stream = self.tables[index].id.to_string();
        let what = format!("the backfill chunk of table \"{stream}\" is read again");
        let mut backoff = WaitBackoff::new();
        let mut is_logged = false;
        loop {
            let missing = self.missing_from_snapshot(index).await?;
            if missing.is_empty() {
                return Ok(());
            }
            if !is_logged {
                info!(%stream, transactions = missing.len(), "backfill chunk was read too early");
                is_logged = true;
            }
            self.log_wait(&what, &missing, &mut backoff).await?;
            self.read_for(changes, backoff.pause()).await?;
            self.take_snapshot().await?;
        }
    }
}
