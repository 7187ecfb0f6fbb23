//! Fast paths for short values in their usual forms.
//!
//! Nearly all dates and timestamps need little change from the server's text to RFC 3339. They are
//! checked and copied in registers, eight characters at a time. All other texts, valid or not, are
//! left to `scalar` and `time`.

use crate::json::{self, Kernel, OutputCursor};

/// Fast path for the short values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FastPath {
    /// A string of the text.
    Text,
    Integer,
    Bool,
    /// A date that is written as a date, not as a timestamp.
    Date,
    Timestamp,
    Timestamptz,
    /// No fast path.
    None,
}

/// Pattern of eight characters: `0` matches any digit, `5` a digit up to 5, other characters
/// themselves.
#[derive(Clone, Copy)]
struct Pattern {
    /// Characters of the pattern, with `0` for all digits.
    characters: u64,
    /// Numbers that, added to a value that is too large, set the highest bit of its byte.
    to_high_bit: u64,
}

impl Pattern {
    const fn new(pattern: [u8; 8]) -> Self {
        let (mut characters, mut to_high_bit) = (pattern, [0; 8]);
        let mut at = 0;
        while at < 8 {
            (characters[at], to_high_bit[at]) = match pattern[at] {
                b'0' => (b'0', 0x80 - 10),
                b'5' => (b'0', 0x80 - 6),
                other => (other, 0x80 - 1),
            };
            at += 1;
        }
        Self {
            characters: u64::from_le_bytes(characters),
            to_high_bit: u64::from_le_bytes(to_high_bit),
        }
    }

    /// Returns the values of the digits, one in each byte, and a mask that is 0 if all characters
    /// match. Otherwise the lowest set bit of the mask is in the first character that does not
    /// match; a carry changes only the bytes after it.
    #[inline(always)]
    fn compare(self, characters: u64) -> (u64, u64) {
        let values = characters ^ self.characters;
        let others = (values | values.wrapping_add(self.to_high_bit)) & 0x8080_8080_8080_8080;
        (values, others)
    }

    /// Returns the number of characters at the start that match.
    #[inline(always)]
    fn count(self, characters: u64) -> usize {
        (self.compare(characters).1.trailing_zeros() / 8) as usize
    }
}

const YEAR_AND_MONTH: Pattern = Pattern::new(*b"0000-00-");
const SHORT_DATE: Pattern = Pattern::new(*b"00-00-00");
const DAY_AND_MINUTE: Pattern = Pattern::new(*b"00 00:50");
const CLOCK: Pattern = Pattern::new(*b"00:50:50");
const FRACTION: Pattern = Pattern::new(*b".0000000");
/// Offset after its sign, of which `:MM` may be absent.
const OFFSET: Pattern = Pattern::new(*b"00:50\0\0\0");

/// Writes a boolean.
#[inline(always)]
pub(super) fn write_bool(text: &[u8], window: &mut [u8; json::VALUE_WINDOW]) -> Option<usize> {
    let (word, length) = match text {
        b"t" => (b"true ", 4),
        b"f" => (b"false", 5),
        _ => return None,
    };
    *window.first_chunk_mut()? = *word;
    Some(length)
}

/// Returns the number of two digits, from this index in the values.
#[inline]
fn pair(values: u64, index: u32) -> u64 {
    let digit = |index: u32| values >> (8 * index) & 0xF;
    digit(index) * 10 + digit(index + 1)
}

/// Returns whether the first four digits are not all zero.
#[inline]
fn is_year(values: u64) -> bool {
    values & 0xFFFF_FFFF != 0
}

/// Returns whether a text is a date of the years 1 to 9999. The length of the month is not checked.
#[inline]
pub(super) fn is_date(text: &[u8]) -> bool {
    let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) else {
        return false;
    };
    let (first, first_others) = YEAR_AND_MONTH.compare(u64::from_le_bytes(*first));
    let (last, last_others) = SHORT_DATE.compare(u64::from_le_bytes(*last));
    text.len() == "YYYY-MM-DD".len()
        && first_others | last_others == 0
        && is_year(first)
        && (1..=12).contains(&pair(last, 3))
        && (1..=31).contains(&pair(last, 6))
}

