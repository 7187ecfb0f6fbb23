//! AVX-512: 64 bytes in a register, and a mask of 64 bits that selects its lanes.

use std::arch::x86_64::{
    __m256i, __m512i, _bzhi_u64, _mm256_storeu_si256, _mm512_castsi512_si256,
    _mm512_cmpeq_epi8_mask, _mm512_cmple_epu8_mask, _mm512_loadu_si512,
    _mm512_mask_cmpgt_epi8_mask, _mm512_mask_cmpneq_epi8_mask, _mm512_mask_loadu_epi8,
    _mm512_maskz_loadu_epi8, _mm512_movepi8_mask, _mm512_set1_epi8, _mm512_storeu_si512,
    _mm512_sub_epi8,
};

use super::super::kernel::VALUE_WINDOW;
use super::super::scan::BlockScan;
use super::bytes::{BACKSLASH, LAST_CONTROL, QUOTE};

/// Writes a string of at most 62 bytes, which is one register with its quotes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
pub(super) fn quote_avx512(text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> bool {
    if text.len() > 62 {
        return false;
    }
    let (vector, text_lanes) = load_quoted(text);
    store_short(vector, text.len() + 2, window);
    // As signed integers, bytes above 0x7F are negative, and so below the control characters.
    let plain = _mm512_mask_cmpgt_epi8_mask(text_lanes, vector, _mm512_set1_epi8(LAST_CONTROL));
    let plain = _mm512_mask_cmpneq_epi8_mask(plain, vector, _mm512_set1_epi8(QUOTE));
    let plain = _mm512_mask_cmpneq_epi8_mask(plain, vector, _mm512_set1_epi8(BACKSLASH));
    plain == text_lanes
}

/// Writes an integer of at most 18 bytes, which is one register, without a branch on its length.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
pub(super) fn integer_avx512(text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> bool {
    let Some(first) = text.first().filter(|_| text.len() <= 18) else {
        return false;
    };
    let vector = load_part(text);
    store_short(vector, text.len(), window);
    let values = _mm512_sub_epi8(vector, _mm512_set1_epi8(b'0'.cast_signed()));
    let digits = _mm512_cmple_epu8_mask(values, _mm512_set1_epi8(9));
    let zeros = _mm512_cmpeq_epi8_mask(values, _mm512_set1_epi8(0));
    let sign = u64::from(*first == b'-');
    let expected = lanes(text.len()) ^ sign;
    // A leading zero is accepted only if no digit is expected after it.
    let leads_with_zero = zeros & (sign + 1) & (expected >> 1) != 0;
    expected != 0 && digits & expected == expected && !leads_with_zero
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi1")]
pub(super) fn scan_64(vector: __m512i) -> BlockScan {
    BlockScan {
        escapes: escapes_of_64(vector),
        non_ascii: _mm512_movepi8_mask(vector) != 0,
    }
}

/// Returns a mask of the bytes that need an escape.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn escapes_of_64(vector: __m512i) -> u64 {
    _mm512_cmple_epu8_mask(vector, _mm512_set1_epi8(LAST_CONTROL))
        | _mm512_cmpeq_epi8_mask(vector, _mm512_set1_epi8(QUOTE))
        | _mm512_cmpeq_epi8_mask(vector, _mm512_set1_epi8(BACKSLASH))
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load_512(block: &[u8; 64]) -> __m512i {
    // SAFETY: the reference is valid for the 64 bytes that are read; any alignment is allowed.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

/// Loads at most 63 bytes, followed by zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
pub(super) fn load_part(bytes: &[u8]) -> __m512i {
    debug_assert!(bytes.len() < 64);
    let lanes = lanes(bytes.len());
    // SAFETY: only the lanes whose bit is set are read. These are lanes 0 to length - 1, which are
    // the bytes of the slice.
    unsafe { _mm512_maskz_loadu_epi8(lanes, bytes.as_ptr().cast()) }
}

/// Loads at most 62 bytes into the lanes from the second one on, with quotes in all other lanes.
/// Returns also the mask of the lanes that hold the bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
pub(super) fn load_quoted(text: &[u8]) -> (__m512i, u64) {
    debug_assert!(text.len() <= 62);
    let text_lanes = lanes(text.len() + 1) & !1;
    // Address of lane 0, which is the byte before the text and is not read.
    let before: *const i8 = text.as_ptr().wrapping_sub(1).cast();
    let quotes = _mm512_set1_epi8(QUOTE);
    // SAFETY: only the lanes whose bit is set are read. These are lanes 1 to length, which are the
    // bytes of the slice, because lane 0 is one byte before it.
    let vector = unsafe { _mm512_mask_loadu_epi8(quotes, text_lanes, before) };
    (vector, text_lanes)
}

/// Returns the mask of the first `count` lanes, at most 63.
#[inline]
#[target_feature(enable = "bmi2")]
fn lanes(count: usize) -> u64 {
    _bzhi_u64(u64::MAX, u32::try_from(count).unwrap_or(u32::MAX))
}

/// Stores at least the first `length` bytes, as a block of 32 bytes where that is enough. A store
/// of 64 bytes nearly always crosses the border of a cache line; rows of short values took up to an
/// eighth longer with it.
#[inline]
#[target_feature(enable = "avx512f")]
fn store_short(vector: __m512i, length: usize, window: &mut [u8; 64]) {
    match window.first_chunk_mut() {
        Some(window) if length <= 32 => store_256(_mm512_castsi512_si256(vector), window),
        _ => store_512(vector, window),
    }
}

#[inline]
#[target_feature(enable = "avx")]
pub(super) fn store_256(vector: __m256i, window: &mut [u8; 32]) {
    // SAFETY: the reference is valid for the 32 bytes that are written; any alignment is allowed.
    unsafe { _mm256_storeu_si256(window.as_mut_ptr().cast(), vector) };
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store_512(vector: __m512i, window: &mut [u8; 64]) {
    // SAFETY: the reference is valid for the 64 bytes that are written; any alignment is allowed.
    unsafe { _mm512_storeu_si512(window.as_mut_ptr().cast(), vector) };
}
