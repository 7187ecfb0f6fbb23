//! SSE2, which every x86-64 processor has: 16 bytes in a register.

use std::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
    _mm_set1_epi8,
};

use super::super::super::output_cursor::OutputCursor;
use super::super::super::short::padded;
use super::super::kernel::VALUE_WINDOW;
use super::super::scan::{BlockScan, PlainRun};
use super::bytes::{BACKSLASH, LAST_CONTROL, QUOTE};

/// Returns the run of bytes without an escape at the start of a block. The first `skip` bytes count
/// as part of it, whatever they are.
#[inline(always)]
pub(in crate::json::escape) fn plain_run_16(bytes: &[u8; 16], skip: usize) -> PlainRun {
    // SAFETY: SSE2 is part of x86-64.
    let seen = unsafe { scan_block(bytes) };
    PlainRun {
        // The bit after the last byte ends a run of all 16.
        length: ((seen.escapes >> skip << skip) | 1 << 16).trailing_zeros() as usize,
        non_ascii: seen.non_ascii,
    }
}

/// Writes a string of at most 32 bytes with one register, or with two that overlap. Does not handle
/// 15 bytes.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn quote_sse2(text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> bool {
    const QUOTE: u128 = b'"' as u128;
    let length = text.len();
    if length <= 14 {
        let characters = padded(text);
        let seen = scan_16(load_128(&characters.to_le_bytes()));
        let quoted = characters << 8 | QUOTE | QUOTE << (8 * (length + 1));
        if let Some(window) = window.first_chunk_mut() {
            *window = quoted.to_le_bytes();
        }
        let in_text = (1 << length) - 1;
        return seen.escapes & in_text == 0 && !seen.non_ascii;
    }
    let (Some(first), Some(last)) = (text.first_chunk::<16>(), text.last_chunk::<16>()) else {
        return false;
    };
    // The second register ends where the closing quote follows.
    let Some(window) = window.get_mut(..length + 2).filter(|_| length <= 32) else {
        return false;
    };
    if let Some(window) = window.get_mut(1..17) {
        window.copy_from_slice(first);
    }
    if let Some(window) = window.get_mut(length - 15..=length) {
        window.copy_from_slice(last);
    }
    for quote in [0, length + 1] {
        if let Some(window) = window.get_mut(quote) {
            *window = b'"';
        }
    }
    let (first, last) = (scan_16(load_128(first)), scan_16(load_128(last)));
    first.escapes | last.escapes == 0 && !(first.non_ascii | last.non_ascii)
}

#[inline]
#[target_feature(enable = "sse2")]
fn scan_block(block: &[u8; 16]) -> BlockScan {
    scan_16(load_128(block))
}

/// Appends and scans fewer than 32 bytes. Bits after the last byte may be set in the result.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn append_tail(rest: &[u8], cursor: &mut OutputCursor<'_>) -> BlockScan {
    let length = rest.len();
    if let (Some(first), Some(last)) = (rest.first_chunk::<16>(), rest.last_chunk::<16>()) {
        // Two registers that overlap; `start` is where the second one starts.
        let start = length - 16;
        cursor.push_prefix(first, start);
        cursor.push(last);
        let (first, last) = (scan_16(load_128(first)), scan_16(load_128(last)));
        return BlockScan {
            escapes: first.escapes | last.escapes << start,
            non_ascii: first.non_ascii | last.non_ascii,
        };
    }
    let bytes = padded(rest).to_le_bytes();
    cursor.push_prefix(&bytes, length);
    scan_16(load_128(&bytes))
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn scan_16(vector: __m128i) -> BlockScan {
    let controls = _mm_cmpeq_epi8(_mm_min_epu8(vector, _mm_set1_epi8(LAST_CONTROL)), vector);
    let quotes = _mm_cmpeq_epi8(vector, _mm_set1_epi8(QUOTE));
    let backslashes = _mm_cmpeq_epi8(vector, _mm_set1_epi8(BACKSLASH));
    let escapes = _mm_or_si128(_mm_or_si128(controls, quotes), backslashes);
    BlockScan {
        escapes: u64::from(_mm_movemask_epi8(escapes).cast_unsigned()),
        non_ascii: _mm_movemask_epi8(vector) != 0,
    }
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn load_128(block: &[u8; 16]) -> __m128i {
    // SAFETY: the reference is valid for the 16 bytes that are read; any alignment is allowed.
    unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
}
