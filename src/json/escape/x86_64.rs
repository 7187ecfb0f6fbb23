//! SSE2, AVX2 and AVX-512.
#![allow(unsafe_code)]

mod timestamp;

use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _bzhi_u64, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8,
    _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8, _mm256_cmpeq_epi8, _mm256_loadu_si256,
    _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8, _mm256_storeu_si256,
    _mm512_castsi512_si256, _mm512_cmpeq_epi8_mask, _mm512_cmple_epu8_mask, _mm512_loadu_si512,
    _mm512_mask_cmpgt_epi8_mask, _mm512_mask_cmpneq_epi8_mask, _mm512_mask_loadu_epi8,
    _mm512_maskz_loadu_epi8, _mm512_movepi8_mask, _mm512_set1_epi8, _mm512_storeu_si512,
    _mm512_sub_epi8,
};

use super::super::output_cursor::OutputCursor;
use super::super::short::padded;
use super::blocks::{self, BlockScan};
use super::{Kernel, KernelTask, PlainRun, VALUE_WINDOW};
use timestamp::timestamp_avx512;

/// The last of the control characters, all of which are escaped.
const LAST_CONTROL: i8 = 0x1F;
const QUOTE: i8 = b'"'.cast_signed();
const BACKSLASH: i8 = b'\\'.cast_signed();

/// A set of instructions that this processor has: there is no other way to a value than
/// [`Level::detect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level(Instructions);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instructions {
    Sse2,
    Avx2,
    Avx512,
}

impl Level {
    /// Returns what this processor has, the best last.
    pub(super) fn detect() -> impl Iterator<Item = Self> {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1");
        let avx512 = avx2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("bmi2");
        [
            Some(Self(Instructions::Sse2)),
            avx2.then_some(Self(Instructions::Avx2)),
            avx512.then_some(Self(Instructions::Avx512)),
        ]
        .into_iter()
        .flatten()
    }

    /// Returns the name of the instructions.
    pub(super) fn name(self) -> &'static str {
        match self.0 {
            Instructions::Sse2 => "SSE2",
            Instructions::Avx2 => "AVX2",
            Instructions::Avx512 => "AVX-512",
        }
    }

    /// Writes a JSON string.
    #[inline]
    pub(super) fn write(self, text: &[u8], cursor: &mut OutputCursor<'_>) {
        match self.0 {
            // SAFETY: every processor of this architecture has SSE2.
            Instructions::Sse2 => unsafe { write_sse2(text, cursor) },
            // SAFETY: `detect` has seen AVX2 and BMI1, and nothing else makes this value.
            Instructions::Avx2 => unsafe { write_avx2(text, cursor) },
            // SAFETY: `detect` has seen AVX-512 F and BW, BMI1 and BMI2, and nothing else makes
            // this value.
            Instructions::Avx512 => unsafe { write_avx512(text, cursor) },
        }
    }

    /// Writes a short JSON string of ASCII without escapes, or returns false.
    #[inline]
    pub(super) fn quote(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> bool {
        match self.0 {
            // SAFETY: `detect` has seen AVX-512 F and BW, BMI1 and BMI2, and nothing else makes
            // this value.
            Instructions::Avx512 => unsafe { quote_avx512(text, window) },
            // SAFETY: every processor of this architecture has SSE2.
            Instructions::Sse2 | Instructions::Avx2 => unsafe { quote_sse2(text, window) },
        }
    }

    /// Runs what is compiled for each set of instructions.
    #[inline]
    pub(super) fn run<C: KernelTask>(self, task: C) -> C::Output {
        match self.0 {
            // SAFETY: `detect` has seen AVX-512 F and BW, AVX2, BMI1 and BMI2, and nothing else
            // makes this value.
            Instructions::Avx512 => unsafe { run_avx512(task) },
            Instructions::Sse2 | Instructions::Avx2 => task.run(Sse2Kernel),
        }
    }

    /// Copies whole blocks of what stands for itself.
    #[inline]
    pub(super) fn copy_plain(self, text: &[u8], window: &mut [u8]) -> PlainRun {
        match self.0 {
            // SAFETY: `detect` has seen AVX-512 F and BW, AVX2, BMI1 and BMI2, and nothing else
            // makes this value.
            Instructions::Avx512 => unsafe { copy_plain_avx512(text, window) },
            Instructions::Sse2 | Instructions::Avx2 => blocks::copy_plain_16(text, window),
        }
    }
}

/// Returns the start of these bytes that stands for itself; so do the first as many as `any` says.
#[inline(always)]
pub(super) fn plain_run_16(bytes: &[u8; 16], any: usize) -> PlainRun {
    // SAFETY: every processor of this architecture has SSE2.
    let seen = unsafe { scan_block(bytes) };
    PlainRun {
        // Behind the last there is no other.
        length: ((seen.escapes >> any << any) | 1 << 16).trailing_zeros() as usize,
        non_ascii: seen.non_ascii,
    }
}

/// Every processor of this architecture has SSE2.
#[derive(Clone, Copy)]
struct Sse2Kernel;

impl Kernel for Sse2Kernel {
    #[inline(always)]
    fn quote(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        // SAFETY: every processor of this architecture has SSE2.
        unsafe { quote_sse2(text, window) }.then_some(text.len() + 2)
    }
}

/// Only [`run_avx512`] makes this value.
#[derive(Clone, Copy)]
struct Avx512Kernel(());

