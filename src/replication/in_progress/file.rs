//! The temporary file of a transaction that is too large for memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::thread;

use super::read_back::ReadBack;
use crate::error::{Error, ErrorKind, Result};

/// Blocks of a transaction on disk, in the order in which they were written.
///
/// The file has no name, so that its space is free again once it is closed, whatever happens. It is
/// written while nothing else is done on this thread. That costs little: blocks are large and go to
/// the system's cache, and a disk that cannot keep up holds back the server, as it should.
#[derive(Debug)]
pub(super) struct Overflow {
    file: File,
    /// The sizes of the blocks.
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

    /// Reads all blocks, from the first.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Spool`], before anything was read.
    pub(super) fn read_back(self) -> Result<ReadBack> {
        ReadBack::start(self.file, self.sizes)
    }

    /// Loses what is behind so many bytes.
    #[cfg(test)]
    pub(super) fn cut(&mut self, bytes: u64) {
        self.file.set_len(bytes).unwrap();
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

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = Overflow::create(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Spool);
        assert!(error.to_string().ends_with("/nowhere/at/all"), "{error}");
    }
}
