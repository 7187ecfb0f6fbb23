//! Replay of a spooled transaction that has committed.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use protocol::{Lsn, StreamCommitMessage, Streamed, Xid};

use super::block_pool::BlockPool;
use super::file::SpoolFile;
use super::file_reader::SpoolFileReader;
use super::transaction::{HEADER_SIZE, Transaction};
use crate::error::{Error, ErrorKind, Result};

/// Transaction that is being replayed.
pub(super) struct Replay {
    transaction: Transaction,
    /// Blocks on disk, which precede those in memory.
    file: Option<SpoolFileReader>,
    pub(super) commit: StreamCommitMessage,
    /// Position of the message that reports the commit.
    pub(super) wal_start: Lsn,
    has_begun: bool,
    /// Current block.
    block: Vec<u8>,
    /// Offset of the next message in the block.
    offset: usize,
    /// Last subtransaction that was looked up, with whether it was rolled back.
    last_checked: Option<(Xid, bool)>,
    /// Descriptions of relations that were received after those in this transaction.
    newer_relations: VecDeque<Vec<u8>>,
    /// Current one of these.
    description: Vec<u8>,
}

/// Next item of a replay.
pub(super) enum Next {
    Begin,
    /// A spooled message; [`Replay::message`] returns it.
    Message(Lsn, Range<usize>),
    /// A description of a relation; [`Replay::description`] returns it.
    Description,
    Commit,
}

impl Replay {
    /// Starts the replay of a transaction.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Spool`] if the temporary file cannot be read.
    pub(super) fn new(
        mut transaction: Transaction,
        commit: StreamCommitMessage,
        wal_start: Lsn,
        newer_relations: VecDeque<Vec<u8>>,
    ) -> Result<Self> {
        transaction.complete();
        let file = transaction.take_file().map(SpoolFile::into_reader);
        Ok(Self {
            transaction,
            file: file.transpose()?,
            commit,
            wal_start,
            has_begun: false,
            block: Vec::new(),
            offset: 0,
            last_checked: None,
            newer_relations,
            description: Vec::new(),
        })
    }

    /// Advances to the next item, leaving out changes that were rolled back. The commit is the last
    /// item.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Io`] if the temporary file cannot be read.
    #[inline]
    pub(super) fn advance(&mut self, pool: &mut BlockPool) -> Result<Next> {
        if !self.has_begun {
            self.has_begun = true;
            return Ok(Next::Begin);
        }
        while self.offset < self.block.len() || self.next_block(pool)? {
            let (wal_start, size) = self.header()?;
            let from = self.offset + HEADER_SIZE;
            self.offset = from + size;
            let xid = match Streamed::peek(self.message(&(from..self.offset))?) {
                Ok(Streamed::Change(xid)) => Some(xid),
                _ => None,
            };
            if !xid.is_some_and(|xid| self.is_aborted(xid)) {
                return Ok(Next::Message(wal_start, from..self.offset));
            }
        }
        if let Some(description) = self.newer_relations.pop_front() {
            self.description = description;
            return Ok(Next::Description);
        }
        Ok(Next::Commit)
    }

    /// Returns the message at this range of the current block.
    #[inline]
    pub(super) fn message(&self, range: &Range<usize>) -> Result<&[u8]> {
        self.block.get(range.clone()).ok_or_else(damaged)
    }

    /// Returns the current description of a relation, in the form it has outside stream blocks.
    pub(super) fn description(&self) -> &[u8] {
        &self.description
    }

    /// Returns whether a subtransaction was rolled back. The last answer is cached, since
    /// consecutive changes are mostly of one subtransaction.
    #[inline]
    fn is_aborted(&mut self, xid: Xid) -> bool {
        match self.last_checked {
            Some((known, aborted)) if known == xid => aborted,
            _ => {
                let aborted = self.transaction.is_aborted(xid);
                self.last_checked = Some((xid, aborted));
                aborted
            }
        }
    }

    /// Returns position and length of the next message.
    fn header(&self) -> Result<(Lsn, usize)> {
        let header: Option<&[u8; HEADER_SIZE]> =
            self.block.get(self.offset..).and_then(<[u8]>::first_chunk);
        let [a, b, c, d, position @ ..] = header.ok_or_else(damaged)?;
        let size = u32::from_le_bytes([*a, *b, *c, *d]);
        let size = usize::try_from(size).map_err(|_| damaged())?;
        Ok((Lsn::from(u64::from_le_bytes(*position)), size))
    }

    /// Advances to the next block that is not empty. Returns whether there is one.
    fn next_block(&mut self, pool: &mut BlockPool) -> Result<bool> {
        self.offset = 0;
        while let Some(file) = &mut self.file {
            let Some(block) = file.next(std::mem::take(&mut self.block), pool)? else {
                // Closes the file, which frees its space on disk.
                self.file = None;
                break;
            };
            self.block = block;
            if !self.block.is_empty() {
                return Ok(true);
            }
        }
        while let Some(block) = self.transaction.take_block() {
            pool.put_back(std::mem::replace(&mut self.block, block));
            if !self.block.is_empty() {
                return Ok(true);
            }
        }
        pool.put_back(std::mem::take(&mut self.block));
        Ok(false)
    }

    /// Releases memory and file.
    pub(super) fn release(self, pool: &mut BlockPool) {
        pool.put_back(self.block);
        self.transaction.release(pool);
    }
}

fn damaged() -> Error {
    Error::new(
        ErrorKind::Io,
        "a spooled transaction is damaged: the length of a message does not match its block",
    )
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("transaction", &self.transaction)
            .field("commit", &self.commit)
            .finish_non_exhaustive()
    }
}
