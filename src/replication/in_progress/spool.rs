//! What stands between the stream and its reader: it keeps transactions in progress, and replays
//! those that have committed.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;

use protocol::{
    BeginMessage, CommitMessage, LogicalReplicationMessage, Lsn, Oid, ParseContext,
    StreamAbortMessage, StreamCommitMessage, StreamStartMessage, Streamed, TupleArena,
};
use tracing::info;

use super::file::Overflow;
use super::memory::Memory;
use super::replay::{Next, Replay};
use super::transaction::{Description, HEADER, Transaction};
use crate::error::{Error, ErrorKind, Result};
use crate::replication::error::malformed_message;

/// Where transactions in progress are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolOptions {
    /// Bytes of memory for all of them together.
    pub memory: usize,
    /// The folder for temporary files, for what is beyond that.
    pub folder: PathBuf,
}

impl Default for SpoolOptions {
    /// Enough that a transaction of some hundred thousand rows stays in memory, and little beside
    /// what a container has.
    fn default() -> Self {
        Self {
            memory: 32 * 1024 * 1024,
            folder: std::env::temp_dir(),
        }
    }
}

/// Keeps transactions in progress until they commit, and replays them then.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    memory: Memory,
    /// The transactions in progress, but for that of the block under way.
    waiting: HashMap<u32, Transaction>,
    /// The transaction whose block is being received.
    receiving: Option<Transaction>,
    replay: Option<Replay>,
    /// Between Begin and Commit of a transaction that is sent whole.
    in_whole: bool,
    /// The relations that were described since the first transaction in progress began, outside of
    /// those that still are.
    relations: HashMap<Oid, Description>,
    /// How many descriptions have come.
    order: u64,
    /// The furthest position of a message in a block.
    reached: Lsn,
}

impl Spool {
    /// Makes an empty spool.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Spool`] if no temporary file can be made: better before the first large
    /// transaction than amid it.
    pub fn new(options: &SpoolOptions) -> Result<Self> {
        Overflow::create(&options.folder)?;
        Ok(Self {
            folder: options.folder.clone(),
            memory: Memory::new(options.memory),
            waiting: HashMap::new(),
            receiving: None,
            replay: None,
            in_whole: false,
            relations: HashMap::new(),
            order: 0,
            reached: Lsn::INVALID,
        })
    }

    /// Returns the form of messages outside of blocks.
    pub const CONTEXT: ParseContext = ParseContext::new(2);

    /// The form of messages within a block.
    const KEPT: ParseContext = ParseContext {
        in_stream_block: true,
        ..Self::CONTEXT
    };

    /// Returns whether the stream is within a block: what comes next is for [`Spool::keep`].
    #[inline]
    pub fn is_receiving(&self) -> bool {
        self.receiving.is_some()
    }

    /// Returns whether [`Spool::next_message`] has something.
    #[inline]
    pub fn is_replaying(&self) -> bool {
        self.replay.is_some()
    }

    /// Keeps a message of a block. At the end of the block, returns a position before which the
    /// server has sent everything that committed: it can send what a transaction does only when it
    /// has read its log that far.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Spool`] if a temporary file cannot be written, and with a message that
    /// has no place in a block.
    #[inline]
    pub fn keep(&mut self, wal_start: Lsn, data: &[u8]) -> Result<Option<Lsn>> {
        let Some(transaction) = &mut self.receiving else {
            return Err(contradiction("went on with a block that it had not begun"));
        };
        match Streamed::peek(data).map_err(malformed_message)? {
            Streamed::Change(_) => {
                self.reached = self.reached.max(wal_start);
                if transaction.append(wal_start, data) {
                    return Ok(None);
                }
            }
            // Each block begins with it.
            Streamed::Origin if transaction.messages() > 0 => return Ok(None),
            Streamed::Origin => {}
            Streamed::Description {
                is_relation,
                oid,
                content,
            } => {
                self.order += 1;
                if !transaction.describe((is_relation, oid), content, self.order) {
                    return Ok(None);
                }
            }
            Streamed::Stop => {
                if let Some(transaction) = self.receiving.take() {
                    self.waiting.insert(transaction.xid.as_u32(), transaction);
                }
                return Ok(Some(self.reached));
            }
        }
        self.keep_in_new_block(wal_start, data)?;
        Ok(None)
    }

