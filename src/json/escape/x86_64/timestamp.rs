//! Timestamps in UTC, in one register.

use std::arch::x86_64::{
    __m512i, _mm512_castsi512_si256, _mm512_cmpeq_epi8_mask, _mm512_cmpgt_epu8_mask,
    _mm512_mask_cmple_epu8_mask, _mm512_mask_mov_epi8, _mm512_set1_epi8, _mm512_sub_epi8,
};

use super::super::kernel::VALUE_WINDOW;
use super::avx512::{load_512, load_quoted, store_256};

/// What each lane of a text may hold, the quote before it included.
struct Bounds {
    /// What is the least, the zero of a digit.
    least: [u8; 64],
    /// How much more it may be.
    most: [u8; 64],
    /// How much more it may be behind a digit that is the most.
    most_behind_most: [u8; 64],
}

const BOUNDS: Bounds = Bounds {
    least: lanes_of(*b"0000-00-00 00:00:00.000000", 0),
    most: lanes_of(*b"9999-19-39 29:59:59.999999", b'0'),
    // Of months there are 12, of days 31, of hours 24.
    most_behind_most: lanes_of(*b"9999-12-31 93:99:99.999999", b'0'),
};

/// Returns characters in their lanes, digits less this.
const fn lanes_of(characters: [u8; LONGEST], zero: u8) -> [u8; 64] {
    let mut lanes = [0; 64];
    let mut at = 0;
    while at < LONGEST {
        let character = characters[at];
        lanes[at + 1] = match character {
            b'0'..=b'9' => character - zero,
            // Nothing but this.
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
/// The second digits of month and day, which are not 0 behind a 0.
const FROM_ONE: u64 = 1 << "\"YYYY-M".len() | 1 << "\"YYYY-MM-D".len();
/// The second digits of month, day and hour.
const BOUNDED: u64 = FROM_ONE | 1 << "\"YYYY-MM-DD h".len();
/// The point and what is behind it.
const FRACTION: u64 = u64::MAX << "\"YYYY-MM-DD hh:mm:ss".len();
const SPACE: u64 = 1 << "\"YYYY-MM-DD".len();

/// Writes a timestamp of the years 1 to 9999, given without an offset, as a string in the spelling of
/// RFC 3339, three bytes longer. A fraction must not end in a zero, nor be empty.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
pub(super) fn timestamp_avx512(text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> bool {
    let length = text.len();
    if !(SHORTEST..=LONGEST).contains(&length) {
        return false;
    }
    let (vector, text_lanes) = load_quoted(text);
    let written = _mm512_mask_mov_epi8(vector, SPACE, of(b'T'));
    let written = _mm512_mask_mov_epi8(written, 2 << length, of(b'Z'));
    if let Some(window) = window.first_chunk_mut() {
        store_256(_mm512_castsi512_si256(written), window);
    }
    let most = load_512(&BOUNDS.most);
    let values = _mm512_sub_epi8(vector, load_512(&BOUNDS.least));
    let allowed = _mm512_mask_cmple_epu8_mask(text_lanes, values, most);
    let at_most = _mm512_cmpeq_epi8_mask(values, most);
    let beyond = _mm512_cmpgt_epu8_mask(values, load_512(&BOUNDS.most_behind_most));
    let zeros = _mm512_cmpeq_epi8_mask(values, of(0));
    // A point alone is of the value 0, too.
    let refused = at_most << 1 & beyond & BOUNDED
        | zeros << 1 & zeros & FROM_ONE
        | zeros & FRACTION & 1 << length;
    allowed == text_lanes && refused == 0 && zeros & YEAR != YEAR
}

#[inline]
#[target_feature(enable = "avx512f")]
fn of(byte: u8) -> __m512i {
    _mm512_set1_epi8(byte.cast_signed())
}
