//! Reading the temporary file of a transaction that has committed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::block_pool::BlockPool;
use crate::error::{Error, ErrorKind, Result};

/// Reader of a spool file, which reads one block ahead of the replay.
///
/// A thread of its own reads the file, because the server has sent the whole transaction by now:
/// time that the replay spends waiting for the disk delays the stream. Dropping the reader ends the
/// thread and closes the file.
#[derive(Debug)]
pub(super) struct SpoolFileReader {
    /// Sizes of the blocks that were not requested yet.
    sizes: VecDeque<usize>,
    /// Whether a block was requested and not received yet.
    is_requested: bool,
    /// Sends a buffer to the thread, whose length is the size of the block to read into it.
    requests: Sender<Vec<u8>>,
    /// Receives the blocks that the thread has read.
    blocks: Receiver<io::Result<Vec<u8>>>,
}

impl SpoolFileReader {
    /// Starts the thread that reads the blocks of a file, from the first.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Spool`] if no thread can be started, or the file cannot be rewound.
    pub(super) fn start(mut file: File, sizes: VecDeque<usize>) -> Result<Self> {
        let cannot_start = |error| {
            Error::new(
                ErrorKind::Spool,
                "the temporary file of a transaction cannot be read",
            )
            .with_source(error)
        };
        file.rewind().map_err(cannot_start)?;
        let (requests, requested) = channel::<Vec<u8>>();
        let (read, blocks) = channel();
        thread::Builder::new()
            .name("spool reader".to_owned())
            .spawn(move || {
                for mut block in requested {
                    let result = file.read_exact(&mut block).map(|()| block);
                    // The bytes after an unreadable part would be mistaken for the block.
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

    /// Returns the next block, or `None` at the end of the file. Takes over the memory of the block
    /// before it, `used`.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Io`].
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
        match self
            .sizes
            .pop_front_if(|size| pool.fits_regular_block(*size))
        {
            Some(size) => self.request(used, size, pool)?,
            // A larger block is a single large row. It is not read ahead: two of them would take
            // too much memory.
            None => pool.put_back(used),
        }
        Ok(Some(block))
    }

    /// Requests a block of this size from the thread, to be read into `used` if that fits.
    fn request(&mut self, used: Vec<u8>, size: usize, pool: &mut BlockPool) -> Result<()> {
        let mut block = used;
        // The memory of a single large row is not reused for a regular block.
        let wastes_memory =
            pool.fits_regular_block(size) && !pool.fits_regular_block(block.capacity());
        if block.capacity() < size || wastes_memory {
            pool.put_back(block);
            block = pool.take_beyond_budget(size);
        }
        // The bytes of an earlier block stay in place until they are overwritten.
        block.resize(size, 0);
        self.is_requested = true;
        self.requests.send(block).map_err(|_| unreadable(None))
    }
}

/// Makes the error for a block that cannot be read. The transaction cannot be completed without it:
/// the capture starts again from its last checkpoint, and the server sends the transaction again.
fn unreadable(source: Option<io::Error>) -> Error {
    let error = Error::new(
        ErrorKind::Io,
        "a transaction cannot be read from its temporary file",
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
