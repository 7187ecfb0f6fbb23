//! A transaction that has committed, on its way to the reader of the stream.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use protocol::{Lsn, StreamCommitMessage, Streamed, Xid};

use super::block_pool::BlockPool;
use super::file::SpoolFile;
use super::file_reader::SpoolFileReader;
use super::transaction::{HEADER, Transaction};
use crate::error::{Error, ErrorKind, Result};

/// A transaction that is being replayed.
pub(super) struct Replay {
    transaction: Transaction,
    /// The blocks on disk, which come first.
    file: Option<SpoolFileReader>,
    pub(super) commit: StreamCommitMessage,
    /// The position of the message that says that it has committed.
    pub(super) wal_start: Lsn,
    has_begun: bool,
    /// The block under way, and how far it is read.
    block: Vec<u8>,
    offset: usize,
    /// The last subtransaction that was asked about, and whether it was rolled back.
    last_checked: Option<(Xid, bool)>,
    /// Descriptions of relations that came from elsewhere after those which are replayed.
    newer_relations: VecDeque<Vec<u8>>,
    description: Vec<u8>,
}

/// What comes next in a replay.
pub(super) enum Next {
    Begin,
    /// A message as it was kept, which [`Replay::message`] returns.
    Message(Lsn, Range<usize>),
    /// A description of a relation, which [`Replay::description`] returns.
    Description,
    Commit,
}

impl Replay {
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

    /// Goes on to the next item that was not rolled back. The commit is the last.
    #[inline]
    pub(super) fn advance(&mut self, pool: &mut BlockPool) -> Result<Next> {
        if !self.has_begun {
            self.has_begun = true;
            return Ok(Next::Begin);
        }
        while self.offset < self.block.len() || self.next_block(pool)? {
            let (wal_start, size) = self.header()?;
            let from = self.offset + HEADER;
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

    /// Returns a message as it was kept.
    #[inline]
    pub(super) fn message(&self, range: &Range<usize>) -> Result<&[u8]> {
        self.block.get(range.clone()).ok_or_else(damaged)
    }

    /// Returns a description of a relation, as it is sent outside of transactions in progress.
    pub(super) fn description(&self) -> &[u8] {
        &self.description
    }

    /// Rows of one subtransaction come one after the other, mostly.
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

    fn header(&self) -> Result<(Lsn, usize)> {
        let header: Option<&[u8; HEADER]> =
            self.block.get(self.offset..).and_then(<[u8]>::first_chunk);
        let [a, b, c, d, position @ ..] = header.ok_or_else(damaged)?;
        let size = u32::from_le_bytes([*a, *b, *c, *d]);
        let size = usize::try_from(size).map_err(|_| damaged())?;
        Ok((Lsn::from(u64::from_le_bytes(*position)), size))
    }

    /// Takes up the next block that is not empty. Returns whether there was one.
    fn next_block(&mut self, pool: &mut BlockPool) -> Result<bool> {
        self.offset = 0;
        while let Some(file) = &mut self.file {
            let Some(block) = file.next(std::mem::take(&mut self.block), pool)? else {
                // What the file took on disk is free soon.
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

    /// Gives all memory back.
    pub(super) fn release(self, pool: &mut BlockPool) {
        pool.put_back(self.block);
        self.transaction.release(pool);
    }
}

fn damaged() -> Error {
    Error::new(
        ErrorKind::Io,
        "what was kept of a transaction is not what was written",
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
