//! Reads the temporary file of a transaction that has committed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::memory::Memory;
use crate::error::{Error, ErrorKind, Result};

/// Blocks of a transaction, on their way back from disk.
///
/// They are read on a thread of their own, one ahead of what is replayed: by then the server has
/// nothing more to do for the transaction, and whatever is not done beside the replay is waited for.
/// The thread ends, and with it the file, when this is dropped.
#[derive(Debug)]
pub(super) struct ReadBack {
    /// The sizes of the blocks that were not asked for yet.
    sizes: VecDeque<usize>,
    /// Whether a block was asked for that was not taken yet.
    asked: bool,
    /// Takes memory to read a block to, which is as long as the block is to be.
    requests: Sender<Vec<u8>>,
    blocks: Receiver<io::Result<Vec<u8>>>,
}

impl ReadBack {
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
        let (requests, asked) = channel::<Vec<u8>>();
        let (read, blocks) = channel();
        thread::Builder::new()
            .name("read back".to_owned())
            .spawn(move || {
                for mut block in asked {
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
            asked: false,
            requests,
            blocks,
        })
    }

    /// Returns the next block, if there is one, in exchange for one that is not needed any more.
    pub(super) fn next(
        &mut self,
        mut used: Vec<u8>,
        memory: &mut Memory,
    ) -> Result<Option<Vec<u8>>> {
        if !self.asked {
            let Some(size) = self.sizes.pop_front() else {
                memory.give(used);
                return Ok(None);
            };
            self.ask(std::mem::take(&mut used), size, memory)?;
        }
        let block = self.blocks.recv().map_err(|_| unreadable(None))?;
        let block = block.map_err(|error| unreadable(Some(error)))?;
        self.asked = false;
        match self.sizes.pop_front_if(|size| memory.is_usual(*size)) {
            Some(size) => self.ask(used, size, memory)?,
            // Two of those that are a single large row would be much memory.
            None => memory.give(used),
        }
        Ok(Some(block))
    }

    fn ask(&mut self, used: Vec<u8>, size: usize, memory: &mut Memory) -> Result<()> {
        let mut block = used;
        // The memory of a single large row is not for what is small.
        let is_too_large = memory.is_usual(size) && !memory.is_usual(block.capacity());
        if block.capacity() < size || is_too_large {
            memory.give(block);
            block = memory.take_anyway(size);
        }
        // Memory that held a block before keeps what it holds until it is read over.
        block.resize(size, 0);
        self.asked = true;
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
    use super::super::file::Overflow;
    use super::*;

    fn file(blocks: &[&[&[u8]]]) -> Overflow {
        let mut file = Overflow::create(&std::env::temp_dir()).unwrap();
        for block in blocks {
            file.append(block).unwrap();
        }
        file
    }

    #[test]
    fn blocks_are_read_as_they_were_written() {
        let mut memory = Memory::new(1024);
        // Some are larger than what is read ahead.
        let large = vec![b'x'; 5000];
        let blocks: [&[&[u8]]; 6] = [
            &[b"first"],
            &[b"in ", b"parts"],
            &[],
            &[&large],
            &[&large],
            &[b"end"],
        ];
        let mut reading = file(&blocks).read_back().unwrap();
        let mut block = Vec::new();
        for due in blocks {
            block = reading.next(block, &mut memory).unwrap().unwrap();
            assert_eq!(block, due.concat());
            assert!(
                memory.allocated() <= 5000 + 1024,
                "one large block at a time"
            );
        }
        assert!(reading.next(block, &mut memory).unwrap().is_none());
        assert!(memory.allocated() <= 1024, "memory is given back");
    }

    #[test]
    fn one_block_of_the_usual_size_is_read_ahead() {
        let mut memory = Memory::new(1024 * 1024);
        let usual = vec![b'x'; memory.size_of_block(2)];
        let parts: [&[u8]; 1] = [&usual];
        let blocks: [&[&[u8]]; 9] = [&parts; 9];
        let mut reading = file(&blocks).read_back().unwrap();
        let mut block = Vec::new();
        for read in 1..=9 {
            block = reading.next(block, &mut memory).unwrap().unwrap();
            assert_eq!(reading.asked, read < 9, "the next one");
            assert!(memory.allocated() <= 2 * usual.len());
        }
    }

    #[test]
    fn a_file_that_has_lost_its_end_is_an_error() {
        let mut cut = file(&[&[b"first"]]);
        cut.cut(3);
        let mut reading = cut.read_back().unwrap();
        let mut memory = Memory::new(1024);
        for _ in 0..2 {
            let error = reading.next(Vec::new(), &mut memory).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io);
        }
    }
}
