//! Numerics as keys.
//!
//! The stored form is the tuple `("N", (exponent, digits), binary)`. Exponent and digits sort as
//! the numbers do, and the number is read back from `binary`, the server's binary format. Only the
//! binary format has the scale; the scale of zero is not stored.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use super::super::error::ValueError;
use super::tuple;

/// Value of type `numeric`, as the server's text. Comparing and hashing ignore the scale.
#[derive(Clone)]
pub struct Decimal {
    text: Box<str>,
}

const NUMERIC: ValueError = ValueError::new("numeric", "a decimal number, NaN or Infinity");
const STORED: ValueError = ValueError::new("stored row key", "the parts of a numeric");

/// Number added to the stored exponent, so that it is positive for all positive numbers.
const BIAS: i64 = 20_000;
const NEGATIVE: u16 = 0x4000;

/// Parts of a number without its scale. The variants are in the order of the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parts<'a> {
    NegativeInfinity,
    Finite {
        sign: Ordering,
        integer: &'a [u8],
        fraction: &'a [u8],
    },
    Infinity,
    Nan,
}

impl Decimal {
    /// Reads the server's text.
    ///
    /// # Errors
    ///
    /// Fails if the text is neither plain decimal notation nor one of the special words.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let valid = match text {
            "NaN" | "Infinity" | "-Infinity" => true,
            _ => {
                let digits =
                    |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
                let number = text.strip_prefix('-').unwrap_or(text);
                match number.split_once('.') {
                    Some((integer, fraction)) => digits(integer) && digits(fraction),
                    None => digits(number),
                }
            }
        };
        if valid {
            Ok(Self { text: text.into() })
        } else {
            Err(NUMERIC)
        }
    }

    /// Returns the text, which has the scale.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Splits the number into digits before the point, without leading zeros, and digits after it,
    /// without trailing zeros.
    fn parts(&self) -> Parts<'_> {
        match &*self.text {
            "NaN" => Parts::Nan,
            "Infinity" => Parts::Infinity,
            "-Infinity" => Parts::NegativeInfinity,
            text => {
                let (negative, number) = match text.strip_prefix('-') {
                    Some(number) => (true, number),
                    None => (false, text),
                };
                let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
                let integer = integer.trim_start_matches('0');
                let fraction = fraction.trim_end_matches('0');
                let sign = match (negative, integer.is_empty() && fraction.is_empty()) {
                    (_, true) => Ordering::Equal,
                    (true, false) => Ordering::Less,
                    (false, false) => Ordering::Greater,
                };
                let (integer, fraction) = (integer.as_bytes(), fraction.as_bytes());
                Parts::Finite {
                    sign,
                    integer,
                    fraction,
                }
            }
        }
    }

    /// Returns the scale: the number of digits after the point, trailing zeros included.
    fn scale(&self) -> usize {
        self.text
            .split_once('.')
            .map_or(0, |(_, fraction)| fraction.len())
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let Parts::Finite {
            sign,
            integer,
            fraction,
        } = self.parts()
        else {
            return tuple::write_string(&self.text, out);
        };
        tuple::write_nested(out, |out| {
            tuple::write_string("N", out);
            tuple::write_nested(out, |out| write_sortable(sign, integer, fraction, out));
            let scale = if sign == Ordering::Equal {
                0
            } else {
                self.scale()
            };
            tuple::write_bytes(&binary(sign, integer, fraction, scale), out);
        });
    }

    pub(super) fn decode(input: &mut &[u8]) -> Result<Self, ValueError> {
        if input.first() == Some(&0x02) {
            return Self::parse(&tuple::read_string(input)?);
        }
        let binary = tuple::read_nested(input, |input| {
            if tuple::read_string(input)? != "N" {
                return Err(STORED);
            }
            tuple::read_nested(input, |input| {
                tuple::read_integer(input)?;
                tuple::read_bytes(input)
            })?;
            tuple::read_bytes(input)
        })?;
        let text = text_of(&binary).ok_or(STORED)?;
        Ok(Self { text: text.into() })
    }
}

/// Appends the two elements that sort as the numbers do: the exponent of the first digit, and the
/// digits. For negative numbers, the exponent is negated and the digits are complemented.
fn write_sortable(sign: Ordering, integer: &[u8], fraction: &[u8], out: &mut Vec<u8>) {
    let zeros = fraction.iter().take_while(|&&byte| byte == b'0').count();
    let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    let exponent = if integer.is_empty() {
        -count(zeros)
    } else {
        count(integer.len())
    } + BIAS;
    let skipped = if integer.is_empty() { zeros } else { 0 };
    let digits = integer.iter().chain(fraction).skip(skipped).copied();
    let mut digits: Vec<u8> = digits.collect();
    let length = digits
        .iter()
        .rposition(|&byte| byte != b'0')
        .map_or(0, |last| last + 1);
    digits.truncate(length);
    let exponent = match sign {
        Ordering::Equal => 0,
        Ordering::Greater => exponent,
        Ordering::Less => {
            digits
                .iter_mut()
                .for_each(|byte| *byte = b'0' + b'9' - *byte);
            digits.push(b':');
            -exponent
        }
    };
    tuple::write_integer(exponent, out);
    tuple::write_bytes(&digits, out);
}

