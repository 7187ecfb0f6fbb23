//! AVX2: 32 bytes in a register.

use std::arch::x86_64::{
    __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8,
    _mm256_or_si256, _mm256_set1_epi8,
};

use super::super::scan::BlockScan;
use super::bytes::{BACKSLASH, LAST_CONTROL, QUOTE};

#[inline]
#[target_feature(enable = "avx2,bmi1")]
pub(super) fn scan_32(vector: __m256i) -> BlockScan {
    let controls = _mm256_cmpeq_epi8(
        _mm256_min_epu8(vector, _mm256_set1_epi8(LAST_CONTROL)),
        vector,
    );
    let quotes = _mm256_cmpeq_epi8(vector, _mm256_set1_epi8(QUOTE));
    let backslashes = _mm256_cmpeq_epi8(vector, _mm256_set1_epi8(BACKSLASH));
    let escapes = _mm256_or_si256(_mm256_or_si256(controls, quotes), backslashes);
    BlockScan {
        escapes: u64::from(_mm256_movemask_epi8(escapes).cast_unsigned()),
        non_ascii: _mm256_movemask_epi8(vector) != 0,
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_256(block: &[u8; 32]) -> __m256i {
    // SAFETY: the reference is valid for the 32 bytes that are read; any alignment is allowed.
    unsafe { _mm256_loadu_si256(block.as_ptr().cast()) }
}