    #[cold]
    fn keep_in_new_block(&mut self, wal_start: Lsn, data: &[u8]) -> Result<()> {
        let Some(transaction) = &mut self.receiving else {
            return Ok(());
        };
        if transaction.append(wal_start, data) {
            return Ok(());
        }
        let size = HEADER + data.len();
        if self.memory.is_too_large(size) {
            return transaction.append_to_file(wal_start, data, &self.folder, &mut self.memory);
        }
        let size = size.max(self.memory.size_of_block(transaction.blocks_taken()));
        let block = loop {
            if let Some(block) = self.memory.take(size) {
                break block;
            }
            let largest = self
                .waiting
                .values_mut()
                .chain(self.receiving.as_mut())
                .max_by_key(|transaction| transaction.memory())
                .filter(|transaction| transaction.memory() > 0);
            match largest {
                Some(largest) => largest.move_to_file(&self.folder, &mut self.memory)?,
                None => break self.memory.take_anyway(size),
            }
        };
        if let Some(transaction) = &mut self.receiving {
            transaction.add_block(block);
            transaction.append(wal_start, data);
        }
        Ok(())
    }

    /// Looks at a message outside of blocks. Returns whether it is about a transaction in progress,
    /// and so of no interest to the reader of the stream.
    ///
    /// # Errors
    ///
    /// Fails where the stream contradicts itself, and with [`ErrorKind::Spool`] if a transaction that has
    /// committed cannot be read back, of which nothing was returned yet.
    pub fn handle(
        &mut self,
        message: &LogicalReplicationMessage<'_>,
        wal_start: Lsn,
        data: &[u8],
    ) -> Result<bool> {
        match message {
            LogicalReplicationMessage::Begin(_) => self.in_whole = true,
            LogicalReplicationMessage::Commit(_) => self.in_whole = false,
            LogicalReplicationMessage::Relation(relation) => {
                self.order += 1;
                if !self.waiting.is_empty() {
                    let description = Description {
                        order: self.order,
                        content: data.get(1..).unwrap_or_default().to_vec(),
                    };
                    self.relations.insert(relation.relation, description);
                }
            }
            LogicalReplicationMessage::StreamStart(start) => {
                self.start(*start)?;
                return Ok(true);
            }
            LogicalReplicationMessage::StreamCommit(commit) => {
                self.commit(*commit, wal_start)?;
                return Ok(true);
            }
            LogicalReplicationMessage::StreamAbort(abort) => {
                self.abort(abort)?;
                return Ok(true);
            }
            LogicalReplicationMessage::StreamStop => {
                return Err(contradiction("ended a block that it had not begun"));
            }
            _ => {}
        }
        Ok(false)
    }

    fn start(&mut self, start: StreamStartMessage) -> Result<()> {
        self.refuse_within_whole()?;
        let known = self.waiting.remove(&start.xid.as_u32());
        self.receiving = match (known, start.first_segment) {
            (None, true) => Some(Transaction::new(start.xid)),
            (Some(transaction), false) => Some(transaction),
            (None, false) => {
                return Err(contradiction(
                    "went on with a transaction that it had not begun",
                ));
            }
            (Some(_), true) => return Err(contradiction("began a transaction twice")),
        };
        Ok(())
    }

    fn abort(&mut self, abort: &StreamAbortMessage) -> Result<()> {
        self.refuse_within_whole()?;
        if abort.xid != abort.subxid {
            // Of a subtransaction nothing need have been sent.
            if let Some(transaction) = self.waiting.get_mut(&abort.xid.as_u32()) {
                transaction.abort(abort.subxid);
            }
        } else if let Some(transaction) = self.waiting.remove(&abort.xid.as_u32()) {
            report(&transaction, "rolled back");
            transaction.give_back(&mut self.memory);
            self.rest();
        }
        Ok(())
    }

