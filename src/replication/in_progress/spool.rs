//! What stands between the stream and its reader: it keeps transactions in progress, and replays
//! those that have committed.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;

use protocol::{
    BeginMessage, CommitMessage, LogicalReplicationMessage, Lsn, Oid, ParseContext,
    StreamAbortMessage, StreamCommitMessage, StreamStartMessage, Streamed, TupleArena,
};
use tracing::info;

use super::block_pool::BlockPool;
use super::file::SpoolFile;
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
    pool: BlockPool,
    /// The transactions in progress, but for that of the block under way.
    waiting: HashMap<u32, Transaction>,
    /// The transaction whose block is being received.
    receiving: Option<Transaction>,
    replay: Option<Replay>,
    /// Between Begin and Commit of a transaction that is sent whole.
    in_transaction: bool,
    /// The relations that were described since the first transaction in progress began, outside of
    /// those that still are.
    latest_relations: HashMap<Oid, Description>,
    /// How many descriptions have come.
    sequence: u64,
    /// The furthest position of a message in a block.
    max_wal_start: Lsn,
}

impl Spool {
    /// Makes an empty spool.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Spool`] if no temporary file can be made: better before the first large
    /// transaction than amid it.
    pub fn new(options: &SpoolOptions) -> Result<Self> {
        SpoolFile::create(&options.folder)?;
        Ok(Self {
            folder: options.folder.clone(),
            pool: BlockPool::new(options.memory),
            waiting: HashMap::new(),
            receiving: None,
            replay: None,
            in_transaction: false,
            latest_relations: HashMap::new(),
            sequence: 0,
            max_wal_start: Lsn::INVALID,
        })
    }

    /// Returns the form of messages outside of blocks.
    pub const CONTEXT: ParseContext = ParseContext::new(2);

    /// The form of messages within a block.
    const IN_BLOCK: ParseContext = ParseContext {
        in_stream_block: true,
        ..Self::CONTEXT
    };

    /// Returns whether the stream is within a block: what comes next is for [`Spool::receive`].
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
    /// has no range in a block.
    #[inline]
    pub fn receive(&mut self, wal_start: Lsn, data: &[u8]) -> Result<Option<Lsn>> {
        let Some(transaction) = &mut self.receiving else {
            return Err(protocol_violation(
                "went on with a block that it had not begun",
            ));
        };
        match Streamed::peek(data).map_err(malformed_message)? {
            Streamed::Change(_) => {
                self.max_wal_start = self.max_wal_start.max(wal_start);
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
                self.sequence += 1;
                if !transaction.describe((is_relation, oid), content, self.sequence) {
                    return Ok(None);
                }
            }
            Streamed::Stop => {
                if let Some(transaction) = self.receiving.take() {
                    self.waiting.insert(transaction.xid().as_u32(), transaction);
                }
                return Ok(Some(self.max_wal_start));
            }
        }
        self.append_to_new_block(wal_start, data)?;
        Ok(None)
    }

