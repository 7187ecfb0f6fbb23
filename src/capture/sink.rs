//! Output of a capture.

use crate::buffer::Buffer;
use crate::error::Result;

/// Receiver of the documents and checkpoints of a capture: a Flow runtime, or a terminal and a
/// file.
pub trait Sink {
    /// Announces that the capture starts.
    ///
    /// # Errors
    ///
    /// Fails when the output is closed.
    fn opened(&mut self) -> Result<()>;
    /// Starts a document, which is then appended to [`Sink::buffer`].
    fn begin_document(&mut self, binding: u32);
    /// Returns the buffer that takes the document.
    fn buffer(&mut self) -> &mut Buffer;
    /// Ends the document that was started last.
    ///
    /// # Errors
    ///
    /// Fails when the output is closed.
    fn end_document(&mut self) -> Result<()>;
    /// Emits the schema that documents of a binding have according to the source.
    ///
    /// # Errors
    ///
    /// Fails when the output is closed.
    fn sourced_schema(&mut self, binding: u32, schema: &str) -> Result<()>;
    /// Emits a checkpoint, which covers everything that was emitted before it. `patch` is a merge
    /// patch of the state.
    ///
    /// # Errors
    ///
    /// Fails when the output is closed, or the state cannot be written.
    fn checkpoint(&mut self, patch: &str) -> Result<Durability>;
    /// Returns the number of bytes of documents since the last checkpoint.
    fn uncommitted_bytes(&self) -> u64;
}

/// Durability of a checkpoint that was just emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The checkpoint is on disk.
    Durable,
    /// The checkpoint becomes durable later, with an acknowledgement.
    Unacknowledged,
}
