//! Timestamps in UTC, checked and rewritten in one AVX-512 register.
//!
//! ```text
//! timestamp_avx512(text of 19 to 26 bytes, window):
//!     register = '"' in all lanes, then the text loaded into lanes 1 to length
//!     store the register to the window, with 'T' in the lane of the space and 'Z' in the lane
//!     after the text; the quote that follows is in the register already
//!     values   = register - BOUNDS.min          digits become 0 to 9, punctuation becomes 0
//!     allowed  = text lanes where values <= BOUNDS.max_offset, unsigned
//!     return all text lanes are allowed, and none of these holds:
//!         a digit is at its greatest and the next one is too large after it, as in month 13,
//!         day 32, hour 24
//!         both digits of the month or the day are 0
//!         the last character of a fraction is '0' or '.'
//!         all four digits of the year are 0
//! ```

use std::arch::x86_64::{
    __m512i, _mm512_castsi512_si256, _mm512_cmpeq_epi8_mask, _mm512_cmpgt_epu8_mask,
    _mm512_mask_cmple_epu8_mask, _mm512_mask_mov_epi8, _mm512_set1_epi8, _mm512_sub_epi8,
};

use super::super::kernel::VALUE_WINDOW;
use super::avx512::{load_512, load_quoted, store_256};

/// Characters that each lane may hold. Lane 0 is the quote before the text.
struct Bounds {
    /// Least character: `0` for a digit, the character itself for punctuation.
    min: [u8; 64],
    /// Greatest difference from `min`.
    max_offset: [u8; 64],
    /// Greatest difference from `min` in a lane that follows a lane with its greatest digit.
    max_after_max: [u8; 64],
}

const BOUNDS: Bounds = Bounds {
    min: lanes_of(*b"0000-00-00 00:00:00.000000", 0),
    max_offset: lanes_of(*b"9999-19-39 29:59:59.999999", b'0'),
    // The last month is 12, the last day 31, the last hour 23.
    max_after_max: lanes_of(*b"9999-12-31 93:99:99.999999", b'0'),
};

/// Returns characters in their lanes. Digits are reduced by `zero`; if that is not 0, punctuation
/// becomes 0.
const fn lanes_of(characters: [u8; LONGEST], zero: u8) -> [u8; 64] {
    let mut lanes = [0; 64];
    let mut at = 0;
    while at < LONGEST {
        let character = characters[at];
        lanes[at + 1] = match character {
            b'0'..=b'9' => character - zero,
            // Punctuation does not differ from `min`.
            _ if zero > 0 => 0,
            _ => character,
        };
        at += 1;
    }
    lanes
}

const LONGEST: usize = "YYYY-MM-DD hh:mm:ss.ffffff".len();
const SHORTEST: usize = "YYYY-MM-DD hh:mm:ss".len();

const YEAR: u64 = 0b1111 << 1;
/// Second digits of month and day, which are not 0 after a 0.
const FROM_ONE: u64 = 1 << "\"YYYY-M".len() | 1 << "\"YYYY-MM-D".len();
/// Second digits of month, day and hour, which have a bound after the greatest first digit.
const BOUNDED: u64 = FROM_ONE | 1 << "\"YYYY-MM-DD h".len();
/// The point and the digits of the fraction.
const FRACTION: u64 = u64::MAX << "\"YYYY-MM-DD hh:mm:ss".len();
const SPACE: u64 = 1 << "\"YYYY-MM-DD".len();

/// Writes a timestamp of the years 1 to 9999, given without an offset, as a string in the format of
/// RFC 3339, which is three bytes longer than the text. Returns false for other texts, among them
/// those whose fraction is empty or ends in a zero.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
pub(super) fn timestamp_avx512(text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> bool {
    let length = text.len();
    if !(SHORTEST..=LONGEST).contains(&length) {
        return false;
    }
    let (vector, text_lanes) = load_quoted(text);
    let written = _mm512_mask_mov_epi8(vector, SPACE, in_all_lanes(b'T'));
    let written = _mm512_mask_mov_epi8(written, 2 << length, in_all_lanes(b'Z'));
    if let Some(window) = window.first_chunk_mut() {
        store_256(_mm512_castsi512_si256(written), window);
    }
    let max_offset = load_512(&BOUNDS.max_offset);
    let values = _mm512_sub_epi8(vector, load_512(&BOUNDS.min));
    let allowed = _mm512_mask_cmple_epu8_mask(text_lanes, values, max_offset);
    let is_max = _mm512_cmpeq_epi8_mask(values, max_offset);
    let beyond = _mm512_cmpgt_epu8_mask(values, load_512(&BOUNDS.max_after_max));
    let zeros = _mm512_cmpeq_epi8_mask(values, in_all_lanes(0));
    // A point counts as a zero here, so that a fraction without digits is refused.
    let refused = is_max << 1 & beyond & BOUNDED
        | zeros << 1 & zeros & FROM_ONE
        | zeros & FRACTION & 1 << length;
    allowed == text_lanes && refused == 0 && zeros & YEAR != YEAR
}

#[inline]
#[target_feature(enable = "avx512f")]
fn in_all_lanes(byte: u8) -> __m512i {
    _mm512_set1_epi8(byte.cast_signed())
}