/// Returns whether a text is a time of day before 24:00, without a trailing zero in its fraction.
#[inline]
pub(super) fn is_time(text: &[u8]) -> bool {
    let Some((clock, fraction)) = text.split_first_chunk() else {
        return false;
    };
    let (values, others) = CLOCK.compare(u64::from_le_bytes(*clock));
    others == 0 && pair(values, 0) < 24 && is_fraction(fraction)
}

/// Returns whether a text is a number of hours, minutes and seconds that is not zero.
#[inline]
pub(super) fn is_clock(text: &[u8]) -> bool {
    let Some((hours, clock)) = text.split_last_chunk() else {
        return false;
    };
    let (values, others) = CLOCK.compare(u64::from_le_bytes(*clock));
    // The pattern has two digits of the hours; there may be more.
    let has_more_hours = match hours {
        [b'1'..=b'9', more @ ..] => more.len() < 6 && more.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    others == 0 && (has_more_hours || hours.is_empty() && values != 0)
}

/// Timestamp of the years 1 to 9999, split into the parts that are copied.
struct Timestamp<'a> {
    /// Date and minute, with the space between date and time of day.
    minute: &'a [u8; 16],
    /// Colon, seconds, and a fraction without trailing zeros.
    seconds: &'a [u8],
    /// Sign, hours and optional minutes of the offset; empty for UTC.
    offset: &'a [u8],
}

impl<'a> Timestamp<'a> {
    /// Splits a text, if it is such a timestamp. It has an offset only if it is `zoned`.
    #[inline]
    pub(super) fn find(text: &'a [u8], zoned: bool) -> Option<Self> {
        let (minute, rest) = text.split_first_chunk::<16>()?;
        let [month, day] = minute.as_chunks::<8>().0 else {
            return None;
        };
        let clock = text.get(11..19)?.first_chunk()?;
        let (month, month_others) = YEAR_AND_MONTH.compare(u64::from_le_bytes(*month));
        let (day, day_others) = DAY_AND_MINUTE.compare(u64::from_le_bytes(*day));
        let (clock, clock_others) = CLOCK.compare(u64::from_le_bytes(*clock));
        // All conditions in one branch: they hardly ever fail, and a branch for each costs more.
        let valid = (month_others | day_others | clock_others == 0)
            & is_year(month)
            & (1..=12).contains(&pair(month, 5))
            & (1..=31).contains(&pair(day, 0))
            & (pair(clock, 0) < 24);
        let (seconds, offset) = if zoned {
            split_offset(rest)?
        } else {
            (rest, &[][..])
        };
        (valid && is_fraction(seconds.get(3..)?)).then_some(Self {
            minute,
            seconds,
            offset,
        })
    }

    /// Appends the timestamp as a JSON string, in the format of RFC 3339.
    #[inline]
    pub(super) fn write(&self, cursor: &mut OutputCursor<'_>) {
        cursor.push(b"\"");
        // The space between date and time becomes a T.
        let space = u128::from(b' ' ^ b'T') << (8 * "YYYY-MM-DD".len());
        cursor.push_register(u128::from_le_bytes(*self.minute) ^ space, self.minute.len());
        cursor.push_register(json::padded(self.seconds), self.seconds.len());
        match self.offset {
            [] => cursor.push(b"Z\""),
            offset => {
                cursor.push_register(json::padded(offset), offset.len());
                if offset.len() == "+HH".len() {
                    cursor.push(b":00");
                }
                cursor.push(b"\"");
            }
        }
    }
}

