//! The temporary file of a transaction that is too large for memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::thread;

use super::file_reader::SpoolFileReader;
use crate::error::{Error, ErrorKind, Result};

/// Blocks of a transaction on disk, in the order in which they were written.
///
/// The file has no name, so that its space is free again once it is closed, whatever happens. It is
/// written while nothing else is done on this thread. That costs little: blocks are large and go to
/// the system's cache, and a disk that cannot keep up holds back the server, as it should.
#[derive(Debug)]
pub(super) struct SpoolFile {
    file: File,
    /// The sizes of the blocks.
    sizes: VecDeque<usize>,
}

impl SpoolFile {
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

    /// Reads all blocks, from the first.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Spool`], before anything was read.
    pub(super) fn into_reader(self) -> Result<SpoolFileReader> {
        SpoolFileReader::start(self.file, self.sizes)
    }

    /// Closes the file by the way: to free what it took on disk may take a second for 10 GB.
    pub(super) fn discard(self) {
        let file = self.file;
        // Where there is no thread to be had, it is closed at once.
        let _ = thread::Builder::new()
            .name("discard".to_owned())
            .spawn(move || drop(file));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::in_progress::block_pool::BlockPool;

    #[test]
    fn blocks_are_read_as_they_were_written() {
        let mut pool = BlockPool::new(1024);
        // Larger than a block of regular size, so that it is not read ahead.
        let large = vec![b'x'; 5000];
        let blocks: [&[&[u8]]; 6] = [
            &[b"first"],
            &[b"in ", b"parts"],
            &[],
            &[&large],
            &[&large],
            &[b"end"],
        ];
        let mut file = SpoolFile::create(&std::env::temp_dir()).unwrap();
        for block in blocks {
            file.append(block).unwrap();
        }
        let mut reader = file.into_reader().unwrap();
        let mut block = Vec::new();
        for expected in blocks {
            block = reader.next(block, &mut pool).unwrap().unwrap();
            assert_eq!(block, expected.concat());
            assert!(pool.allocated() <= 5000 + 1024, "one large block at a time");
        }
        assert!(reader.next(block, &mut pool).unwrap().is_none());
        assert!(pool.allocated() <= 1024, "memory is given back");
    }

    #[test]
    fn a_missing_folder_is_named_in_the_error() {
        let error = SpoolFile::create(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Spool);
        assert!(error.to_string().ends_with("/nowhere/at/all"), "{error}");
    }
}
