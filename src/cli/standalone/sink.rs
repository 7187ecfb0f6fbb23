//! Sink that prints documents as lines and saves checkpoints in the state file.

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use tracing::info;

use super::state_file::StateFile;
use crate::buffer::Buffer;
use crate::capture::{Durability, Sink};
use crate::error::{Error, ErrorKind, Result};
use crate::json;

/// Buffered bytes at which documents are written out; checkpoints write them out, too.
const WRITE_SIZE: usize = 256 * 1024;
/// Largest capacity of an empty buffer; memory beyond it is freed after a large document.
const MAX_IDLE_BUFFER: usize = 4 * 1024 * 1024;
/// Shortest interval between two log lines about progress.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Destination of documents.
pub(super) trait Output: Write {
    /// Synchronises written bytes to disk, if the destination is a file.
    fn persist(&mut self) -> io::Result<()>;
}

/// Standard output. If it is a regular file, documents must be on disk before the state that covers
/// them.
#[derive(Debug)]
pub(super) struct Stdout {
    file: File,
    is_regular: bool,
}

impl Stdout {
    pub(super) fn new(file: File) -> Self {
        let is_regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
        Self { file, is_regular }
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Output for Stdout {
    fn persist(&mut self) -> io::Result<()> {
        if self.is_regular {
            self.file.sync_data()
        } else {
            Ok(())
        }
    }
}

/// Sink that prints each document as a line `["collection", {...}]`.
///
/// Documents may be printed before their checkpoint: since printed documents cannot be withdrawn,
/// holding them back until the checkpoint would gain nothing. Lines are complete, except that the
/// last line of a killed process may be cut short.
#[derive(Debug)]
pub(super) struct LineSink<W> {
    output: W,
    /// Start of the line, `["collection", `, for each binding.
    prefixes: Vec<Vec<u8>>,
    buffer: Buffer,
    /// Offset in the buffer of the document that was begun last.
    document_start: usize,
    /// Bytes of documents since the last checkpoint.
    uncommitted: u64,
    /// Documents in the buffer, which the progress report does not count yet.
    buffered_documents: u64,
    /// State file; `None` if the state is kept in memory only.
    state: Option<StateFile>,
    report: Report,
}

impl<W: Output> LineSink<W> {
    pub(super) fn new(output: W, collections: &[String], state: Option<StateFile>) -> Self {
        let prefix = |collection: &String| {
            let mut prefix = b"[".to_vec();
            json::write_str(collection, &mut prefix);
            prefix.extend_from_slice(b", ");
            prefix
        };
        Self {
            output,
            prefixes: collections.iter().map(prefix).collect(),
            buffer: Buffer::new(),
            document_start: 0,
            uncommitted: 0,
            buffered_documents: 0,
            state,
            report: Report::new(),
        }
    }

    fn write_out(&mut self) -> Result<()> {
        let result = self.output.write_all(&self.buffer);
        if result.is_ok() {
            self.report.documents += std::mem::take(&mut self.buffered_documents);
            self.report.bytes += self.buffer.len() as u64;
        }
        self.buffer.clear();
        if self.buffer.capacity() > MAX_IDLE_BUFFER {
            self.buffer.shrink_to(WRITE_SIZE);
        }
        result.map_err(write_error)
    }
}

#[cold]
fn write_error(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Error::new(
            ErrorKind::Shutdown,
            "stopped: the reader has closed standard output; the next run captures again what \
             follows the last checkpoint",
        );
    }
    Error::new(ErrorKind::Io, "writing to standard output failed").with_source(error)
}

impl<W: Output> Sink for LineSink<W> {
    fn opened(&mut self) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn begin_document(&mut self, binding: u32) {
        let prefix = usize::try_from(binding)
            .ok()
            .and_then(|index| self.prefixes.get(index));
        debug_assert!(prefix.is_some(), "a document of an unknown binding");
        self.buffer
            .extend_from_slice(prefix.map_or(&[], Vec::as_slice));
        self.document_start = self.buffer.len();
    }

    #[inline]
    fn buffer(&mut self) -> &mut Buffer {
        &mut self.buffer
    }

    #[inline]
    fn end_document(&mut self) -> Result<()> {
        let length = self.buffer.len().saturating_sub(self.document_start) as u64;
        self.uncommitted += length;
        self.buffered_documents += 1;
        self.buffer.extend_from_slice(b"]\n");
        if self.buffer.len() >= WRITE_SIZE {
            self.write_out()
        } else {
            Ok(())
        }
    }

    fn sourced_schema(&mut self, _binding: u32, _schema: &str) -> Result<()> {
        // There is no collection whose schema could be updated.
        Ok(())
    }

    fn checkpoint(&mut self, patch: &str) -> Result<Durability> {
        self.write_out()?;
        self.output.flush().map_err(write_error)?;
        if let Some(state) = &mut self.state {
            if self.uncommitted > 0 {
                self.output.persist().map_err(write_error)?;
            }
            state.commit(patch)?;
        }
        self.uncommitted = 0;
        self.report.checkpoint();
        Ok(Durability::Durable)
    }