/// Returns the server's binary format: number of digits in base 10000, weight of the first one,
/// sign, scale, digits. Unlike the server's, it has trailing zero digits after the point, as in
/// keys that are stored already.
fn binary(sign: Ordering, integer: &[u8], fraction: &[u8], scale: usize) -> Vec<u8> {
    let number = |digits: &[u8]| {
        digits
            .iter()
            .fold(0, |number: u16, byte| number * 10 + u16::from(byte - b'0'))
    };
    // Groups of four digits are counted from the point; the first group may be shorter.
    let (head, whole) = integer.split_at(integer.len() % 4);
    let mut groups: Vec<u16> = Vec::with_capacity(integer.len() / 4 + scale / 4 + 2);
    groups.extend((!head.is_empty()).then(|| number(head)));
    groups.extend(whole.chunks(4).map(number));
    let weight = i64::try_from(groups.len()).unwrap_or(i64::MAX) - 1;
    if scale == 0 {
        groups.truncate(
            groups
                .iter()
                .rposition(|&group| group != 0)
                .map_or(0, |last| last + 1),
        );
    }
    for group in 0..scale.div_ceil(4) {
        let mut digits = [b'0'; 4];
        let rest = fraction.get(group * 4..).unwrap_or_default();
        digits
            .iter_mut()
            .zip(rest)
            .for_each(|(to, from)| *to = *from);
        groups.push(number(&digits));
    }
    let mut bytes = Vec::with_capacity(8 + groups.len() * 2);
    let sign = if sign == Ordering::Less { NEGATIVE } else { 0 };
    // Each of these fits in 16 bits for every number that the server can store. The weight is
    // negative if there are no digits before the point.
    let [.., a, b] = weight.to_be_bytes();
    for half in [
        low_half(groups.len()),
        u16::from_be_bytes([a, b]),
        sign,
        low_half(scale),
    ] {
        bytes.extend_from_slice(&half.to_be_bytes());
    }
    groups
        .iter()
        .for_each(|group| bytes.extend_from_slice(&group.to_be_bytes()));
    bytes
}

fn low_half(number: usize) -> u16 {
    let [.., a, b] = number.to_be_bytes();
    u16::from_be_bytes([a, b])
}

/// Returns the text of a number in the server's binary format; `None` if it is malformed.
fn text_of(binary: &[u8]) -> Option<String> {
    let (halves, []) = binary.as_chunks::<2>() else {
        return None;
    };
    let [count, weight, sign, scale, groups @ ..] = halves else {
        return None;
    };
    let weight = i64::from(i16::from_be_bytes(*weight));
    let sign = u16::from_be_bytes(*sign);
    let scale = usize::from(u16::from_be_bytes(*scale));
    if usize::from(u16::from_be_bytes(*count)) != groups.len() || sign & !NEGATIVE != 0 {
        return None;
    }
    // Group that is multiplied by 10000 to the power of `exponent`.
    let group = |exponent: i64| {
        let index = usize::try_from(weight - exponent).ok();
        index
            .and_then(|index| groups.get(index))
            .map_or(0, |group| u16::from_be_bytes(*group))
    };
    if groups.iter().any(|group| u16::from_be_bytes(*group) > 9999) {
        return None;
    }
    let integer: String = (0..=weight)
        .rev()
        .map(|exponent| format!("{:04}", group(exponent)))
        .collect();
    let integer = integer.trim_start_matches('0');
    let mut text = String::with_capacity(integer.len() + scale + 3);
    if sign == NEGATIVE {
        text.push('-');
    }
    text.push_str(if integer.is_empty() { "0" } else { integer });
    if scale > 0 {
        text.push('.');
        let end = text.len() + scale;
        let mut exponent = -1;
        while text.len() < end {
            text.push_str(&format!("{:04}", group(exponent)));
            exponent -= 1;
        }
        text.truncate(end);
    }
    Some(text)
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let variant_order = |parts: &Parts<'_>| match parts {
            Parts::NegativeInfinity => 0,
            Parts::Finite { .. } => 1,
            Parts::Infinity => 2,
            Parts::Nan => 3,
        };
        let (left, right) = (self.parts(), other.parts());
        let (
            Parts::Finite {
                sign,
                integer,
                fraction,
            },
            Parts::Finite {
                sign: other_sign,
                integer: other_integer,
                fraction: other_fraction,
            },
        ) = (left, right)
        else {
            return variant_order(&left).cmp(&variant_order(&right));
        };
        // Without leading and trailing zeros, a longer integer is larger, and fractions sort as
        // text.
        sign.cmp(&other_sign).then_with(|| {
            let magnitude = (integer.len().cmp(&other_integer.len()))
                .then_with(|| integer.cmp(other_integer))
                .then_with(|| fraction.cmp(other_fraction));
            if sign == Ordering::Less {
                magnitude.reverse()
            } else {
                magnitude
            }
        })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Decimal {}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.parts() {
            Parts::Finite {
                sign,
                integer,
                fraction,
            } => (sign, integer, fraction).hash(state),
            _ => self.text.hash(state),
        }
    }
}

impl std::fmt::Debug for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decimal(..)")
    }
}
