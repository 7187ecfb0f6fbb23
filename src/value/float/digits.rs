//! Numbers as their shortest digits, and the notations that these are written in.

use super::width::Width;
use crate::json;

/// Number that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::value) enum Float {
    Nan,
    Infinity,
    NegativeInfinity,
    Finite(Digits),
}

/// Shortest digits of a finite number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::value) struct Digits {
    negative: bool,
    digits: [u8; CAPACITY],
    /// Number of digits, without zeros at either end; 0 for zero.
    length: usize,
    /// Exponent: the number is 0.DIGITS times ten to this power.
    point: i32,
}

/// Number of digits that distinguishes all numbers of 64 bits.
const CAPACITY: usize = 17;

impl Float {
    /// Reads the server's text.
    pub(in crate::value) fn parse(text: &[u8], width: Width) -> Option<Self> {
        match text {
            b"NaN" => return Some(Self::Nan),
            b"Infinity" => return Some(Self::Infinity),
            b"-Infinity" => return Some(Self::NegativeInfinity),
            _ => {}
        }
        let taken = Digits::parse(text)?;
        let exact =
            taken.length <= width.faithful_digits() && width.normal().contains(&taken.point);
        if exact {
            Some(Self::Finite(taken))
        } else {
            shortest(text, width).map(Self::Finite)
        }
    }
}

/// Computes the shortest digits of the number that a text represents. Of two candidates that are
/// equally near, `zmij` takes the even one, as the server does; the standard library takes the
/// upper one.
fn shortest(text: &[u8], width: Width) -> Option<Digits> {
    let text = std::str::from_utf8(text).ok()?;
    let mut buffer = zmij::Buffer::new();
    let shortest = match width {
        Width::Single => buffer.format_finite(text.parse().ok().filter(|n: &f32| n.is_finite())?),
        Width::Double => buffer.format_finite(text.parse().ok().filter(|n: &f64| n.is_finite())?),
    };
    Digits::parse(shortest.as_bytes())
}

impl Digits {
    /// Reads decimal notation. More digits than [`CAPACITY`] are counted in `length`, but not
    /// stored.
    fn parse(text: &[u8]) -> Option<Self> {
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let (integer, mut rest) = split_digits(text);
        let mut fraction: &[u8] = &[];
        if let Some(after) = rest.strip_prefix(b".") {
            (fraction, rest) = split_digits(after);
            if fraction.is_empty() {
                return None;
            }
        }
        if integer.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', exponent @ ..] => parse_exponent(exponent)?,
            _ => return None,
        };
        let mut integer = trim_start(integer);
        let mut point = i32::try_from(integer.len()).ok()?;
        if integer.is_empty() {
            let significant = trim_start(fraction);
            point = -i32::try_from(fraction.len() - significant.len()).ok()?;
            fraction = significant;
        }
        fraction = trim_end(fraction);
        if fraction.is_empty() {
            integer = trim_end(integer);
        }
        let length = integer.len() + fraction.len();
        let point = if length == 0 {
            0
        } else {
            point.checked_add(exponent)?
        };
        let mut digits = [0; CAPACITY];
        let kept = integer.iter().chain(fraction);
        digits
            .iter_mut()
            .zip(kept)
            .for_each(|(to, from)| *to = *from);
        Some(Self {
            negative,
            digits,
            length,
            point,
        })
    }

    fn digits(&self) -> &[u8] {
        self.digits.get(..self.length).unwrap_or(&self.digits)
    }

    /// Appends the number in the notation for JSON numbers, with an exponent below 1e-6 and from
    /// 1e21.
    pub(in crate::value) fn write_json(&self, out: &mut Vec<u8>) {
        if self.length == 0 || (-5..=21).contains(&self.point) {
            self.write_plain(out);
        } else {
            self.write_scientific(1, out);
        }
    }

    /// Appends the number without an exponent, whatever its size.
    pub(in crate::value) fn write_plain(&self, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        let digits = self.digits();
        match usize::try_from(self.point) {
            _ if digits.is_empty() => out.push(b'0'),
            Ok(point @ 1..) => match digits.split_at_checked(point) {
                Some((integer, [])) => out.extend_from_slice(integer),
                Some((integer, fraction)) => {
                    out.extend_from_slice(integer);
                    out.push(b'.');
                    out.extend_from_slice(fraction);
                }
                None => {
                    out.extend_from_slice(digits);
                    out.resize(out.len() + point - digits.len(), b'0');
                }
            },
            _ => {
                out.extend_from_slice(b"0.");
                let zeros = usize::try_from(self.point.unsigned_abs()).unwrap_or(0);
                out.resize(out.len() + zeros, b'0');
                out.extend_from_slice(digits);
            }
        }
    }

    /// Appends the number in the notation for points, with an exponent of at least two digits below
    /// 1e-4 and from 1e6.
    pub(in crate::value) fn write_point(&self, out: &mut Vec<u8>) {
        if self.length == 0 || (-3..=6).contains(&self.point) {
            self.write_plain(out);
        } else {
            self.write_scientific(2, out);
        }
    }

    fn write_scientific(&self, exponent_digits: usize, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        if let [first, rest @ ..] = self.digits() {
            out.push(*first);
            if !rest.is_empty() {
                out.push(b'.');
                out.extend_from_slice(rest);
            }
        }
        let exponent = i64::from(self.point) - 1;
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        if exponent.abs() < 10 && exponent_digits == 2 {
            out.push(b'0');
        }
        json::write_u64(exponent.unsigned_abs(), out);
    }
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

