//! Which numbers JSON spells as the server does: nearly all. They are copied, and not made anew.

use super::width::Width;

/// Powers of ten of as many digits behind the point as there may be.
static POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = 10 * powers[at - 1];
        at += 1;
    }
    powers
};

/// Returns whether a text is a number without an exponent whose digits are the shortest there are, so
/// that it would be written as it is. `false` says nothing about the text.
pub(in crate::value) fn is_verbatim(text: &[u8], width: Width) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let point = text.iter().position(|&byte| byte == b'.');
    let (integer, rest) = text.split_at(point.unwrap_or(text.len()));
    let fraction = rest.get(1..).unwrap_or_default();
    // A point has digits behind it, no zero leads or trails, and all digits make 64 bits at most.
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
    // What is below a millionth has an exponent.
    let is_plain = fraction.len() <= 6 || digits >= power / 1_000_000;
    let faithful = POWERS.get(width.faithful_digits());
    is_plain
        && (faithful.is_some_and(|limit| digits < *limit) || are_shortest(digits, *power, width))
}

/// Appends digits to a number, if they are nothing else and it does not outgrow 64 bits by them.
#[inline(always)]
fn append_digits(number: u64, digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(number, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + u64::from(digit))
    })
}

/// Returns whether `digits / power`, a fraction in decimal, is what is shortest and nearest to the
/// floating-point number that it stands for. Where that takes a rule, the answer is no.
///
/// All is exact: numbers are multiples of `1 / (power << scale)`. In this unit the distance between
/// floating-point numbers is `power`, and the one between decimals of as many digits is `1 << scale`.
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
    // How far the decimal is above the number. The division may have led to its neighbour.
    let mut above = i128::from(digits) * step - i128::from(significand) * gap;
    let mut found = significand;
    if 2 * above > gap {
        (above, found) = (above - gap, significand + 1);
    } else if 2 * above < -gap {
        (above, found) = (above + gap, significand - 1);
    }
    // The numbers around a power of two are not equally far apart.
    let is_even_spaced = significand & (leading - 1) != 0 && found & (leading - 1) != 0;
    let is_nearest = 2 * above.abs() < gap.min(step);
    // Of the decimals that are shorter by a digit, those around it are other numbers.
    let last = i128::from(digits % 10);
    let is_shortest = 2 * (last * step - above) > gap && 2 * ((10 - last) * step + above) > gap;
    is_even_spaced && is_nearest && is_shortest
}

#[cfg(test)]
mod tests {
    use super::super::{Digits, Float};
    use super::*;

    /// Checks a text, and returns whether it is copied.
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

    /// How many numbers of each kind are tried.
    fn rounds() -> u64 {
        let rounds = std::env::var("FLOAT_ROUNDS").map(|rounds| rounds.parse().unwrap());
        rounds.unwrap_or(if cfg!(miri) { 100 } else { 20_000 })
    }

    /// Calls `check` with a number and spellings like it: some stand for another number, or are longer
    /// than need be.
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
    fn what_is_copied_is_what_would_be_written() {
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
            // Of exponents from a hundred thousandth to 2^53; some significands are short.
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
    fn what_is_usual_is_copied() {
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
    fn what_is_not_the_shortest_or_not_a_number_is_not_copied() {
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
