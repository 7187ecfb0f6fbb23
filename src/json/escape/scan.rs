//! What is found by looking at a block of bytes.

/// What an implementation has seen in a block of bytes.
#[derive(Clone, Copy)]
pub(super) struct BlockScan {
    /// The bytes that need an escape, the first in the lowest bits. How many bits each has is the
    /// implementation's choice; all of them are set or none.
    pub(super) escapes: u64,
    /// Whether a byte is not ASCII. It may lie behind one that needs an escape.
    pub(super) non_ascii: bool,
}

/// The start of a text that stands for itself in a JSON string.
#[derive(Debug, Clone, Copy)]
pub(in crate::json) struct PlainRun {
    pub(in crate::json) length: usize,
    /// Whether a byte is not ASCII. It may lie behind the end.
    pub(in crate::json) non_ascii: bool,
}