/// Appends a timestamp of the years 1 to 9999. Returns false for other texts.
#[inline(never)]
pub(super) fn write(text: &[u8], zoned: bool, cursor: &mut OutputCursor<'_>) -> bool {
    let found = Timestamp::find(text, zoned);
    if let Some(timestamp) = &found {
        timestamp.write(cursor);
    }
    found.is_some()
}

const MINUTE_AND_SECOND: Pattern = Pattern::new(*b":50.0000");
const MICROSECONDS: Pattern = Pattern::new(*b"0.000000");

/// Writes a timestamp in UTC, given without an offset, as most timestamps are.
#[inline(always)]
pub(super) fn write_short<K: Kernel>(
    text: &[u8],
    kernel: K,
    window: &mut [u8; json::VALUE_WINDOW],
) -> Option<usize> {
    kernel
        .timestamp(text, window)
        .or_else(|| write_microseconds(text, window))
}

/// Writes a timestamp in UTC with six digits after the point, the last of which is not a zero.
#[inline(always)]
fn write_microseconds(text: &[u8], window: &mut [u8; json::VALUE_WINDOW]) -> Option<usize> {
    const LENGTH: usize = "YYYY-MM-DD hh:mm:ss.ffffff".len();
    let text: &[u8; LENGTH] = text.try_into().ok()?;
    let word = |from: usize| Some(u64::from_le_bytes(*text.get(from..)?.first_chunk()?));
    let (date, time, second, fraction) = (word(0)?, word(8)?, word(16)?, word(LENGTH - 8)?);
    let (month, date_others) = YEAR_AND_MONTH.compare(date);
    let (day_and_hour, time_others) = DAY_AND_MINUTE.compare(time);
    let (_, second_others) = MINUTE_AND_SECOND.compare(second);
    let (digits, fraction_others) = MICROSECONDS.compare(fraction);
    let valid = (date_others | time_others | second_others | fraction_others == 0)
        & is_year(month)
        & (1..=12).contains(&pair(month, 5))
        & (1..=31).contains(&pair(day_and_hour, 0))
        & (pair(day_and_hour, 3) < 24)
        & (digits >> 56 != 0);
    // The space between date and time becomes a T.
    let time = time ^ u64::from(b' ' ^ b'T') << 16;
    for (at, word) in [(1, date), (9, time), (17, second), (LENGTH - 7, fraction)] {
        *window.get_mut(at..)?.first_chunk_mut()? = word.to_le_bytes();
    }
    *window.first_mut()? = b'"';
    *window.get_mut(LENGTH + 1..)?.first_chunk_mut()? = *b"Z\"";
    valid.then_some(LENGTH + 3)
}

/// Splits an offset of whole minutes from the end of a text. `+00` becomes empty.
#[inline(always)]
fn split_offset(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(rest) = text.strip_suffix(b"+00") {
        return Some((rest, &[]));
    }
    let length = match text {
        [.., b'+' | b'-', _, _] => 3,
        [.., b'+' | b'-', _, _, b':', _, _] => 6,
        _ => return None,
    };
    let (rest, offset) = text.split_at_checked(text.len().checked_sub(length)?)?;
    let characters = json::padded_word(offset.get(1..)?);
    let (matching, values) = (OFFSET.count(characters), OFFSET.compare(characters).0);
    // An offset of zero is not handled, because RFC 3339 writes it as `Z`.
    let shown = values & 0x0000_000F_0F00_0F0F != 0;
    (shown && matching >= length - 1 && pair(values, 0) < 16).then_some((rest, offset))
}

/// Returns whether a text is empty or a fraction of a second that does not end in a zero.
#[inline(always)]
fn is_fraction(text: &[u8]) -> bool {
    if text.is_empty() {
        return true;
    }
    let usual = (2..=7).contains(&text.len()) && text.last() != Some(&b'0');
    usual && FRACTION.count(json::padded_word(text)) == text.len()
}

#[cfg(test)]
mod tests;
