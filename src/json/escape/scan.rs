//! Results of scanning bytes for characters that JSON strings escape.

/// Result of scanning one block.
#[derive(Clone, Copy)]
pub(super) struct BlockScan {
    /// Mask of the bytes that need an escape, the block's first byte in the lowest bits. Each byte
    /// has one bit, or another number of bits that the implementation chooses; either all of them
    /// are set or none.
    pub(super) escapes: u64,
    /// Whether a byte of the block is not ASCII, before or after the bytes that need an escape.
    pub(super) non_ascii: bool,
}

/// Bytes at the start of a text that a JSON string contains without an escape.
#[derive(Debug, Clone, Copy)]
pub(in crate::json) struct PlainRun {
    pub(in crate::json) length: usize,
    /// Whether a byte that was scanned is not ASCII. It may follow the run.
    pub(in crate::json) non_ascii: bool,
}
