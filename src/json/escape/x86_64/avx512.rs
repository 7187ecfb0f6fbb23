//! AVX-512.

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

/// A string of at most 62 bytes: with its quotes it is one register.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
pub(super) fn quote_avx512(text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> bool {
    if text.len() > 62 {
        return false;
    }
    let (vector, text_lanes) = load_quoted(text);
    store_short(vector, text.len() + 2, window);
    // As a number with a sign, what is not ASCII is below the control characters.
    let plain = _mm512_mask_cmpgt_epi8_mask(text_lanes, vector, _mm512_set1_epi8(LAST_CONTROL));
    let plain = _mm512_mask_cmpneq_epi8_mask(plain, vector, _mm512_set1_epi8(QUOTE));
    let plain = _mm512_mask_cmpneq_epi8_mask(plain, vector, _mm512_set1_epi8(BACKSLASH));
    plain == text_lanes
}

/// An integer of at most 18 digits, as one register. No length makes a branch.
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
    let due = lanes(text.len()) ^ sign;
    // A zero that leads is refused unless it is alone: behind it no digit may be due.
    let leads_with_zero = zeros & (sign + 1) & (due >> 1) != 0;
    due != 0 && digits & due == due && !leads_with_zero
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi1")]
pub(super) fn scan_64(vector: __m512i) -> BlockScan {
    BlockScan {
        escapes: escapes_of_64(vector),
        non_ascii: _mm512_movepi8_mask(vector) != 0,
    }
}

/// Returns a bit for each byte that needs an escape.
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
    // SAFETY: the reference is to 64 bytes, as many as are read; no alignment is asked for.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

/// Loads at most 63 bytes, and zeros behind them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
pub(super) fn load_part(bytes: &[u8]) -> __m512i {
    debug_assert!(bytes.len() < 64);
    let lanes = lanes(bytes.len());
    // SAFETY: of the memory behind the pointer only the lanes whose bit is set are read, which are
    // the first as many as the slice is long: no byte outside of it.
    unsafe { _mm512_maskz_loadu_epi8(lanes, bytes.as_ptr().cast()) }
}

/// Loads at most 62 bytes between quotes: one before them, all others behind. Returns also which lanes
/// hold the bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
pub(super) fn load_quoted(text: &[u8]) -> (__m512i, u64) {
    debug_assert!(text.len() <= 62);
    let text_lanes = lanes(text.len() + 1) & !1;
    // The first lane, which is not read, is the byte before the text.
    let before: *const i8 = text.as_ptr().wrapping_sub(1).cast();
    let quotes = _mm512_set1_epi8(QUOTE);
    // SAFETY: only the lanes whose bit is set are read: from the second, at which the text starts,
    // as many as it is long. So no byte outside of the slice is.
    let vector = unsafe { _mm512_mask_loadu_epi8(quotes, text_lanes, before) };
    (vector, text_lanes)
}

/// Returns a set bit for each of so many lanes, at most 63.
#[inline]
#[target_feature(enable = "bmi2")]
fn lanes(count: usize) -> u64 {
    _bzhi_u64(u64::MAX, u32::try_from(count).unwrap_or(u32::MAX))
}

/// Stores so many bytes, and some behind them. A store of all 64 nearly always lies across two cache
/// lines; with it, rows of short values took up to an eighth longer.
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
    // SAFETY: the reference is to 32 bytes, as many as are written; no alignment is asked for.
    unsafe { _mm256_storeu_si256(window.as_mut_ptr().cast(), vector) };
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store_512(vector: __m512i, window: &mut [u8; 64]) {
    // SAFETY: the reference is to 64 bytes, as many as are written; no alignment is asked for.
    unsafe { _mm512_storeu_si512(window.as_mut_ptr().cast(), vector) };
}
