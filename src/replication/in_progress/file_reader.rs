//! Reads the temporary file of a transaction that has committed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::block_pool::BlockPool;
use crate::error::{Error, ErrorKind, Result};

/// Blocks of a transaction, on their way back from disk.
///
/// They are read on a thread of their own, one ahead of what is replayed: by then the server has
/// nothing more to do for the transaction, and whatever is not done beside the replay is waited for.
/// The thread ends, and with it the file, when this is dropped.
#[derive(Debug)]
pub(super) struct SpoolFileReader {
    /// The sizes of the blocks that were not asked for yet.
    sizes: VecDeque<usize>,
    /// Whether a block was asked for that was not taken yet.
    is_requested: bool,
    /// Takes memory to read a block to, which is as long as the block is to be.
    requests: Sender<Vec<u8>>,
    blocks: Receiver<io::Result<Vec<u8>>>,
}

impl SpoolFileReader {
    /// Gets ready to read the blocks of a file, from the first.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Spool`] if the system has no thread to give, or cannot read the file from
    /// its start.
    pub(super) fn start(mut file: File, sizes: VecDeque<usize>) -> Result<Self> {
        let cannot_start = |error| {
            Error::new(
                ErrorKind::Spool,
                "the temporary file of a transaction cannot be read back",
            )
            .with_source(error)
        };
        file.rewind().map_err(cannot_start)?;
        let (requests, requested) = channel::<Vec<u8>>();
        let (read, blocks) = channel();
        thread::Builder::new()
            .name("read back".to_owned())
            .spawn(move || {
                for mut block in requested {
                    let result = file.read_exact(&mut block).map(|()| block);
                    // What comes behind a part that cannot be read would be taken for it.
                    let failed = result.is_err();
                    if read.send(result).is_err() || failed {
                        break;
                    }
                }
            })
            .map_err(cannot_start)?;
        Ok(Self {
            sizes,
            is_requested: false,
            requests,
            blocks,
        })
    }

    /// Returns the next block, if there is one, in exchange for one that is not needed any more.
    pub(super) fn next(
        &mut self,
        mut used: Vec<u8>,
        pool: &mut BlockPool,
    ) -> Result<Option<Vec<u8>>> {
        if !self.is_requested {
            let Some(size) = self.sizes.pop_front() else {
                pool.put_back(used);
                return Ok(None);
            };
            self.request(std::mem::take(&mut used), size, pool)?;
        }
        let block = self.blocks.recv().map_err(|_| unreadable(None))?;
        let block = block.map_err(|error| unreadable(Some(error)))?;
        self.is_requested = false;
        match self.sizes.pop_front_if(|size| pool.is_regular_size(*size)) {
            Some(size) => self.request(used, size, pool)?,
            // Two of those that are a single large row would be much pool.
            None => pool.put_back(used),
        }
        Ok(Some(block))
    }

    fn request(&mut self, used: Vec<u8>, size: usize, pool: &mut BlockPool) -> Result<()> {
        let mut block = used;
        // The memory of a single large row is not for what is small.
        let is_oversized = pool.is_regular_size(size) && !pool.is_regular_size(block.capacity());
        if block.capacity() < size || is_oversized {
            pool.put_back(block);
            block = pool.take_beyond_budget(size);
        }
        // Memory that held a block before keeps what it holds until it is read over.
        block.resize(size, 0);
        self.is_requested = true;
        self.requests.send(block).map_err(|_| unreadable(None))
    }
}

/// In the middle of a transaction there is no going on without what cannot be read: the capture
/// starts again from its last checkpoint, and gets the transaction anew.
fn unreadable(source: Option<io::Error>) -> Error {
    let error = Error::new(
        ErrorKind::Io,
        "a transaction cannot be read back from its temporary file",
    );
    match source {
        Some(source) => error.with_source(source),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Makes a reader of a file with these bytes, which is to be read in blocks of these sizes.
    fn reader(bytes: &[u8], sizes: &[usize]) -> SpoolFileReader {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        SpoolFileReader::start(file, sizes.iter().copied().collect()).unwrap()
    }

    #[test]
    fn one_block_of_regular_size_is_read_ahead() {
        let mut pool = BlockPool::new(1024 * 1024);
        let size = pool.block_size(2);
        let mut reader = reader(&vec![b'x'; 9 * size], &[size; 9]);
        let mut block = Vec::new();
        for number in 1..=9 {
            block = reader.next(block, &mut pool).unwrap().unwrap();
            assert_eq!(reader.is_requested, number < 9, "the next block");
            assert!(pool.allocated() <= 2 * size);
        }
    }

    #[test]
    fn a_truncated_file_is_an_error() {
        let mut reader = reader(b"fir", &[5]);
        let mut pool = BlockPool::new(1024);
        for _ in 0..2 {
            let error = reader.next(Vec::new(), &mut pool).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io);
        }
    }
}
