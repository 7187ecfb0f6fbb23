//! Widths of floating-point numbers.

/// Width of a number in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::value) enum Width {
    Single,
    Double,
}

impl Width {
    /// Returns the number of decimal digits that survive a conversion to this width and back, for
    /// exponents within [`Self::normal`].
    pub(super) fn faithful_digits(self) -> usize {
        match self {
            Self::Single => 6,
            Self::Double => 15,
        }
    }

    /// Returns exponents of ten that are within the range of full precision.
    pub(super) fn normal(self) -> std::ops::RangeInclusive<i32> {
        match self {
            Self::Single => -36..=37,
            Self::Double => -306..=307,
        }
    }
}
