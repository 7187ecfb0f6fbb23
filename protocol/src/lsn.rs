//! Log sequence numbers.

use std::{fmt, str::FromStr};

/// Log sequence number (LSN): a byte position in the write-ahead log.
///
/// The text form is that of the server: `16/B374D848`.
///
/// See <https://www.postgresql.org/docs/current/datatype-pg-lsn.html>.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// The invalid LSN `0/0`, which is no position.
    pub const INVALID: Self = Self(0);

    /// Creates an LSN from its number.
    #[inline]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    #[inline]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Returns whether this is a position, and not [`INVALID`](Self::INVALID).
    #[inline]
    pub const fn is_valid(self) -> bool {
        self.0 != 0
    }

    /// Returns the number of bytes from `earlier` to this position; 0 if `earlier` is not earlier.
    #[inline]
    pub const fn distance(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<u64> for Lsn {
    #[inline]
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl From<Lsn> for u64 {
    #[inline]
    fn from(lsn: Lsn) -> Self {
        lsn.0
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lsn({self})")
    }
}

impl FromStr for Lsn {
    type Err = ParseLsnError;

    /// Parses two hexadecimal numbers of up to eight digits each, separated by a slash.
    fn from_str(text: &str) -> Result<Self, ParseLsnError> {
        fn half(digits: &str) -> Result<u64, ParseLsnError> {
            // `from_str_radix` alone would accept a sign.
            if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(ParseLsnError(()));
            }
            u64::from_str_radix(digits, 16).map_err(|_| ParseLsnError(()))
        }
        let (high, low) = text.split_once('/').ok_or(ParseLsnError(()))?;
        Ok(Self(half(high)? << 32 | half(low)?))
    }
}

/// Error in parsing an [`Lsn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseLsnError(());

impl fmt::Display for ParseLsnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a position in the write-ahead log, such as 16/B374D848")
    }
}

impl std::error::Error for ParseLsnError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_number_convert_both_ways() {
        for (text, number) in [
            ("0/0", 0),
            ("16/B374D848", 0x16_B374_D848),
            ("FFFFFFFF/FFFFFFFF", u64::MAX),
            ("1/0", 1 << 32),
            ("0/1", 1),
        ] {
            let lsn: Lsn = text.parse().unwrap();
            assert_eq!(lsn.as_u64(), number);
            assert_eq!(lsn.to_string(), text);
        }
        assert_eq!("16/b374d848".parse(), Ok(Lsn::new(0x16_B374_D848)));
        assert_eq!("00000016/0B374D84".parse(), Ok(Lsn::new(0x16_0B37_4D84)));
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in [
            "",
            "/",
            "0",
            "0/",
            "/0",
            "0/0/0",
            "+1/0",
            "0/-1",
            " 0/0",
            "0/0 ",
            "123456789/0",
            "G/0",
        ] {
            assert!(text.parse::<Lsn>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn positions_are_ordered_and_have_distances() {
        let earlier = Lsn::new(10);
        let later = Lsn::from(25);
        assert!(earlier < later);
        assert_eq!(later.distance(earlier), 15);
        assert_eq!(earlier.distance(later), 0);
        assert!(!Lsn::INVALID.is_valid() && later.is_valid());
        assert_eq!(format!("{later:?}"), "Lsn(0/19)");
    }
}
