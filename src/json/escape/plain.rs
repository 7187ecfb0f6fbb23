//! The start of a text that needs no escape.

use super::super::short::padded;
#[cfg(not(target_arch = "x86_64"))]
use super::scalar;
use super::scan::PlainRun;
#[cfg(target_arch = "x86_64")]
use super::x86_64::sse2;

/// Returns the start of 16 bytes that stands for itself, whatever its first byte is if `any` is 1.
#[inline(always)]
pub(in crate::json) fn plain_run_16(bytes: &[u8; 16], any: usize) -> PlainRun {
    #[cfg(target_arch = "x86_64")]
    let plain = sse2::plain_run_16(bytes, any);
    #[cfg(not(target_arch = "x86_64"))]
    let plain = PlainRun {
        length: any + scalar::plain_run(bytes.get(any..).unwrap_or_default()),
        non_ascii: !bytes.is_ascii(),
    };
    plain
}

/// Returns how many bytes from the start stand for themselves in a JSON string.
#[inline]
pub(crate) fn plain_run(bytes: &[u8]) -> usize {
    let (blocks, rest) = bytes.as_chunks();
    for (index, block) in blocks.iter().enumerate() {
        let length = plain_run_16(block, 0).length;
        if length < block.len() {
            return index * block.len() + length;
        }
    }
    // The zeros behind the last byte are not plain.
    let rest = plain_run_16(&padded(rest).to_le_bytes(), 0).length;
    bytes.len() - bytes.len() % 16 + rest
}
