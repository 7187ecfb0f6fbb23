//! The temporary file of a transaction that is too large for memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// Blocks of a transaction on disk, in the order in which they were written.
///
/// The file has no name, so that its space is free again once it is closed, whatever happens. It is
/// written and read while nothing else is done on this thread. That costs little: blocks are large
/// and go to the system's cache, and a disk that cannot keep up holds back the server, as it should.
#[derive(Debug)]
pub(super) struct Overflow {
    file: File,
    /// The sizes of the blocks that were not read back yet.
    sizes: VecDeque<usize>,
}

impl Overflow {
    /// Makes a file in a folder.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(|error| {
            Error::new(
                ErrorKind::Spool,
                format!(
                    "no temporary file can be made in {}",
                    folder.to_string_lossy()
                ),
            )
            .with_source(error)
        })?;
        Ok(Self {
            file,
            sizes: VecDeque::new(),
        })
    }

    /// Appends a block that comes in parts.
    pub(super) fn append(&mut self, parts: &[&[u8]]) -> Result<()> {
        for part in parts {
            self.file.write_all(part).map_err(|error| {
                Error::new(
                    ErrorKind::Spool,
                    "a transaction in progress cannot be written to a temporary file",
                )
                .with_source(error)
            })?;
        }
        self.sizes
            .push_back(parts.iter().map(|part| part.len()).sum());
        Ok(())
    }

    /// Goes back to the first block, to read them all.
    pub(super) fn rewind(&mut self) -> Result<()> {
        self.file.rewind().map_err(unreadable)
    }

    /// Returns the size of the next block to be read.
    pub(super) fn next_size(&self) -> Option<usize> {
        self.sizes.front().copied()
    }

    /// Reads the next block in place of what `block` holds.
    pub(super) fn read(&mut self, block: &mut Vec<u8>) -> Result<()> {
        block.clear();
        let Some(size) = self.sizes.pop_front() else {
            return Ok(());
        };
        let limit = u64::try_from(size).unwrap_or(u64::MAX);
        let read = (&self.file).take(limit).read_to_end(block);
        if read.map_err(unreadable)? < size {
            return Err(unreadable(std::io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }
}

/// In the middle of a transaction there is no going on without what cannot be read: the capture
/// starts again from its last checkpoint, and gets the transaction anew.
fn unreadable(error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::Io,
        "a transaction cannot be read back from its temporary file",
    )
    .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_as_they_were_written() {
        let mut file = Overflow::create(&std::env::temp_dir()).unwrap();
        file.append(&[b"first"]).unwrap();
        file.append(&[b"in ", b"parts"]).unwrap();
        file.append(&[]).unwrap();
        file.rewind().unwrap();
        let mut block = b"old".to_vec();
        for due in [&b"first"[..], b"in parts", b""] {
            assert_eq!(file.next_size(), Some(due.len()));
            file.read(&mut block).unwrap();
            assert_eq!(block, due);
        }
        assert_eq!(file.next_size(), None);
    }

    #[test]
    fn a_file_that_has_lost_its_end_is_an_error() {
        let mut file = Overflow::create(&std::env::temp_dir()).unwrap();
        file.append(&[b"first"]).unwrap();
        file.file.set_len(3).unwrap();
        file.rewind().unwrap();
        let error = file.read(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = Overflow::create(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Spool);
        assert!(error.to_string().ends_with("/nowhere/at/all"), "{error}");
    }
}
