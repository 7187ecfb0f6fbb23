//! The temporary file of a transaction that does not fit in memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::thread;

use super::file_reader::SpoolFileReader;
use crate::error::{Error, ErrorKind, Result};

/// Temporary file with blocks of a transaction, in the order in which they were appended.
///
/// The file has no name, so its space is freed when it is closed or the process ends. Writes block
/// the thread. They cost little, since blocks are large and go to the page cache; a disk that is
/// too slow applies backpressure to the server, as intended.
#[derive(Debug)]
pub(super) struct SpoolFile {
    file: File,
    /// Sizes of the blocks.
    sizes: VecDeque<usize>,
}

impl SpoolFile {
    /// Creates a file in a folder.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Spool`].
    pub(super) fn create(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(|error| {
            Error::new(
                ErrorKind::Spool,
                format!(
                    "a temporary file for transactions in progress cannot be created in {}",
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

    /// Appends a block, given as consecutive parts.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Spool`].
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

    /// Returns a reader of all blocks, from the first.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Spool`], before any block was read.
    pub(super) fn into_reader(self) -> Result<SpoolFileReader> {
        SpoolFileReader::start(self.file, self.sizes)
    }

    /// Closes the file on another thread: freeing 10 GB on disk may take a second.
    pub(super) fn discard(self) {
        let file = self.file;
        // If no thread can be started, the closure is dropped, which closes the file at once.
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
