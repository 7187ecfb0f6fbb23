//! The messages of a transaction in progress that were received so far.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::Path;

use protocol::{Lsn, Oid, Xid};

use super::block_pool::BlockPool;
use super::file::SpoolFile;
use crate::error::Result;

/// Size of the header before each message: the length and the position of the message.
pub(super) const HEADER_SIZE: usize = 4 + 8;

/// Spooled messages of a transaction in progress.
pub(super) struct Transaction {
    xid: Xid,
    /// Messages after those in `file`, oldest first. No message spans two blocks.
    blocks: VecDeque<Vec<u8>>,
    file: Option<SpoolFile>,
    /// Subtransactions that were rolled back. There can be many: they take four bytes each here,
    /// and some hundred bytes each on the server.
    aborted: Vec<u32>,
    /// Last description of each relation (`true`) and type (`false`).
    descriptions: HashMap<(bool, Oid), Description>,
    /// Allocated bytes of `blocks`.
    allocated: usize,
    /// Number of blocks that were added.
    block_count: usize,
    messages: u64,
    bytes: u64,
}

/// Description of a relation or a type.
#[derive(Debug)]
pub(super) struct Description {
    /// Position in the order in which all descriptions were received.
    pub(super) sequence: u64,
    /// Message without its tag and transaction id.
    pub(super) content: Vec<u8>,
}

impl Transaction {
    pub(super) fn new(xid: Xid) -> Self {
        Self {
            xid,
            blocks: VecDeque::new(),
            file: None,
            aborted: Vec::new(),
            descriptions: HashMap::new(),
            allocated: 0,
            block_count: 0,
            messages: 0,
            bytes: 0,
        }
    }

    pub(super) fn xid(&self) -> Xid {
        self.xid
    }

    /// Returns the number of allocated bytes.
    pub(super) fn allocated(&self) -> usize {
        self.allocated
    }

    /// Returns the number of messages.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Returns the size of all messages with their headers.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends a message to the last block. Returns false if the block has no room for it.
    #[inline]
    pub(super) fn append(&mut self, wal_start: Lsn, message: &[u8]) -> bool {
        let Some(block) = self.blocks.back_mut() else {
            return false;
        };
        let size = HEADER_SIZE + message.len();
        if block.capacity() - block.len() < size {
            return false;
        }
        block.extend_from_slice(&header(wal_start, message));
        block.extend_from_slice(message);
        self.messages += 1;
        self.bytes += size as u64;
        true
    }

    /// Adds an empty block.
    pub(super) fn add_block(&mut self, block: Vec<u8>) {
        self.allocated += block.capacity();
        self.block_count += 1;
        self.blocks.push_back(block);
    }

    /// Returns the number of blocks that were added.
    pub(super) fn block_count(&self) -> usize {
        self.block_count
    }

    /// Writes all blocks to the file, and releases their memory.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Spool`](crate::error::ErrorKind::Spool).
    pub(super) fn move_to_file(&mut self, folder: &Path, pool: &mut BlockPool) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(SpoolFile::create(folder)?),
        };
        while let Some(block) = self.blocks.pop_front() {
            self.allocated -= block.capacity();
            let written = file.append(&[&block]);
            pool.put_back(block);
            written?;
        }
        Ok(())
    }

    /// Writes a message to the file after all others, without copying it to memory.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Spool`](crate::error::ErrorKind::Spool).
    pub(super) fn append_to_file(
        &mut self,
        wal_start: Lsn,
        message: &[u8],
        folder: &Path,
        pool: &mut BlockPool,
    ) -> Result<()> {
        self.move_to_file(folder, pool)?;
        if let Some(file) = &mut self.file {
            file.append(&[&header(wal_start, message), message])?;
        }
        self.messages += 1;
        self.bytes += (HEADER_SIZE + message.len()) as u64;
        Ok(())
    }

    /// Records a description. Returns whether it differs from the last one: after the rollback of a
    /// subtransaction the server describes each relation again.
    pub(super) fn describe(&mut self, key: (bool, Oid), content: &[u8], sequence: u64) -> bool {
        let description = self.descriptions.entry(key).or_insert_with(|| Description {
            sequence,
            content: Vec::new(),
        });
        description.sequence = sequence;
        if description.content == content {
            return false;
        }
        description.content.clear();
        description.content.extend_from_slice(content);
        true
    }

    /// Records that a subtransaction was rolled back.
    pub(super) fn abort(&mut self, subxid: Xid) {
        self.aborted.push(subxid.as_u32());
    }

    /// Prepares for [`Transaction::is_aborted`], once the transaction has committed.
    pub(super) fn complete(&mut self) {
        self.aborted.sort_unstable();
    }

    /// Returns whether a subtransaction was rolled back.
    pub(super) fn is_aborted(&self, xid: Xid) -> bool {
        self.aborted.binary_search(&xid.as_u32()).is_ok()
    }

    /// Returns whether a part of the transaction was written to a file.
    pub(super) fn is_on_disk(&self) -> bool {
        self.file.is_some()
    }

    /// Takes the file. Its messages precede those of all blocks in memory.
    pub(super) fn take_file(&mut self) -> Option<SpoolFile> {
        self.file.take()
    }

    /// Takes the oldest block in memory.
    pub(super) fn take_block(&mut self) -> Option<Vec<u8>> {
        self.blocks.pop_front()
    }

    /// Takes the last descriptions of relations and types.
    pub(super) fn take_descriptions(&mut self) -> HashMap<(bool, Oid), Description> {
        std::mem::take(&mut self.descriptions)
    }

    /// Releases memory and file.
    pub(super) fn release(self, pool: &mut BlockPool) {
        for block in self.blocks {
            pool.put_back(block);
        }
        if let Some(file) = self.file {
            file.discard();
        }
    }
}

/// Returns the header of a message. Its length fits in four bytes, since the protocol has signed
/// lengths of four bytes.
fn header(wal_start: Lsn, message: &[u8]) -> [u8; HEADER_SIZE] {
    let mut header = [0; HEADER_SIZE];
    let size = u32::try_from(message.len()).unwrap_or(u32::MAX);
    header[..4].copy_from_slice(&size.to_le_bytes());
    header[4..].copy_from_slice(&wal_start.as_u64().to_le_bytes());
    header
}

/// Leaves out the messages, which contain values of rows.
impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("xid", &self.xid)
            .field("messages", &self.messages)
            .field("bytes", &self.bytes)
            .field("allocated", &self.allocated)
            .field("file", &self.file)
            .field("aborted", &self.aborted.len())
            .finish_non_exhaustive()
    }
}
