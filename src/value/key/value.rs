//! Value of a key column, and its order.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use super::decimal::Decimal;

/// Value of one column in a row key.
///
/// Values that one [`super::KeyCodec`] has read compare in the order of the server's `ORDER BY`,
/// NULL last, if [`super::KeyCodec::is_comparable`]; otherwise their order is unspecified. Two
/// values that are equal here are equal to the server. The reverse does not hold for text whose
/// case is folded, or whose collation is not deterministic. `Debug` does not show the value.
#[derive(Clone)]
pub enum KeyValue {
    /// Boolean.
    Bool(bool),
    /// Integer of any width, or the byte of a `"char"`.
    Integer(i64),
    /// `float4`. NaN is the greatest value; both zeros are equal.
    Float4(f32),
    /// `float8`. NaN is the greatest value; both zeros are equal.
    Float8(f64),
    /// `numeric`, compared without its scale.
    Numeric(Decimal),
    /// Binary string.
    Bytes(Box<[u8]>),
    /// `uuid`.
    Uuid([u8; 16]),
    /// Date or timestamp.
    Moment {
        /// Days or microseconds since 2000-01-01 UTC; the least and the greatest number are
        /// infinities.
        ticks: i64,
        /// Offset at which a timestamp is written, in seconds east of UTC. Comparisons ignore it.
        offset: i32,
    },
    /// Text in the order of its bytes.
    Text(Box<str>),
    /// Text in the order of its bytes. Comparisons ignore blanks at its end.
    Padded(Box<str>),
    /// Text with a number that determines its order.
    Ranked(Box<Ranked>),
    /// SQL NULL, after all others.
    Null,
}

/// Text with the number that determines its order.
#[derive(Clone)]
pub struct Ranked {
    rank: i128,
    text: Box<str>,
}

impl Ranked {
    pub(super) fn new(rank: i128, text: Box<str>) -> Self {
        Self { rank, text }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl KeyValue {
    /// Returns the position of the variant in the order of variants. Values of one column are all
    /// of one variant, or NULL, which is last.
    fn variant_order(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Integer(_) => 1,
            Self::Float4(_) => 2,
            Self::Float8(_) => 3,
            Self::Numeric(_) => 4,
            Self::Bytes(_) => 5,
            Self::Uuid(_) => 6,
            Self::Moment { .. } => 7,
            Self::Text(_) => 8,
            Self::Padded(_) => 9,
            Self::Ranked(_) => 10,
            Self::Null => 11,
        }
    }
}

impl Ord for KeyValue {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(left), Self::Integer(right)) => left.cmp(right),
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            (Self::Uuid(left), Self::Uuid(right)) => left.cmp(right),
            (Self::Moment { ticks: left, .. }, Self::Moment { ticks: right, .. }) => {
                left.cmp(right)
            }
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::Float4(left), Self::Float4(right)) => {
                compare_floats(f64::from(*left), f64::from(*right))
            }
            (Self::Float8(left), Self::Float8(right)) => compare_floats(*left, *right),
            (Self::Numeric(left), Self::Numeric(right)) => left.cmp(right),
            (Self::Bytes(left), Self::Bytes(right)) => left.cmp(right),
            (Self::Padded(left), Self::Padded(right)) => unpadded(left).cmp(unpadded(right)),
            (Self::Ranked(left), Self::Ranked(right)) => left.rank.cmp(&right.rank),
            _ => self.variant_order().cmp(&other.variant_order()),
        }
    }
}

impl PartialOrd for KeyValue {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for KeyValue {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for KeyValue {}

impl Hash for KeyValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        discriminant(self).hash(state);
        match self {
            Self::Null => {}
            Self::Bool(value) => value.hash(state),
            Self::Integer(value) => value.hash(state),
            Self::Float4(value) => canonical_bits(f64::from(*value)).hash(state),
            Self::Float8(value) => canonical_bits(*value).hash(state),
            Self::Numeric(value) => value.hash(state),
            Self::Bytes(bytes) => bytes.hash(state),
            Self::Uuid(bytes) => bytes.hash(state),
            Self::Moment { ticks, .. } => ticks.hash(state),
            Self::Text(text) => text.hash(state),
            Self::Padded(text) => unpadded(text).hash(state),
            Self::Ranked(ranked) => ranked.rank.hash(state),
        }
    }
}

impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool(_) => "Bool(..)",
            Self::Integer(_) => "Integer(..)",
            Self::Float4(_) => "Float4(..)",
            Self::Float8(_) => "Float8(..)",
            Self::Numeric(_) => "Numeric(..)",
            Self::Bytes(_) => "Bytes(..)",
            Self::Uuid(_) => "Uuid(..)",
            Self::Moment { .. } => "Moment(..)",
            Self::Text(_) => "Text(..)",
            Self::Padded(_) => "Padded(..)",
            Self::Ranked(_) => "Ranked(..)",
            Self::Null => "Null",
        })
    }
}

impl fmt::Debug for Ranked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ranked(..)")
    }
}

/// Compares floating-point numbers in the server's order.
fn compare_floats(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right)
        .unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

/// Returns bits that are equal for equal numbers.
fn canonical_bits(number: f64) -> u64 {
    // Adding zero makes the negative one positive.
    if number.is_nan() {
        f64::NAN.to_bits()
    } else {
        (number + 0.0).to_bits()
    }
}

fn unpadded(text: &str) -> &str {
    text.trim_end_matches(' ')
}
