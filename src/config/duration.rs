//! Parser of durations in Go's syntax: `300ms`, `1h30m`, `-1.5s`, `0`.

/// Parses a duration. Returns nanoseconds, or `None` for invalid text and on overflow.
pub(super) fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let nanos: i128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        // Digits after the eighteenth are worth less than a nanosecond in any unit.
        let fraction = fraction.get(..18).unwrap_or(fraction);
        if !whole.is_empty() {
            total += nanos.checked_mul(i128::from(whole.parse::<i64>().ok()?))?;
        }
        if !fraction.is_empty() {
            let digits = u32::try_from(fraction.len()).ok()?;
            total += nanos * i128::from(fraction.parse::<i64>().ok()?) / 10_i128.pow(digits);
        }
        i64::try_from(total).ok()?;
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_that_go_accepts_are_accepted() {
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("300ms", 300_000_000),
            ("1h30m", 5_400_000_000_000),
            ("15m", 900_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("-2s", -2_000_000_000),
            ("+2s", 2_000_000_000),
            ("7\u{b5}s", 7_000),
            ("7\u{3bc}s3us", 10_000),
            ("0.0000000000000000000009h", 0),
            ("8760h", 31_536_000_000_000_000),
            ("2562047h47m16.854775807s", i64::MAX),
        ] {
            assert_eq!(parse(text), Some(nanos), "{text}");
        }
    }

    #[test]
    fn durations_that_go_refuses_are_refused() {
        for text in [
            "",
            "-",
            "+",
            "1",
            "00",
            "s",
            ".s",
            "1d",
            "1 s",
            " 1s",
            "1s ",
            "1m30",
            "--1s",
            "1,5s",
            "9999999999999999999h",
            "2562048h",
            "1.2.3s",
            "\u{661}s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
