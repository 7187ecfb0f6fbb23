//! Comparison of the expected JSON of a value with the JSON in a document.

use std::fmt::Write;

use super::database::{Column, Due};
use super::types::Compare;
use crate::support::exact::Exact;
use crate::support::postgres::Version;

/// Form of arrays in documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Flat,
    Objects,
    Nested,
}

impl Column {
    /// Converts an expected array, given by dimensions and elements, to the form of the mode.
    fn in_form(&self, json: &Exact, mode: Mode) -> Exact {
        if !self.has_json_arrays(mode) || *json == Exact::Null {
            return json.clone();
        }
        let part = |name| match json.member(name) {
            Some(Exact::Array(items)) => items.clone(),
            _ => Vec::new(),
        };
        let (dimensions, elements) = (part("dimensions"), part("elements"));
        match mode {
            Mode::Flat => Exact::Array(elements),
            Mode::Objects => Exact::Object(vec![
                ("elements".to_owned(), Exact::Array(elements)),
                ("dimensions".to_owned(), Exact::Array(dimensions)),
            ]),
            Mode::Nested => {
                let lengths: Vec<usize> = dimensions
                    .iter()
                    .map(|length| length.to_string().parse().expect("a number"))
                    .collect();
                nested(&lengths, &mut elements.into_iter())
            }
        }
    }
}

fn nested(lengths: &[usize], elements: &mut impl Iterator<Item = Exact>) -> Exact {
    match lengths {
        [] => Exact::Array(Vec::new()),
        [length] => Exact::Array(elements.take(*length).collect()),
        [length, inner @ ..] => {
            Exact::Array((0..*length).map(|_| nested(inner, elements)).collect())
        }
    }
}

/// Describes the difference between a value of a document and the expected one, if there is one.
pub(super) fn difference(
    column: &Column,
    (version, mode): (Version, Mode),
    due: &Due,
    found: Option<&Exact>,
) -> Option<String> {
    let Some(found) = found else {
        return Some("the value is missing".to_owned());
    };
    let due = column.in_form(&due.json, mode);
    (!same(column.of.compare, version, &due, found)).then(|| {
        let mut text = format!("expected {due}, found {found}");
        if let Some((at, _)) = text.char_indices().nth(600) {
            text.truncate(at);
        }
        text
    })
}

fn same(compare: Compare, version: Version, due: &Exact, found: &Exact) -> bool {
    match (due, found) {
        (Exact::Array(due), Exact::Array(found)) => {
            due.len() == found.len()
                && due
                    .iter()
                    .zip(found)
                    .all(|(due, found)| same(compare, version, due, found))
        }
        (Exact::Object(due), Exact::Object(found)) => {
            due.len() == found.len()
                && due.iter().zip(found).all(|(due, found)| {
                    due.0 == found.0 && same(compare, version, &due.1, &found.1)
                })
        }
        (Exact::String(_), Exact::String(_)) | (Exact::Number(_), Exact::Number(_)) => {
            match compare {
                Compare::Spelled => due == found,
                Compare::Float4 => {
                    same_float::<f32>(version, due, found, 9, |number| f64::from(number).to_bits())
                }
                Compare::Float8 => same_float::<f64>(version, due, found, 17, f64::to_bits),
                // Dimensions of arrays.
                _ if matches!(due, Exact::Number(_)) => due == found,
                Compare::Geometry => same_geometry(due.text(), found.text(), false),
                Compare::Point => same_geometry(due.text(), found.text(), true),
                Compare::Inet => canonical_address(due.text()) == found.text(),
            }
        }
        _ => due == found,
    }
}

/// Returns whether two numbers are equal and the found one has the fewest digits. From version 12
/// on the server writes the fewest digits too, except for numbers that it regards as too close to
/// the middle between two others, for which it writes more.
fn same_float<T: std::str::FromStr>(
    version: Version,
    due: &Exact,
    found: &Exact,
    most: usize,
    bits: impl Fn(T) -> u64,
) -> bool {
    let (Exact::Number(due), Exact::Number(found)) = (due, found) else {
        return due == found;
    };
    let number = |text: &str| text.parse::<T>().ok().map(&bits);
    let (due_digits, found_digits) = (digits(due), digits(found));
    let same_digits = version < Version(12)
        || due_digits == found_digits
        || found_digits.len() < due_digits.len();
    number(due) == number(found) && same_digits && found_digits.len() <= most
}

/// Returns the significant digits of a number.
fn digits(number: &str) -> String {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

fn same_geometry(due: &str, found: &str, exponents: bool) -> bool {
    let (due, found) = (tokens(due), tokens(found));
    due.len() == found.len()
        && due.iter().zip(&found).all(|(due, found)| match *found {
            "NaN" => *due == "NaN",
            "+Inf" => *due == "Infinity",
            "-Inf" => *due == "-Infinity",
            _ if found.len() == 1 && !found.bytes().all(|b| b.is_ascii_digit()) => due == found,
            _ => match (due.parse::<f64>(), found.parse::<f64>()) {
                (Ok(number), Ok(other)) => {
                    let magnitude = number.abs();
                    let is_plain = magnitude == 0.0 || (1e-4..1e6).contains(&magnitude);
                    number.to_bits() == other.to_bits()
                        && found.contains('e') == (exponents && !is_plain)
                }
                _ => false,
            },
        })
}

/// Splits a text into punctuation and the texts in between.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_mark = |c: char| "()[]{}<>,".contains(c);
        let length = if is_mark(first) {
            1
        } else {
            rest.find(is_mark).unwrap_or(rest.len())
        };
        tokens.push(&rest[..length]);
        rest = &rest[length..];
    }
    tokens
}

/// Formats an address as RFC 5952 requires. The argument is the server's binary form in
/// hexadecimal: family, prefix length, whether it is a network, number of bytes, the bytes.
fn canonical_address(hex: &str) -> String {
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hexadecimal digits"))
        .collect();
    let (prefix, address) = (bytes[1], &bytes[4..]);
    let dotted = |bytes: &[u8]| {
        bytes
            .iter()
            .map(u8::to_string)
            .collect::<Vec<_>>()
            .join(".")
    };
    let text = match address {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, mapped @ ..] => {
            format!("::ffff:{}", dotted(mapped))
        }
        short if short.len() == 4 => dotted(short),
        long => {
            let groups: Vec<u16> = long
                .chunks(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect();
            // The first of the longest runs of zeros, if that has more than one group.
            let run = |at: usize| groups[at..].iter().take_while(|group| **group == 0).count();
            let longest = (0..groups.len())
                .map(run)
                .max()
                .filter(|length| *length > 1);
            let start =
                longest.and_then(|longest| (0..groups.len()).find(|at| run(*at) == longest));
            let mut text = String::new();
            let mut at = 0;
            while at < groups.len() {
                if start == Some(at) {
                    text.push_str("::");
                    at += run(at);
                    continue;
                }
                if !text.is_empty() && !text.ends_with(':') {
                    text.push(':');
                }
                write!(text, "{:x}", groups[at]).expect("a string grows");
                at += 1;
            }
            text
        }
    };
    format!("{text}/{prefix}")
}