    fn commit(&mut self, commit: StreamCommitMessage, wal_start: Lsn) -> Result<()> {
        self.refuse_within_whole()?;
        let Some(mut transaction) = self.waiting.remove(&commit.xid.as_u32()) else {
            return Err(contradiction(
                "committed a transaction that it had not begun",
            ));
        };
        report(&transaction, "committed");
        let newer = self.settle_descriptions(std::mem::take(&mut transaction.descriptions));
        self.replay = Some(Replay::new(transaction, commit, wal_start, newer)?);
        Ok(())
    }

    /// Returns the relations that were described by others since a transaction described them.
    ///
    /// The server describes a relation when its description is not what it has sent last. Within a
    /// transaction in progress it keeps account of that apart, and when the transaction commits the
    /// two accounts become one. So what was sent last is what holds from then on, also where it came
    /// outside of this transaction while that was in progress: that takes a relation whose lock was
    /// given free before the end, as by the rollback of a subtransaction.
    fn settle_descriptions(
        &mut self,
        descriptions: HashMap<(bool, Oid), Description>,
    ) -> VecDeque<Vec<u8>> {
        let mut newer = VecDeque::new();
        for ((is_relation, oid), description) in descriptions {
            match self.relations.get(&oid) {
                _ if !is_relation => {}
                Some(other) if other.order > description.order => {
                    let mut message = Vec::new();
                    Streamed::relation(&other.content, &mut message);
                    newer.push_back(message);
                }
                _ => {
                    self.relations.insert(oid, description);
                }
            }
        }
        newer
    }

    fn refuse_within_whole(&self) -> Result<()> {
        if self.in_whole {
            return Err(contradiction(
                "sent a part of a transaction in progress amid another one",
            ));
        }
        Ok(())
    }

    /// Gives memory back while nothing is in progress.
    fn rest(&mut self) {
        if self.waiting.is_empty() && self.replay.is_none() {
            self.memory.rest();
            self.relations.clear();
        }
    }

    /// Returns the next message of the transaction that is being replayed, with its position.
    ///
    /// # Errors
    ///
    /// Fails if what was kept cannot be read, or cannot be parsed; and where nothing is replayed.
    #[inline]
    pub fn next_message<'a>(
        &'a mut self,
        arena: &'a TupleArena,
    ) -> Result<(Lsn, LogicalReplicationMessage<'a>)> {
        let replay = self.replay.as_mut().ok_or_else(nothing_to_replay)?;
        let (commit, commit_start) = (replay.commit, replay.wal_start);
        let next = replay.advance(&mut self.memory)?;
        if matches!(next, Next::Commit) {
            self.end_replay();
            let message = CommitMessage {
                commit_lsn: commit.commit_lsn,
                end_lsn: commit.end_lsn,
                commit_time: commit.commit_time,
            };
            return Ok((commit_start, LogicalReplicationMessage::Commit(message)));
        }
        let replay = self.replay.as_ref().ok_or_else(nothing_to_replay)?;
        let (wal_start, message, context) = match &next {
            Next::Kept(wal_start, place) => (*wal_start, replay.message(place)?, Self::KEPT),
            Next::Description => (commit_start, replay.description(), Self::CONTEXT),
            Next::Begin | Next::Commit => {
                let message = BeginMessage {
                    final_lsn: commit.commit_lsn,
                    commit_time: commit.commit_time,
                    xid: commit.xid,
                };
                return Ok((commit_start, LogicalReplicationMessage::Begin(message)));
            }
        };
        let message =
            LogicalReplicationMessage::parse(message, context, arena).map_err(malformed_message)?;
        Ok((wal_start, message))
    }

    fn end_replay(&mut self) {
        if let Some(replay) = self.replay.take() {
            replay.give_back(&mut self.memory);
        }
        self.rest();
    }

    /// Returns the number of bytes that are allocated for what is kept.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.memory.allocated()
    }
}

/// Says of a transaction that went to disk how large it was.
fn report(transaction: &Transaction, end: &str) {
    if transaction.overflow.is_some() {
        info!(
            xid = transaction.xid.as_u32(),
            messages = transaction.messages(),
            bytes = transaction.bytes(),
            "a large transaction was kept in a temporary file until it was {end}"
        );
    }
}

fn nothing_to_replay() -> Error {
    Error::new(ErrorKind::Internal, "no transaction is being replayed")
}

fn contradiction(what: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("the server {what}"))
}