    #[cold]
    fn append_to_new_block(&mut self, wal_start: Lsn, data: &[u8]) -> Result<()> {
        let Some(transaction) = &mut self.receiving else {
            return Ok(());
        };
        if transaction.append(wal_start, data) {
            return Ok(());
        }
        let size = HEADER + data.len();
        if self.pool.is_oversized(size) {
            return transaction.append_to_file(wal_start, data, &self.folder, &mut self.pool);
        }
        let size = size.max(self.pool.block_size(transaction.block_count()));
        let block = loop {
            if let Some(block) = self.pool.take(size) {
                break block;
            }
            let largest = self
                .waiting
                .values_mut()
                .chain(self.receiving.as_mut())
                .max_by_key(|transaction| transaction.allocated())
                .filter(|transaction| transaction.allocated() > 0);
            match largest {
                Some(largest) => largest.move_to_file(&self.folder, &mut self.pool)?,
                None => break self.pool.take_beyond_budget(size),
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
            LogicalReplicationMessage::Begin(_) => self.in_transaction = true,
            LogicalReplicationMessage::Commit(_) => self.in_transaction = false,
            LogicalReplicationMessage::Relation(relation) => {
                self.sequence += 1;
                if !self.waiting.is_empty() {
                    let description = Description {
                        sequence: self.sequence,
                        content: data.get(1..).unwrap_or_default().to_vec(),
                    };
                    self.latest_relations.insert(relation.relation, description);
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
                return Err(protocol_violation("ended a block that it had not begun"));
            }
            _ => {}
        }
        Ok(false)
    }

    fn start(&mut self, start: StreamStartMessage) -> Result<()> {
        self.refuse_within_transaction()?;
        let known = self.waiting.remove(&start.xid.as_u32());
        self.receiving = match (known, start.first_segment) {
            (None, true) => Some(Transaction::new(start.xid)),
            (Some(transaction), false) => Some(transaction),
            (None, false) => {
                return Err(protocol_violation(
                    "went on with a transaction that it had not begun",
                ));
            }
            (Some(_), true) => return Err(protocol_violation("began a transaction twice")),
        };
        Ok(())
    }

    fn abort(&mut self, abort: &StreamAbortMessage) -> Result<()> {
        self.refuse_within_transaction()?;
        if abort.xid != abort.subxid {
            // Of a subtransaction nothing need have been sent.
            if let Some(transaction) = self.waiting.get_mut(&abort.xid.as_u32()) {
                transaction.abort(abort.subxid);
            }
        } else if let Some(transaction) = self.waiting.remove(&abort.xid.as_u32()) {
            log_spooled(&transaction, "rolled back");
            transaction.release(&mut self.pool);
            self.shrink_if_idle();
        }
        Ok(())
    }

    fn commit(&mut self, commit: StreamCommitMessage, wal_start: Lsn) -> Result<()> {
        self.refuse_within_transaction()?;
        let Some(mut transaction) = self.waiting.remove(&commit.xid.as_u32()) else {
            return Err(protocol_violation(
                "committed a transaction that it had not begun",
            ));
        };
        log_spooled(&transaction, "committed");
        let newer_relations = self.merge_descriptions(transaction.take_descriptions());
        self.replay = Some(Replay::new(
            transaction,
            commit,
            wal_start,
            newer_relations,
        )?);
        Ok(())
    }

    /// Returns the relations that were described by others since a transaction described them.
    ///
    /// The server describes a relation when its description is not what it has sent last. Within a
    /// transaction in progress it keeps account of that apart, and when the transaction commits the
    /// two accounts become one. So what was sent last is what holds from then on, also where it came
    /// outside of this transaction while that was in progress: that takes a relation whose lock was
    /// given free before the end, as by the rollback of a subtransaction.
    fn merge_descriptions(
        &mut self,
        descriptions: HashMap<(bool, Oid), Description>,
    ) -> VecDeque<Vec<u8>> {
        let mut newer_relations = VecDeque::new();
        for ((is_relation, oid), description) in descriptions {
            match self.latest_relations.get(&oid) {
                _ if !is_relation => {}
                Some(other) if other.sequence > description.sequence => {
                    let mut message = Vec::new();
                    Streamed::relation(&other.content, &mut message);
                    newer_relations.push_back(message);
                }
                _ => {
                    self.latest_relations.insert(oid, description);
                }
            }
        }
        newer_relations
    }

    fn refuse_within_transaction(&self) -> Result<()> {
        if self.in_transaction {
            return Err(protocol_violation(
                "sent a part of a transaction in progress amid another one",
            ));
        }
        Ok(())
    }

    /// Gives memory back while nothing is in progress.
    fn shrink_if_idle(&mut self) {
        if self.waiting.is_empty() && self.replay.is_none() {
            self.pool.shrink();
            self.latest_relations.clear();
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
        let next = replay.advance(&mut self.pool)?;
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
            Next::Message(wal_start, range) => (*wal_start, replay.message(range)?, Self::IN_BLOCK),
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
            replay.release(&mut self.pool);
        }
        self.shrink_if_idle();
    }

    /// Returns the number of bytes that are allocated for what is kept.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.pool.allocated()
    }
}

/// Says of a transaction that went to disk how large it was.
fn log_spooled(transaction: &Transaction, end: &str) {
    if transaction.is_on_disk() {
        info!(
            xid = transaction.xid().as_u32(),
            messages = transaction.messages(),
            bytes = transaction.bytes(),
            "a large transaction was kept in a temporary file until it was {end}"
        );
    }
}

fn nothing_to_replay() -> Error {
    Error::new(ErrorKind::Internal, "no transaction is being replayed")
}

fn protocol_violation(what: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("the server {what}"))
}
