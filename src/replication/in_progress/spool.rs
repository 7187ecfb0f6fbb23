//! The spool: storage of transactions in progress, and their replay after the commit.

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
use super::transaction::{Description, HEADER_SIZE, Transaction};
use crate::error::{Error, ErrorKind, Result};
use crate::replication::error::malformed_message;

/// Limits and location of a [`Spool`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolOptions {
    /// Limit of memory in bytes, for all transactions together.
    pub memory: usize,
    /// Folder for temporary files, which take what exceeds that limit.
    pub folder: PathBuf,
}

impl Default for SpoolOptions {
    /// Returns a limit that is enough for a transaction of some hundred thousand rows, and little
    /// of the memory of a container.
    fn default() -> Self {
        Self {
            memory: 32 * 1024 * 1024,
            folder: std::env::temp_dir(),
        }
    }
}

/// Store of transactions in progress, which replays each after its commit.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    pool: BlockPool,
    /// Transactions in progress by id, except the one in `receiving`.
    waiting: HashMap<u32, Transaction>,
    /// Transaction whose stream block is being received.
    receiving: Option<Transaction>,
    replay: Option<Replay>,
    /// Whether the stream is between Begin and Commit of a transaction that was sent after its
    /// commit.
    in_transaction: bool,
    /// Last description of each relation outside the transactions in progress, since the first of
    /// these began.
    latest_relations: HashMap<Oid, Description>,
    /// Number of descriptions that were received.
    sequence: u64,
    /// Highest position of a change in a stream block.
    max_wal_start: Lsn,
}

impl Spool {
    /// Form of messages outside stream blocks.
    pub const CONTEXT: ParseContext = ParseContext::new(2);

    /// Form of messages within a stream block.
    const IN_BLOCK: ParseContext = ParseContext {
        in_stream_block: true,
        ..Self::CONTEXT
    };

    /// Makes an empty spool.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Spool`] if no temporary file can be created. This is checked here
    /// rather than during the first large transaction.
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

    /// Returns whether the stream is within a stream block: the next message is for
    /// [`Spool::receive`].
    #[inline]
    pub fn is_receiving(&self) -> bool {
        self.receiving.is_some()
    }

    /// Returns whether a transaction is being replayed: [`Spool::next_message`] has a message.
    #[inline]
    pub fn is_replaying(&self) -> bool {
        self.replay.is_some()
    }

    /// Stores a message of a stream block. At the end of the stream block, returns the highest
    /// position of a change so far: the server has sent every transaction that committed before it,
    /// since it sends a change only after it has decoded its log up to there.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Spool`] if a temporary file cannot be written, and with
    /// [`ErrorKind::Protocol`] for a message that cannot be in a stream block.
    #[inline]
    pub fn receive(&mut self, wal_start: Lsn, data: &[u8]) -> Result<Option<Lsn>> {
        let Some(transaction) = &mut self.receiving else {
            return Err(protocol_violation(
                "sent a message of a stream block without StreamStart",
            ));
        };
        match Streamed::peek(data).map_err(malformed_message)? {
            Streamed::Change(_) => {
                self.max_wal_start = self.max_wal_start.max(wal_start);
                if transaction.append(wal_start, data) {
                    return Ok(None);
                }
            }
            // Each stream block begins with the origin, which is replayed once.
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

    /// Appends a message to a new block or to the file. Where the budget is used up, the
    /// transaction with the most memory moves to its file first.
    #[cold]
    fn append_to_new_block(&mut self, wal_start: Lsn, data: &[u8]) -> Result<()> {
        let Some(transaction) = &mut self.receiving else {
            return Ok(());
        };
        if transaction.append(wal_start, data) {
            return Ok(());
        }
        let size = HEADER_SIZE + data.len();
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

    /// Handles a message outside stream blocks. Returns whether it is about a transaction in
    /// progress, so that the reader of the stream ignores it.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Protocol`] if the message cannot follow the ones before it, and with
    /// [`ErrorKind::Spool`] if a committed transaction cannot be read from its temporary file,
    /// before any message of it was returned.
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
                return Err(protocol_violation("sent StreamStop without StreamStart"));
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
                    "continued a transaction in progress that it had not started",
                ));
            }
            (Some(_), true) => {
                return Err(protocol_violation(
                    "started a transaction in progress twice",
                ));
            }
        };
        Ok(())
    }

    fn abort(&mut self, abort: &StreamAbortMessage) -> Result<()> {
        self.refuse_within_transaction()?;
        if abort.xid != abort.subxid {
            // The rollback of a subtransaction is tolerated even if nothing of its transaction came.
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
                "committed a transaction in progress that it had not started",
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

    /// Merges the descriptions of a transaction that has committed into `latest_relations`. Returns
    /// the relations that were described outside the transaction after it had described them.
    ///
    /// The server describes a relation if the description differs from the last one that it has
    /// sent. It tracks that for each transaction in progress separately, and merges the records
    /// when the transaction commits. From then on the description that was sent last is valid, even
    /// if it was sent outside the transaction while that was in progress. This happens if the lock
    /// of the relation is released before the end of the transaction, as by the rollback of a
    /// subtransaction.
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
                "sent a message of a transaction in progress within another transaction",
            ));
        }
        Ok(())
    }

    /// Releases memory if no transaction is in progress.
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
    /// Fails with [`ErrorKind::Io`] if the temporary file cannot be read, with
    /// [`ErrorKind::Protocol`] if a message cannot be parsed, and with [`ErrorKind::Internal`] if
    /// no transaction is being replayed.
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

    /// Returns the number of bytes that are allocated for messages.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.pool.allocated()
    }
}

/// Logs the size of a transaction that was written to disk, and how it has ended.
fn log_spooled(transaction: &Transaction, end: &'static str) {
    if transaction.is_on_disk() {
        info!(
            xid = transaction.xid().as_u32(),
            messages = transaction.messages(),
            bytes = transaction.bytes(),
            end,
            "large transaction was spooled to a temporary file"
        );
    }
}

fn nothing_to_replay() -> Error {
    Error::new(ErrorKind::Internal, "no transaction is being replayed")
}

fn protocol_violation(what: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("the server {what}"))
}
