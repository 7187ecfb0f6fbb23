//! The widths of floating-point numbers.

/// The width of a number in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::value) enum Width {
    Single,
    Double,
}

impl Width {
    /// The number of digits that every number of this width carries without change, within the
    /// exponents given by [`Self::normal`].
    pub(super) fn faithful_digits(self) -> usize {
        match self {
            Self::Single => 6,
            Self::Double => 15,
        }
    }

    /// Exponents of ten that are safely within the range of full precision.
    pub(super) fn normal(self) -> std::ops::RangeInclusive<i32> {
        match self {
            Self::Single => -36..=37,
            Self::Double => -306..=307,
        }
    }
}
