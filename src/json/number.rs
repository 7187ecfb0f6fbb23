//! Integers in decimal.

use super::short::{padded, push_part};

/// Appends a signed number.
#[inline]
pub fn write_i64(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    write_u64(number.unsigned_abs(), out);
}

/// Appends a number.
#[inline]
pub fn write_u64(number: u64, out: &mut Vec<u8>) {
    match short_decimal(number) {
        Some((characters, length)) => push_part(&characters.to_le_bytes(), length, out),
        None => write_long(number, out),
    }
}

/// First number that has more than eight digits.
pub(crate) const EIGHT_DIGITS: u64 = 100_000_000;

/// Returns the eight characters of a number of at most eight digits, with leading zeros.
#[inline]
pub(crate) fn eight_digits(number: u64) -> [u8; 8] {
    characters(digits(number)).to_le_bytes()
}

/// Returns the characters of a number of at most eight digits, and their count.
#[inline]
pub(crate) fn up_to_eight_digits(number: u64) -> ([u8; 8], usize) {
    let (characters, length) = leading(number);
    (characters.to_le_bytes(), length)
}

/// Returns the characters of a number of at most 16 digits, the first one in the lowest byte, and
/// their count.
#[inline(always)]
pub(super) fn short_decimal(number: u64) -> Option<(u128, usize)> {
    let (first, last) = (number / EIGHT_DIGITS, number % EIGHT_DIGITS);
    let (start, length, second) = if first == 0 {
        let (start, length) = leading(last);
        (start, length, 0)
    } else if first < EIGHT_DIGITS {
        let (start, length) = leading(first);
        (start, length, characters(digits(last)))
    } else {
        return None;
    };
    let characters = u128::from(start) | u128::from(second) << (8 * length);
    let length = if first == 0 { length } else { length + 8 };
    Some((characters, length))
}

#[cold]
fn write_long(number: u64, out: &mut Vec<u8>) {
    write_u64(number / EIGHT_DIGITS, out);
    out.extend_from_slice(&eight_digits(number % EIGHT_DIGITS));
}

/// Returns the characters of a number of at most eight digits, without leading zeros, and their
/// count. The number zero has one character.
#[inline]
fn leading(number: u64) -> (u64, usize) {
    let digits = digits(number);
    let zeros = (digits.trailing_zeros() / 8).min(7);
    (characters(digits) >> (8 * zeros), 8 - zeros as usize)
}

/// Returns the eight digits of a number, the first in the lowest byte.
///
/// The digits are halved three times, all parts at once: in each part the first half of the digits
/// stays in the lower bits, the second half moves to the upper bits. Division is by multiplication,
/// which is exact for numbers of at most eight digits.
#[inline]
fn digits(number: u64) -> u64 {
    debug_assert!(number < EIGHT_DIGITS);
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let before = ((fours * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let twos = before | ((fours - 100 * before) << 16);
    let before = ((twos * 103) >> 10) & 0x000F_000F_000F_000F;
    before | ((twos - 10 * before) << 8)
}

/// Returns the characters of digits.
#[inline]
fn characters(digits: u64) -> u64 {
    digits | 0x3030_3030_3030_3030
}

/// Returns the characters of an integer that is also an integer in JSON, the first one in the
/// lowest byte. Handles at most 16 characters, as nearly all integers have: they are checked and
/// copied in registers.
#[inline(always)]
pub(crate) fn short_integer(text: &[u8]) -> Option<u128> {
    if text.len() > 16 {
        return None;
    }
    let characters = padded(text);
    let (digits, length) = match text.first() {
        Some(b'-') => (characters >> 8, text.len() - 1),
        _ => (characters, text.len()),
    };
    let leads_with_zero = digits & 0xFF == u128::from(b'0') && length > 1;
    let valid = length > 0 && leading_digits(digits) == length && !leads_with_zero;
    valid.then_some(characters)
}

/// Returns the number of decimal digits at the start of 16 characters, the first one in the lowest
/// byte.
#[inline(always)]
fn leading_digits(characters: u128) -> usize {
    const ONES: u128 = u128::MAX / 0xFF;
    // A digit becomes its value. A byte above 9 gets its highest bit set by adding 0x76, unless
    // that is set already. A carry changes only bytes after the first such byte.
    let values = characters ^ (ONES * b'0' as u128);
    let others = (values | values.wrapping_add(ONES * 0x76)) & (ONES * 0x80);
    (others.trailing_zeros() / 8) as usize
}

/// Returns the number of decimal digits at the start of 8 characters, the first one in the lowest
/// byte.
#[inline(always)]
pub(super) fn leading_digits_of_word(characters: u64) -> usize {
    const ONES: u64 = u64::MAX / 0xFF;
    let values = characters ^ (ONES * b'0' as u64);
    let others = (values | values.wrapping_add(ONES * 0x76)) & (ONES * 0x80);
    (others.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg_attr(miri, ignore = "takes minutes in Miri")]
    #[test]
    fn numbers_of_eight_digits_are_written_as_by_the_standard_library() {
        let steps = (0..100_000_000).step_by(if cfg!(miri) { 9_999_991 } else { 101 });
        for number in steps.chain(0..10_100) {
            let characters = eight_digits(number);
            assert_eq!(
                std::str::from_utf8(&characters).unwrap(),
                format!("{number:08}")
            );
        }
    }

    #[test]
    fn numbers_of_every_length_are_written_as_by_the_standard_library() {
        let mut out = Vec::new();
        let mut power = 1_u64;
        for _ in 0..20 {
            for number in [power - 1, power, power + 1, power.wrapping_mul(9), u64::MAX] {
                out.clear();
                write_u64(number, &mut out);
                assert_eq!(out, number.to_string().as_bytes());
                let signed = number.cast_signed().wrapping_neg();
                out.clear();
                write_i64(signed, &mut out);
                assert_eq!(out, signed.to_string().as_bytes());
            }
            power = power.wrapping_mul(10);
        }
        out.clear();
        write_i64(i64::MIN, &mut out);
        assert_eq!(out, b"-9223372036854775808");
    }
}
