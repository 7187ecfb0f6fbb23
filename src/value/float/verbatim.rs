//! Recognition of numbers whose text is copied, as nearly all are, because it is the notation that
//! [`Digits::write_json`](super::Digits::write_json) would write.

use super::width::Width;

/// Powers of ten, up to the number of digits that a fraction may have.
static POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = 10 * powers[at - 1];
        at += 1;
    }
    powers
};

/// Returns whether a text is a number without an exponent and with the shortest digits, which would
/// be written unchanged. `false` means that this was not proved, not that the text differs.
pub(in crate::value) fn is_verbatim(text: &[u8], width: Width) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let point = text.iter().position(|&byte| byte == b'.');
    let (integer, rest) = text.split_at(point.unwrap_or(text.len()));
    let fraction = rest.get(1..).unwrap_or_default();
    // The point is followed by digits, there are no leading or trailing zeros, and the digits fit
    // in 64 bits.
    let whole = match integer {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] if integer.len() + fraction.len() < POWERS.len() => {
            append_digits(0, integer)
        }
        _ => None,
    };
    if point.is_some() && matches!(fraction, [] | [.., b'0']) {
        return false;
    }
    let (Some(whole), Some(power)) = (whole, POWERS.get(fraction.len())) else {
        return false;
    };
    let Some(digits) = append_digits(whole, fraction) else {
        return false;
    };
    // Numbers below a millionth are written with an exponent.
    let is_plain = fraction.len() <= 6 || digits >= power / 1_000_000;
    let faithful = POWERS.get(width.faithful_digits());
    is_plain
        && (faithful.is_some_and(|limit| digits < *limit) || are_shortest(digits, *power, width))
}

/// Appends digits to a number. Returns `None` if a byte is not a digit. The caller has checked that
/// the result fits in 64 bits.
#[inline(always)]
fn append_digits(number: u64, digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(number, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + u64::from(digit))
    })
}

/// Returns whether `digits / power`, a decimal fraction, is the shortest decimal for the nearest
/// floating-point number, and of these the nearest to it. Returns false where a tie or uneven
/// spacing would need a rule.
///
/// The computation is exact, in multiples of `1 / (power << scale)`. In this unit, the distance
/// between two floating-point numbers is `power`, and the distance between two decimals with the
/// digits of the text is `1 << scale`.
fn are_shortest(digits: u64, power: u64, width: Width) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "it is rounded")]
    let (near, dropped): (f64, u64) = match width {
        Width::Single => (f64::from((digits as f64 / power as f64) as f32), 29),
        Width::Double => (digits as f64 / power as f64, 0),
    };
    let leading = 1 << (52 - dropped);
    let significand = near.to_bits() >> dropped & (leading - 1) | leading;
    let scale = (1075 - dropped).checked_sub(near.to_bits() >> 52);
    let Some(scale) = scale.filter(|scale| (1..=69).contains(scale)) else {
        return false;
    };
    if digits >= POWERS[17] || power == 1 {
        return false;
    }
    let (step, gap) = (1_i128 << scale, i128::from(power));
    // Distance by which the decimal is above the number. The division may have rounded to a
    // neighbour.
    let mut above = i128::from(digits) * step - i128::from(significand) * gap;
    let mut found = significand;
    if 2 * above > gap {
        (above, found) = (above - gap, significand + 1);
    } else if 2 * above < -gap {
        (above, found) = (above + gap, significand - 1);
    }
    // Next to a power of two, the distances to the two neighbours differ.
    let is_even_spaced = significand & (leading - 1) != 0 && found & (leading - 1) != 0;
    let is_nearest = 2 * above.abs() < gap.min(step);
    // The two nearest decimals that are one digit shorter represent other numbers.
    let last = i128::from(digits % 10);
    let is_shortest = 2 * (last * step - above) > gap && 2 * ((10 - last) * step + above) > gap;
    is_even_spaced && is_nearest && is_shortest
}