fn trim_start(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&byte| byte == b'0').count();
    digits.get(zeros..).unwrap_or_default()
}

fn trim_end(digits: &[u8]) -> &[u8] {
    let zeros = digits
        .iter()
        .rev()
        .take_while(|&&byte| byte == b'0')
        .count();
    digits.get(..digits.len() - zeros).unwrap_or_default()
}

fn parse_exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let (digits, []) = split_digits(digits) else {
        return None;
    };
    if !(1..=4).contains(&digits.len()) {
        return None;
    }
    let exponent = digits
        .iter()
        .fold(0, |sum, byte| sum * 10 + i32::from(byte - b'0'));
    Some(if negative { -exponent } else { exponent })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notation(text: &str, width: Width, write: fn(&Digits, &mut Vec<u8>)) -> String {
        let Some(Float::Finite(digits)) = Float::parse(text.as_bytes(), width) else {
            panic!("{text}");
        };
        let mut out = Vec::new();
        write(&digits, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_numbers() {
        let single = [
            ("123.456", "123.456"),
            ("0.1", "0.1"),
            ("1.6777216e+07", "16777216"),
            ("1e+20", "100000000000000000000"),
            ("1e+21", "1e+21"),
            ("1e-06", "0.000001"),
            ("1e-07", "1e-7"),
            ("9.99999e+20", "999999000000000000000"),
            ("3.4028235e+38", "3.4028235e+38"),
            ("1e-45", "1e-45"),
            ("-0", "-0"),
            ("0", "0"),
            // Texts of servers before version 12.
            ("0.100000001", "0.1"),
            ("1.40129846e-45", "1e-45"),
        ];
        let double = [
            ("123.456789012345", "123.456789012345"),
            ("9.999999999999999e+20", "999999999999999900000"),
            ("1.7976931348623157e+308", "1.7976931348623157e+308"),
            ("5e-324", "5e-324"),
            ("9007199254740992", "9007199254740992"),
            ("1e+300", "1e+300"),
            ("1e-07", "1e-7"),
            ("-12.3456789", "-12.3456789"),
            ("100", "100"),
            ("1.5e+15", "1500000000000000"),
            ("123456789.12345679", "123456789.12345679"),
            // Halfway between two numbers, where the server does not use the shortest digits.
            ("9.999999999999999e+22", "1e+23"),
            ("0.10000000000000001", "0.1"),
            ("0.59999999999999998", "0.6"),
            // Halfway between two decimals of the same length.
            ("1.0831645947917352e+15", "1083164594791735.2"),
            ("700000000000000.25", "700000000000000.2"),
            ("700000000000000.75", "700000000000000.8"),
        ];
        for (text, expected) in single {
            assert_eq!(notation(text, Width::Single, Digits::write_json), expected);
        }
        for (text, expected) in double {
            assert_eq!(notation(text, Width::Double, Digits::write_json), expected);
        }
    }

    #[test]
    fn plain_and_point_notation() {
        let plain = [
            ("3.14", "3.14"),
            ("1e+21", "1000000000000000000000"),
            ("1e-07", "0.0000001"),
            ("-0", "-0"),
            ("2", "2"),
            ("-1.5e+02", "-150"),
            ("1.2345e+02", "123.45"),
        ];
        for (text, expected) in plain {
            assert_eq!(notation(text, Width::Double, Digits::write_plain), expected);
        }
        let point = [
            ("1000000", "1e+06"),
            ("123456789.5", "1.234567895e+08"),
            ("999999", "999999"),
            ("0.0001", "0.0001"),
            ("1e-05", "1e-05"),
            ("1e+30", "1e+30"),
            ("1e+100", "1e+100"),
            ("-2.5", "-2.5"),
            ("0", "0"),
        ];
        for (text, expected) in point {
            assert_eq!(notation(text, Width::Double, Digits::write_point), expected);
        }
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in [
            "", "-", ".5", "1.", "1e", "1e+", "1x", "0x10", "inf", "nan", "1e99999", "1 ",
        ] {
            assert_eq!(Float::parse(text.as_bytes(), Width::Double), None, "{text}");
        }
        assert_eq!(Float::parse(b"1e+39", Width::Single), None);
    }
}
