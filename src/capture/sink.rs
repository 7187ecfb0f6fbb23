//! Where documents and checkpoints go.

use super::Acknowledgements;
use crate::buffer::Buffer;
use crate::error::Result;

/// Takes what a capture emits: a Flow runtime, or a terminal and a file.
pub trait Sink {
    /// Says that the capture is about to start.
    ///
    /// # Errors
    ///
    /// Fails when the output is gone.
    fn opened(&mut self) -> Result<()>;
    /// Starts a document; [`Sink::buffer`] takes it.
    fn begin_document(&mut self, binding: u32);
    /// Returns the buffer to append the document to.
    fn buffer(&mut self) -> &mut Buffer;
    /// Ends the document that was begun last.
    ///
    /// # Errors
    ///
    /// Fails when the output is gone.
    fn end_document(&mut self) -> Result<()>;
    /// Emits the schema that the source says a binding's documents have.
    ///
    /// # Errors
    ///
    /// Fails when the output is gone.
    fn sourced_schema(&mut self, binding: u32, schema: &str) -> Result<()>;
    /// Emits a checkpoint: everything before it belongs together with it. Once the other side has
    /// made it durable, that is noted in `acknowledged`.
    ///
    /// # Errors
    ///
    /// Fails when the output is gone.
    fn checkpoint(&mut self, patch: &str, acknowledged: &Acknowledgements) -> Result<()>;
    /// Returns the number of bytes of documents since the last checkpoint.
    fn uncommitted_bytes(&self) -> u64;
}
