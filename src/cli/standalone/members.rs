//! Reading the members of a catalog, with errors that say file, member and what was due.

use std::fmt;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

/// Where in a file a value stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    file: String,
    path: String,
}

impl Place {
    /// The whole of a file.
    pub(super) fn root(file: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            path: String::new(),
        }
    }

    /// A member of the object here.
    pub(super) fn member(&self, name: &str) -> Self {
        let path = if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        };
        Self {
            file: self.file.clone(),
            path,
        }
    }

    /// An item of the array here.
    pub(super) fn item(&self, index: usize) -> Self {
        Self {
            file: self.file.clone(),
            path: format!("{}[{index}]", self.path),
        }
    }

    /// An error about what stands here.
    pub(super) fn error(&self, what: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Configuration, format!("{self} {what}"))
    }

    fn mismatch(&self, due: &str, found: &Value) -> Error {
        let found = match found {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        self.error(format_args!("must be {due}, found {found}"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, path } = self;
        if path.is_empty() {
            write!(f, "{file}")
        } else {
            write!(f, "{file}: '{path}'")
        }
    }
}

/// An object whose members are asked for by name and type. `null` counts as absent.
#[derive(Debug)]
pub(super) struct Members<'a> {
    pub(super) place: Place,
    members: &'a Map<String, Value>,
}

impl<'a> Members<'a> {
    /// Takes a value as an object with these members, and perhaps others that mean nothing here.
    pub(super) fn of(
        value: &'a Value,
        place: Place,
        known: &[&str],
        without_meaning: &[&str],
    ) -> Result<Self> {
        let Value::Object(members) = value else {
            return Err(place.mismatch("an object", value));
        };
        let is_known = |name: &str| known.contains(&name) || without_meaning.contains(&name);
        if let Some(name) = members.keys().find(|name| !is_known(name)) {
            return Err(place.member(name).error(format_args!(
                "is not known: known here are {}",
                known.join(", ")
            )));
        }
        Ok(Self { place, members })
    }

    /// Returns a member of any type.
    pub(super) fn value(&self, name: &str) -> Option<(&'a Value, Place)> {
        let value = self.members.get(name).filter(|value| !value.is_null())?;
        Some((value, self.place.member(name)))
    }

    /// Returns a member that has to be there.
    pub(super) fn required(&self, name: &str, due: &str) -> Result<(&'a Value, Place)> {
        self.value(name).ok_or_else(|| {
            self.place
                .member(name)
                .error(format_args!("is missing: it must be {due}"))
        })
    }

    /// Returns the members of an object, none if it is absent.
    pub(super) fn map(&self, name: &str) -> Result<Vec<(&'a str, &'a Value, Place)>> {
        let Some((value, place)) = self.value(name) else {
            return Ok(Vec::new());
        };
        let Value::Object(members) = value else {
            return Err(place.mismatch("an object", value));
        };
        Ok(members
            .iter()
            .map(|(name, value)| (name.as_str(), value, place.member(name)))
            .collect())
    }

    /// Returns a boolean; absent means false.
    pub(super) fn boolean(&self, name: &str) -> Result<bool> {
        match self.value(name) {
            None => Ok(false),
            Some((Value::Bool(value), _)) => Ok(*value),
            Some((other, place)) => Err(place.mismatch("true or false", other)),
        }
    }

    /// Returns a counter; absent means zero.
    pub(super) fn counter(&self, name: &str) -> Result<u32> {
        let Some((value, place)) = self.value(name) else {
            return Ok(0);
        };
        value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .ok_or_else(|| place.mismatch("a whole number of 32 bits", value))
    }
}

/// Takes a value as a text that is not empty.
pub(super) fn text<'a>((value, place): (&'a Value, Place), due: &str) -> Result<&'a str> {
    match value {
        Value::String(text) if !text.is_empty() => Ok(text),
        Value::String(_) => Err(place.error(format_args!("is empty: it must be {due}"))),
        other => Err(place.mismatch(due, other)),
    }
}

/// Takes a value as an array.
pub(super) fn items((value, place): (&Value, Place)) -> Result<Vec<(&Value, Place)>> {
    let Value::Array(items) = value else {
        return Err(place.mismatch("an array", value));
    };
    Ok(items
        .iter()
        .enumerate()
        .map(|(index, item)| (item, place.item(index)))
        .collect())
}
