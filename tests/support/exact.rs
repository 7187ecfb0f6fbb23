//! JSON values that keep the order of members, duplicate members and the digits of numbers.
//!
//! `serde_json::Value`, which the rest of the tests uses, keeps only one of several members of the
//! same name.

use std::fmt;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exact {
    Null,
    Bool(bool),
    /// The digits as written.
    Number(String),
    /// The text with escapes decoded; an unpaired surrogate is U+FFFD.
    String(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Exact {
    /// Parses a text that holds one value.
    pub(crate) fn parse(text: &str) -> Self {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value();
        reader.skip();
        assert_eq!(reader.at, text.len(), "more than one value: {text}");
        value
    }

    /// Returns the first member of this name.
    pub(crate) fn member(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else {
            panic!("not an object: {self}");
        };
        let found = members.iter().find(|(member, _)| member == name);
        found.map(|(_, value)| value)
    }

    /// Returns the text of a string.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::String(text) => text,
            other => panic!("not a string: {other}"),
        }
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(digits) => f.write_str(digits),
            Self::String(text) => write!(f, "{text:?}"),
            Self::Array(items) => {
                f.write_str("[")?;
                for item in items {
                    write!(f, "{item},")?;
                }
                f.write_str("]")
            }
            Self::Object(members) => {
                f.write_str("{")?;
                for (name, value) in members {
                    write!(f, "{name:?}:{value},")?;
                }
                f.write_str("}")
            }
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn accept(&mut self, token: &str) -> bool {
        self.skip();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) {
        assert!(
            self.accept(token),
            "expected {token} at {}: {}",
            self.at,
            self.text
        );
    }

    fn value(&mut self) -> Exact {
        for (word, value) in [
            ("null", Exact::Null),
            ("true", Exact::Bool(true)),
            ("false", Exact::Bool(false)),
        ] {
            if self.accept(word) {
                return value;
            }
        }
        if self.accept("[") {
            return Exact::Array(self.list("]", Self::value));
        }
        if self.accept("{") {
            return Exact::Object(self.list("}", |reader| {
                let name = reader.string();
                reader.expect(":");
                (name, reader.value())
            }));
        }
        if self.rest().starts_with('"') {
            return Exact::String(self.string());
        }
        let rest = self.rest();
        let is_other = |c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c);
        let digits = &rest[..rest.find(is_other).unwrap_or(rest.len())];
        let valid = digits
            .trim_start_matches('-')
            .starts_with(|c: char| c.is_ascii_digit());
        assert!(valid, "expected a value at {}: {}", self.at, self.text);
        let digits = digits.to_owned();
        self.at += digits.len();
        Exact::Number(digits)
    }

    fn list<T>(&mut self, end: &str, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mut items = Vec::new();
        while !self.accept(end) {
            if !items.is_empty() {
                self.expect(",");
            }
            items.push(item(self));
        }
        items
    }

    fn string(&mut self) -> String {
        self.expect("\"");
        let mut units = Vec::new();
        loop {
            let c = self.next();
            match c {
                '"' => break,
                '\\' => {
                    let unit = match self.next() {
                        'u' => {
                            let digits = &self.text[self.at..self.at + 4];
                            self.at += 4;
                            u16::from_str_radix(digits, 16).expect("hexadecimal digits")
                        }
                        'b' => 8,
                        'f' => 12,
                        'n' => 10,
                        'r' => 13,
                        't' => 9,
                        c @ ('"' | '\\' | '/') => u16::try_from(u32::from(c)).expect("ASCII"),
                        c => panic!("unknown escape \\{c} in {}", self.text),
                    };
                    units.push(unit);
                }
                c => {
                    assert!(c >= ' ', "a control character in {}", self.text);
                    units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
                }
            }
        }
        String::from_utf16_lossy(&units)
    }

    fn next(&mut self) -> char {
        let c = self.rest().chars().next();
        let c = c.unwrap_or_else(|| panic!("ends too early: {}", self.text));
        self.at += c.len_utf8();
        c
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_duplicate_members_and_escapes_are_read_as_written() {
        let text =
            r#" {"a":[1.50, -0, 1E400,null , true],"a":"\u0041\n\/\ud83d\udE14\uD83d.é", "b":{}} "#;
        let string = |text: &str| Exact::String(text.to_owned());
        let numbers = ["1.50", "-0", "1E400"].map(|digits| Exact::Number(digits.to_owned()));
        let items = [numbers.to_vec(), vec![Exact::Null, Exact::Bool(true)]].concat();
        let expected = Exact::Object(vec![
            ("a".to_owned(), Exact::Array(items)),
            ("a".to_owned(), string("A\n/\u{1F614}\u{FFFD}.é")),
            ("b".to_owned(), Exact::Object(Vec::new())),
        ]);
        assert_eq!(Exact::parse(text), expected);
    }
}
