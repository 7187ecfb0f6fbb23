//! Runs of bytes that JSON strings contain without an escape, found 16 bytes at a time.

use super::super::short::padded;
#[cfg(not(target_arch = "x86_64"))]
use super::scalar;
use super::scan::PlainRun;
#[cfg(target_arch = "x86_64")]
use super::x86_64::sse2;

/// Returns the run at the start of 16 bytes. The first `skip` bytes count as part of it, whatever
/// they are.
#[inline(always)]
pub(in crate::json) fn plain_run_16(bytes: &[u8; 16], skip: usize) -> PlainRun {
    #[cfg(target_arch = "x86_64")]
    let plain = sse2::plain_run_16(bytes, skip);
    #[cfg(not(target_arch = "x86_64"))]
    let plain = PlainRun {
        length: skip + scalar::plain_run(bytes.get(skip..).unwrap_or_default()),
        non_ascii: !bytes.is_ascii(),
    };
    plain
}

/// Returns the length of the run at the start of a text.
#[inline]
pub(crate) fn plain_run(bytes: &[u8]) -> usize {
    let (blocks, rest) = bytes.as_chunks();
    for (index, block) in blocks.iter().enumerate() {
        let length = plain_run_16(block, 0).length;
        if length < block.len() {
            return index * block.len() + length;
        }
    }
    // The padding after the last byte is zeros, which end the run.
    let rest = plain_run_16(&padded(rest).to_le_bytes(), 0).length;
    bytes.len() - bytes.len() % 16 + rest
}
