//! Geometric types: the server's punctuation, with the numbers in another notation.

use super::super::error::ValueError;
use super::super::float::{Digits, Float, Width};

/// Appends the text with each number in the notation that `number` writes.
pub(super) fn write(
    text: &[u8],
    number: fn(&Digits, &mut Vec<u8>),
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    let error = ValueError::new("geometric value", "numbers between parentheses and commas");
    let mut rest = text;
    while let [first, after @ ..] = rest {
        if b"()[]{}<>,".contains(first) {
            out.push(*first);
            rest = after;
            continue;
        }
        let length = rest
            .iter()
            .take_while(|byte| !b"()[]{}<>,".contains(byte))
            .count();
        let (token, after) = rest.split_at(length);
        match Float::parse(token, Width::Double).ok_or(error)? {
            Float::Nan => out.extend_from_slice(b"NaN"),
            Float::Infinity => out.extend_from_slice(b"+Inf"),
            Float::NegativeInfinity => out.extend_from_slice(b"-Inf"),
            Float::Finite(digits) => number(&digits, out),
        }
        rest = after;
    }
    if text.is_empty() { Err(error) } else { Ok(()) }
}