#[cfg(test)]
mod tests {
    use super::super::{Digits, Float};
    use super::*;

    /// Checks that the text is what would be written, if it is copied. Returns whether it is.
    fn check(text: &str, width: Width) -> bool {
        let verbatim = is_verbatim(text.as_bytes(), width);
        if verbatim {
            let Some(Float::Finite(digits)) = Float::parse(text.as_bytes(), width) else {
                panic!("{text}");
            };
            let mut written = Vec::new();
            Digits::write_json(&digits, &mut written);
            assert_eq!(String::from_utf8_lossy(&written), text, "{width:?}");
        }
        verbatim
    }

    /// Returns the number of random numbers of each kind.
    fn rounds() -> u64 {
        let rounds = std::env::var("FLOAT_ROUNDS").map(|rounds| rounds.parse().unwrap());
        rounds.unwrap_or(if cfg!(miri) { 100 } else { 20_000 })
    }

    /// Calls `check` with a number and similar texts, some of which represent another number or are
    /// longer than needed.
    fn with_variants(text: &str, mut check: impl FnMut(&str)) {
        check(text);
        for last in '0'..='9' {
            let mut other = text.to_owned();
            other.pop();
            check(&format!("{other}{last}"));
            check(&format!("{text}{last}"));
        }
        check(&text[..text.len() - 1]);
    }

    #[test]
    fn copied_texts_are_what_would_be_written() {
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let (mut doubles, mut singles) = (0, 0);
        let rounds = rounds();
        for round in 0..rounds {
            let (bits, few) = (next(), 1 << (next() % 52));
            // Exponents from 2^-17 to 2^53; some significands are short.
            let exponent = 1023 - 17 + bits % 70;
            let mask = if round % 4 == 0 { !(few - 1) } else { !0 };
            let double = f64::from_bits(exponent << 52 | (next() >> 12 & mask));
            let single = f32::from_bits(
                u32::try_from((127 - 17 + bits % 41) << 23 | (next() >> 41 & mask)).unwrap(),
            );
            with_variants(&double.to_string(), |text| {
                doubles += u64::from(check(text, Width::Double));
            });
            with_variants(&single.to_string(), |text| {
                singles += u64::from(check(text, Width::Single));
            });
            check(&(bits as f64 / 1e3).to_string(), Width::Double);
        }
        assert!(doubles > rounds / 2 && singles > rounds / 2);
    }

    #[test]
    fn usual_numbers_are_copied() {
        for text in [
            "0",
            "-0",
            "7",
            "-12.5",
            "14285.714285714286",
            "0.1",
            "0.000001",
            "999999999999999",
            "0.14285714285714285",
            "-0.014285714285714285",
            "100",
            "123456789.12345679",
        ] {
            assert!(check(text, Width::Double), "{text}");
        }
        for text in ["0.33333334", "1234.3334", "100000", "-99999.664", "0.1"] {
            assert!(check(text, Width::Single), "{text}");
        }
    }

    #[test]
    fn texts_that_are_malformed_or_not_the_shortest_are_not_copied() {
        for text in [
            "",
            "-",
            "--1",
            "+1",
            ".5",
            "1.",
            "01",
            "00",
            "-01.5",
            "1.50",
            "1.0",
            "0.0",
            "1e5",
            "1.5e+15",
            "NaN",
            "Infinity",
            "1 ",
            " 1",
            "1.2.3",
            "1,5",
            "0.0000009",
            "0.10000000000000001",
            "0.59999999999999998",
            "700000000000000.25",
            "700000000000000.75",
            "12345678901234567890",
            "9999999999999999",
            "0.00000000000000000001",
            "1.\u{b0}",
            "1\u{661}",
        ] {
            assert!(!is_verbatim(text.as_bytes(), Width::Double), "{text}");
        }
        for text in ["0.100000001", "16777216", "1234567", "8388608.5"] {
            assert!(!is_verbatim(text.as_bytes(), Width::Single), "{text}");
        }
    }
}