    fn uncommitted_bytes(&self) -> u64 {
        self.uncommitted
    }
}

/// Counts of printed documents, logged for the user.
#[derive(Debug)]
struct Report {
    documents: u64,
    bytes: u64,
    checkpoints: u64,
    started: Instant,
    /// Time of the last progress line, and the number of documents at that time.
    last_report: (Instant, u64),
}

impl Report {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            documents: 0,
            bytes: 0,
            checkpoints: 0,
            started: now,
            last_report: (now, 0),
        }
    }

    fn checkpoint(&mut self) {
        self.checkpoints += 1;
        let (last_time, last_documents) = self.last_report;
        let elapsed = last_time.elapsed();
        if last_documents == self.documents || elapsed < REPORT_INTERVAL {
            return;
        }
        self.last_report = (Instant::now(), self.documents);
        info!(
            documents = self.documents,
            checkpoints = self.checkpoints,
            megabytes = self.bytes / 1_000_000,
            per_second = per_second(self.documents - last_documents, elapsed),
            "capture progress"
        );
    }
}

impl Drop for Report {
    /// Logs the totals of the run, whether it succeeds or fails.
    fn drop(&mut self) {
        info!(
            documents = self.documents,
            checkpoints = self.checkpoints,
            megabytes = self.bytes / 1_000_000,
            seconds = self.started.elapsed().as_secs(),
            "capture run ended"
        );
    }
}

fn per_second(documents: u64, elapsed: Duration) -> u64 {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    documents.saturating_mul(1000) / millis.max(1)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// Output that records the calls to it.
    #[derive(Default)]
    struct RecordingOutput {
        events: Rc<RefCell<Vec<String>>>,
        error: Option<io::ErrorKind>,
    }

    impl Write for RecordingOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(kind) = self.error {
                return Err(kind.into());
            }
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            self.events.borrow_mut().push(text);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.events.borrow_mut().push("flush".to_owned());
            Ok(())
        }
    }

    impl Output for RecordingOutput {
        fn persist(&mut self) -> io::Result<()> {
            self.events.borrow_mut().push("persist".to_owned());
            Ok(())
        }
    }

    fn write_document(
        sink: &mut LineSink<RecordingOutput>,
        binding: u32,
        document: &str,
    ) -> Result<()> {
        sink.begin_document(binding);
        sink.buffer().extend_from_slice(document.as_bytes());
        sink.end_document()
    }

    #[test]
    fn each_document_is_a_line_with_its_collection() {
        let output = RecordingOutput::default();
        let events = Rc::clone(&output.events);
        let collections = ["acme/a".to_owned(), "acme/\"b\"\n".to_owned()];
        let mut sink = LineSink::new(output, &collections, None);
        write_document(&mut sink, 0, r#"{"id":1}"#).unwrap();
        write_document(&mut sink, 1, r#"{"id":2}"#).unwrap();
        assert!(events.borrow().is_empty());
        assert_eq!(sink.uncommitted_bytes(), 16);
        let durability = sink.checkpoint(r#"{"cursor":null}"#).unwrap();
        assert_eq!(durability, Durability::Durable);
        assert_eq!(sink.uncommitted_bytes(), 0);
        assert_eq!(
            *events.borrow(),
            [
                "[\"acme/a\", {\"id\":1}]\n[\"acme/\\\"b\\\"\\n\", {\"id\":2}]\n",
                "flush"
            ]
        );
    }

    #[test]
    fn documents_are_written_in_large_blocks_before_their_checkpoint() {
        let output = RecordingOutput::default();
        let events = Rc::clone(&output.events);
        let mut sink = LineSink::new(output, &["a".to_owned()], None);
        let document = format!("{{\"v\":\"{}\"}}", "x".repeat(1000));
        for _ in 0..1000 {
            write_document(&mut sink, 0, &document).unwrap();
        }
        let events = events.borrow();
        assert!((3..10).contains(&events.len()), "{}", events.len());
        assert!(
            events
                .iter()
                .all(|text| text.len() >= WRITE_SIZE && text.ends_with("]\n"))
        );
    }

    #[test]
    fn a_checkpoint_is_durable_once_its_documents_are_out_and_the_state_is_written() {
        let folder =
            std::env::temp_dir().join(format!("source-postgres-sink-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("state.json");
        let (state, _) = StateFile::open(&path).unwrap();
        let output = RecordingOutput::default();
        let events = Rc::clone(&output.events);
        let mut sink = LineSink::new(output, &["a".to_owned()], Some(state));
        write_document(&mut sink, 0, "{}").unwrap();
        let durability = sink.checkpoint(r#"{"cursor":"0/10"}"#).unwrap();
        assert_eq!(durability, Durability::Durable);
        assert_eq!(*events.borrow(), ["[\"a\", {}]\n", "flush", "persist"]);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"cursor\":\"0/10\"}\n"
        );

        // If the output fails, the state is not saved and the checkpoint not acknowledged.
        sink.output.error = Some(io::ErrorKind::StorageFull);
        write_document(&mut sink, 0, "{}").unwrap();
        let error = sink.checkpoint(r#"{"cursor":"0/20"}"#).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"cursor\":\"0/10\"}\n"
        );
        drop(sink);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_closed_standard_output_is_a_shutdown_error() {
        let output = RecordingOutput {
            error: Some(io::ErrorKind::BrokenPipe),
            ..RecordingOutput::default()
        };
        let mut sink = LineSink::new(output, &["a".to_owned()], None);
        write_document(&mut sink, 0, "{}").unwrap();
        let error = sink.checkpoint("{}").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shutdown);
    }
}
