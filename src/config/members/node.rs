//! Typed access to one value of a JSON document.

use serde_json::{Map, Value};

use super::Location;
use crate::error::{Error, Result};

/// Value at a location of a document, or the absence of one.
// Not `Debug`, since the value may be a secret.
#[derive(Clone)]
pub(crate) struct Node<'a> {
    location: Location,
    value: Option<&'a Value>,
}

impl<'a> Node<'a> {
    /// Wraps the root of a document.
    pub(crate) fn root(value: &'a Value, location: Location) -> Self {
        Self {
            location,
            value: Some(value),
        }
    }

    pub(super) fn new(location: Location, value: Option<&'a Value>) -> Self {
        Self { location, value }
    }

    /// Returns the location.
    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// Returns the value; `None` if it is absent.
    pub(crate) fn value(&self) -> Option<&'a Value> {
        self.value
    }

    /// Returns the value.
    ///
    /// # Errors
    ///
    /// Fails if the value is absent.
    pub(crate) fn required(&self, expected: &str) -> Result<&'a Value> {
        self.value.ok_or_else(|| {
            self.location
                .error(format_args!("is missing: it must be {expected}"))
        })
    }

    /// Returns the string; `None` if it is absent.
    ///
    /// # Errors
    ///
    /// Fails for a value of another type.
    pub(crate) fn string(&self) -> Result<Option<&'a str>> {
        match self.value {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.mismatch("a string", other)),
        }
    }

    /// Returns the string, which must be present and not empty.
    ///
    /// # Errors
    ///
    /// Fails if the value is absent, empty or of another type.
    pub(crate) fn required_string(&self, expected: &str) -> Result<&'a str> {
        match self.required(expected)? {
            Value::String(text) if text.is_empty() => Err(self
                .location
                .error(format_args!("is empty: it must be {expected}"))),
            Value::String(text) => Ok(text),
            other => Err(self.mismatch(expected, other)),
        }
    }

    /// Returns the boolean; absent means false.
    ///
    /// # Errors
    ///
    /// Fails for a value of another type.
    pub(crate) fn boolean(&self) -> Result<bool> {
        match self.value {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(self.mismatch("true or false", other)),
        }
    }

    /// Returns the integer; `None` if it is absent.
    ///
    /// # Errors
    ///
    /// Fails for a value of another type and for a number that is not a 64-bit integer.
    pub(crate) fn integer(&self) -> Result<Option<i64>> {
        match self.value {
            None => Ok(None),
            Some(Value::Number(number)) => number.as_i64().map(Some).ok_or_else(|| {
                self.location
                    .error("must be a 64-bit integer, found another number")
            }),
            Some(other) => Err(self.mismatch("an integer", other)),
        }
    }

    /// Returns the counter; absent means zero.
    ///
    /// # Errors
    ///
    /// Fails for everything but an unsigned 32-bit integer.
    pub(crate) fn counter(&self) -> Result<u32> {
        let Some(value) = self.value else {
            return Ok(0);
        };
        value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .ok_or_else(|| self.mismatch("a whole number of 32 bits", value))
    }

    /// Returns the strings of an array; absent means empty.
    ///
    /// # Errors
    ///
    /// Fails for a value of another type and for an item that is not a string.
    pub(crate) fn strings(&self) -> Result<Vec<String>> {
        let expected = "an array of strings";
        let text = |(index, item): (usize, &Value)| match item {
            Value::String(text) => Ok(text.clone()),
            other => Err(self.location.error(format_args!(
                "must be {expected}, found {} at index {index}",
                type_of(other)
            ))),
        };
        self.array(expected)?.iter().enumerate().map(text).collect()
    }

    /// Returns the items of an array; absent means empty.
    ///
    /// # Errors
    ///
    /// Fails for a value of another type.
    pub(crate) fn items(&self) -> Result<Vec<Self>> {
        Ok(self
            .array("an array")?
            .iter()
            .enumerate()
            .map(|(index, item)| Self::new(self.location.item(index), Some(item)))
            .collect())
    }

    fn array(&self, expected: &str) -> Result<&'a [Value]> {
        match self.value {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(self.mismatch(expected, other)),
        }
    }

    /// Returns a member of an object with any names.
    ///
    /// # Errors
    ///
    /// Fails for a value of another type.
    pub(crate) fn entry(&self, name: &str) -> Result<Option<Self>> {
        let value = match self.value {
            None => None,
            Some(Value::Object(members)) => members.get(name),
            Some(other) => return Err(self.mismatch("an object", other)),
        };
        Ok(value.map(|value| Self::new(self.location.member(name), Some(value))))
    }

    /// Returns the members of an object with any names; absent means empty.
    ///
    /// # Errors
    ///
    /// Fails for a value of another type.
    pub(crate) fn entries(&self) -> Result<Vec<(&'a str, Self)>> {
        let members = match self.value {
            None => return Ok(Vec::new()),
            Some(Value::Object(members)) => members,
            Some(other) => return Err(self.mismatch("an object", other)),
        };
        Ok(members
            .iter()
            .map(|(name, value)| {
                let node = Self::new(self.location.member(name), Some(value));
                (name.as_str(), node)
            })
            .collect())
    }

    /// Returns the object, which must be present.
    ///
    /// # Errors
    ///
    /// Fails if the value is absent or of another type.
    pub(super) fn required_object(&self, expected: &str) -> Result<&'a Map<String, Value>> {
        match self.required(expected)? {
            Value::Object(members) => Ok(members),
            other if self.location.is_root() => Err(self.mismatch("a JSON object", other)),
            other => Err(self.mismatch("an object", other)),
        }
    }

    /// Makes an error that gives the expected and the found type, and nothing of the value.
    fn mismatch(&self, expected: &str, found: &Value) -> Error {
        let found = type_of(found);
        self.location
            .error(format_args!("must be {expected}, found {found}"))
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
