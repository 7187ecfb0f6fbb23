//! Reads a JSON object strictly: every member is asked for by name and type, and what nobody asked
//! for is an error.
//!
//! Serde's own errors are of no use here. They quote the value they stumbled over, which may be a
//! password in the wrong place, and they do not say where it stands.

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

/// The members of one object that have not been asked for yet.
pub(super) struct Members {
    /// Where the object stands, empty for the root.
    path: String,
    map: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Members {
    /// Reads the root object. `what` names the document in errors.
    pub(super) fn root(json: &str, what: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(json).map_err(|error| {
            Error::new(
                ErrorKind::Configuration,
                format!("{what} is not valid JSON"),
            )
            .with_source(error)
        })?;
        match value {
            Value::Object(map) => Ok(Self {
                path: String::new(),
                map,
                known: Vec::new(),
            }),
            other => {
                let found = kind_of(&other);
                Err(configuration(format!(
                    "{what} must be a JSON object, found {found}"
                )))
            }
        }
    }

    /// Takes a string.
    pub(super) fn string(&mut self, name: &'static str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.mismatch(name, "a string", &other)),
        }
    }

    /// Takes a boolean; absent means false.
    pub(super) fn boolean(&mut self, name: &'static str) -> Result<bool> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => Err(self.mismatch(name, "true or false", &other)),
        }
    }

    /// Takes an integer.
    pub(super) fn integer(&mut self, name: &'static str) -> Result<Option<i64>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(number)) => match number.as_i64() {
                Some(value) => Ok(Some(value)),
                None => {
                    let path = self.path_of(name);
                    Err(configuration(format!(
                        "'{path}' must be a 64-bit integer, found another number"
                    )))
                }
            },
            Some(other) => Err(self.mismatch(name, "an integer", &other)),
        }
    }

    /// Takes an array of strings; absent means empty.
    pub(super) fn strings(&mut self, name: &'static str) -> Result<Vec<String>> {
        let items = match self.take(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(self.mismatch(name, "an array of strings", &other)),
        };
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match item {
                Value::String(text) => texts.push(text),
                other => {
                    let (path, found) = (self.path_of(name), kind_of(&other));
                    return Err(configuration(format!(
                        "'{path}' must be an array of strings, found {found} at index {index}"
                    )));
                }
            }
        }
        Ok(texts)
    }

    /// Takes an object, to be read by the caller down to its own [`finish`](Self::finish).
    pub(super) fn object(&mut self, name: &'static str) -> Result<Option<Self>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self {
                path: self.path_of(name),
                map,
                known: Vec::new(),
            })),
            Some(other) => Err(self.mismatch(name, "an object", &other)),
        }
    }

    /// Drops a member that is tolerated whatever it holds.
    pub(super) fn ignore(&mut self, name: &'static str) {
        self.map.remove(name);
    }

    /// Ends the reading: a member that is still there is an error.
    pub(super) fn finish(self) -> Result<()> {
        let Some((name, _)) = self.map.iter().find(|(_, value)| !value.is_null()) else {
            return Ok(());
        };
        let fold = |name: &str| name.replace(['_', '-'], "").to_lowercase();
        let advice = match self.known.iter().find(|known| fold(known) == fold(name)) {
            Some(known) => format!("did you mean '{}'?", self.path_of(known)),
            None => format!("known here are {}", self.known.join(", ")),
        };
        Err(configuration(format!(
            "unknown member '{}': {advice}",
            self.path_of(name)
        )))
    }

    /// `null` counts as absent everywhere.
    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.map.remove(name).filter(|value| !value.is_null())
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    fn mismatch(&self, name: &str, due: &str, found: &Value) -> Error {
        let (path, found) = (self.path_of(name), kind_of(found));
        configuration(format!("'{path}' must be {due}, found {found}"))
    }
}

/// Makes an error of this room.
pub(super) fn configuration(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Configuration, message)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<T>(result: Result<T>) -> String {
        result.err().expect("an error is due").to_string()
    }

    #[test]
    fn takes_each_type_and_counts_null_as_absent() {
        let json = r#"{"s":"x","b":true,"i":-7,"l":["p","q"],"o":{"inner":"y"},"n":null}"#;
        let mut members = Members::root(json, "it").unwrap();
        assert_eq!(members.string("s").unwrap().as_deref(), Some("x"));
        assert!(members.boolean("b").unwrap());
        assert_eq!(members.integer("i").unwrap(), Some(-7));
        assert_eq!(members.strings("l").unwrap(), ["p", "q"]);
        let mut inner = members.object("o").unwrap().unwrap();
        assert_eq!(inner.string("inner").unwrap().as_deref(), Some("y"));
        inner.finish().unwrap();
        assert_eq!(members.string("n").unwrap(), None);
        assert_eq!(members.string("absent").unwrap(), None);
        members.finish().unwrap();
    }

    #[test]
    fn an_unknown_member_is_named_with_its_path_and_a_hint() {
        let mut members = Members::root(r#"{"o":{"slotname":1,"z":null}}"#, "it").unwrap();
        let mut inner = members.object("o").unwrap().unwrap();
        assert_eq!(inner.string("slotName").unwrap(), None);
        assert_eq!(
            message(inner.finish()),
            "unknown member 'o.slotname': did you mean 'o.slotName'?"
        );
        let mut members = Members::root(r#"{"zzz":1}"#, "it").unwrap();
        members.boolean("a").unwrap();
        members.boolean("b").unwrap();
        assert_eq!(
            message(members.finish()),
            "unknown member 'zzz': known here are a, b"
        );
        // Nothing is set, so nothing is unknown.
        Members::root(r#"{"zzz":null}"#, "it")
            .unwrap()
            .finish()
            .unwrap();
    }

    #[test]
    fn errors_name_the_type_and_never_the_value() {
        let json = r#"{"a":"hunter2","l":["x",5],"i":1.5,"big":99999999999999999999,"o":[]}"#;
        let mut members = Members::root(json, "it").unwrap();
        assert_eq!(
            message(members.boolean("a")),
            "'a' must be true or false, found a string"
        );
        assert_eq!(
            message(members.strings("l")),
            "'l' must be an array of strings, found a number at index 1"
        );
        assert_eq!(
            message(members.integer("i")),
            "'i' must be a 64-bit integer, found another number"
        );
        assert_eq!(
            message(members.integer("big")),
            "'big' must be a 64-bit integer, found another number"
        );
        assert_eq!(
            message(members.object("o")),
            "'o' must be an object, found an array"
        );
        assert_eq!(
            message(Members::root("[]", "it")),
            "it must be a JSON object, found an array"
        );
        let error = Members::root(r#"{"password":"hunter2",}"#, "it")
            .err()
            .unwrap();
        assert_eq!(error.to_string(), "it is not valid JSON");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