impl Kernel for Avx512Kernel {
    #[inline(always)]
    fn quote(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        // SAFETY: `run_avx512`, which has made this value, needs the same instructions and more.
        unsafe { quote_avx512(text, window) }.then_some(text.len() + 2)
    }

    #[inline(always)]
    fn integer(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        // SAFETY: as above.
        unsafe { integer_avx512(text, window) }.then_some(text.len())
    }

    #[inline(always)]
    fn timestamp(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        // SAFETY: as above.
        unsafe { timestamp_avx512(text, window) }.then_some(text.len() + 3)
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx2,bmi1,bmi2")]
fn run_avx512<C: KernelTask>(task: C) -> C::Output {
    task.run(Avx512Kernel(()))
}

#[inline]
#[target_feature(enable = "sse2")]
fn scan_block(block: &[u8; 16]) -> BlockScan {
    scan_16(load_128(block))
}

#[target_feature(enable = "avx512f,avx512bw,avx2,bmi1,bmi2")]
fn copy_plain_avx512(text: &[u8], window: &mut [u8]) -> PlainRun {
    let put = |vector, window: &mut [u8; 64]| {
        store_512(vector, window);
        let seen = scan_64(vector);
        PlainRun {
            length: seen.escapes.trailing_zeros() as usize,
            non_ascii: seen.non_ascii,
        }
    };
    blocks::copy_plain(
        text,
        window,
        |block, window| put(load_512(block), window),
        |rest, window| put(load_part(rest), window),
    )
}

/// A string of at most 32 bytes: one register, or two that overlap.
#[inline]
#[target_feature(enable = "sse2")]
fn quote_sse2(text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> bool {
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
    // The last register ends before the closing quote.
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

/// A string of at most 62 bytes: with its quotes it is one register.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
fn quote_avx512(text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> bool {
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
fn integer_avx512(text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> bool {
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

#[target_feature(enable = "sse2")]
fn write_sse2(text: &[u8], cursor: &mut OutputCursor<'_>) {
    blocks::write::<16, 1>(
        text,
        cursor,
        |block| scan_16(load_128(block)),
        |rest, cursor| append_tail(rest, cursor),
    );
}

#[target_feature(enable = "avx2,bmi1")]
fn write_avx2(text: &[u8], cursor: &mut OutputCursor<'_>) {
    blocks::write::<32, 1>(
        text,
        cursor,
        |block| scan_32(load_256(block)),
        |rest, cursor| append_tail(rest, cursor),
    );
}

#[target_feature(enable = "avx512f,avx512bw,avx2,bmi1,bmi2")]
fn write_avx512(text: &[u8], cursor: &mut OutputCursor<'_>) {
    blocks::write::<64, 1>(
        text,
        cursor,
        |block| scan_64(load_512(block)),
        |rest, cursor| {
            let vector = load_part(rest);
            let mut bytes = [0; 64];
            store_512(vector, &mut bytes);
            cursor.push_prefix(&bytes, rest.len());
            scan_64(vector)
        },
    );
}

/// Appends less than 32 bytes.
#[inline]
#[target_feature(enable = "sse2")]
fn append_tail(rest: &[u8], cursor: &mut OutputCursor<'_>) -> BlockScan {
    let length = rest.len();
    if let (Some(first), Some(last)) = (rest.first_chunk::<16>(), rest.last_chunk::<16>()) {
        // Two registers that overlap.
        let behind = length - 16;
        cursor.push_prefix(first, behind);
        cursor.push(last);
        let (first, last) = (scan_16(load_128(first)), scan_16(load_128(last)));
        return BlockScan {
            escapes: first.escapes | last.escapes << behind,
            non_ascii: first.non_ascii | last.non_ascii,
        };
    }
    let bytes = padded(rest).to_le_bytes();
    cursor.push_prefix(&bytes, length);
    scan_16(load_128(&bytes))
}

#[inline]
#[target_feature(enable = "sse2")]
fn scan_16(vector: __m128i) -> BlockScan {
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
#[target_feature(enable = "avx2,bmi1")]
fn scan_32(vector: __m256i) -> BlockScan {
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
#[target_feature(enable = "avx512f,avx512bw,bmi1")]
fn scan_64(vector: __m512i) -> BlockScan {
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
#[target_feature(enable = "sse2")]
fn load_128(block: &[u8; 16]) -> __m128i {
    // SAFETY: the reference is to 16 bytes, as many as are read; no alignment is asked for.
    unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_256(block: &[u8; 32]) -> __m256i {
    // SAFETY: the reference is to 32 bytes, as many as are read; no alignment is asked for.
    unsafe { _mm256_loadu_si256(block.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_512(block: &[u8; 64]) -> __m512i {
    // SAFETY: the reference is to 64 bytes, as many as are read; no alignment is asked for.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

/// Loads at most 63 bytes, and zeros behind them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
fn load_part(bytes: &[u8]) -> __m512i {
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
fn load_quoted(text: &[u8]) -> (__m512i, u64) {
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
fn store_256(vector: __m256i, window: &mut [u8; 32]) {
    // SAFETY: the reference is to 32 bytes, as many as are written; no alignment is asked for.
    unsafe { _mm256_storeu_si256(window.as_mut_ptr().cast(), vector) };
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_512(vector: __m512i, window: &mut [u8; 64]) {
    // SAFETY: the reference is to 64 bytes, as many as are written; no alignment is asked for.
    unsafe { _mm512_storeu_si512(window.as_mut_ptr().cast(), vector) };
}
