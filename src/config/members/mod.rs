//! Strict reader of JSON objects.
//!
//! The caller asks for each member by name and type, then calls [`Members::finish`], which fails if
//! the object has any other member. `null` counts as absent.
//!
//! Errors name the document, the path of the member, the expected type and the type found. They
//! never repeat a value, which may be a password in the wrong member. Serde's own errors quote
//! values and do not name the path.

mod location;
mod node;
mod parse;

use serde_json::{Map, Value};

pub(crate) use self::location::Location;
pub(crate) use self::node::Node;
pub(super) use self::parse::parse;
use crate::error::{Error, ErrorKind, Result};

/// Object whose members are asked for by name.
// Not `Debug`, since members may be secrets.
pub(crate) struct Members<'a> {
    location: Location,
    members: &'a Map<String, Value>,
    /// Names that were asked for, listed in the error about an unknown member.
    known: Vec<&'static str>,
    /// Names of members that may be present and have no meaning here.
    ignored: Vec<&'static str>,
}

impl<'a> Members<'a> {
    /// Makes the reader of an object, which must be present.
    ///
    /// # Errors
    ///
    /// Fails if the value is absent or of another type.
    pub(crate) fn of(node: &Node<'a>, expected: &str) -> Result<Self> {
        Ok(Self {
            location: node.location().clone(),
            members: node.required_object(expected)?,
            known: Vec::new(),
            ignored: Vec::new(),
        })
    }

    /// Asks for a member.
    pub(crate) fn member(&mut self, name: &'static str) -> Node<'a> {
        self.known.push(name);
        let value = self.members.get(name).filter(|value| !value.is_null());
        Node::new(self.location.member(name), value)
    }

    /// Asks for a string; absent means empty.
    pub(crate) fn string(&mut self, name: &'static str) -> Result<String> {
        Ok(self.member(name).string()?.unwrap_or_default().to_owned())
    }

    /// Asks for a string; `None` if it is absent or empty.
    pub(crate) fn non_empty_string(&mut self, name: &'static str) -> Result<Option<String>> {
        Ok(Some(self.string(name)?).filter(|text| !text.is_empty()))
    }

    /// Asks for a boolean; absent means false.
    pub(crate) fn boolean(&mut self, name: &'static str) -> Result<bool> {
        self.member(name).boolean()
    }

    /// Asks for an integer.
    pub(crate) fn integer(&mut self, name: &'static str) -> Result<Option<i64>> {
        self.member(name).integer()
    }

    /// Asks for an array of strings; absent means empty.
    pub(crate) fn strings(&mut self, name: &'static str) -> Result<Vec<String>> {
        self.member(name).strings()
    }

    /// Asks for an object; `None` if it is absent. The caller finishes its reader as well.
    pub(crate) fn object(&mut self, name: &'static str) -> Result<Option<Self>> {
        let node = self.member(name);
        match node.value() {
            Some(_) => Self::of(&node, "an object").map(Some),
            None => Ok(None),
        }
    }

    /// Accepts members that have no meaning here, whatever their values.
    pub(crate) fn ignore(&mut self, names: &[&'static str]) {
        self.ignored.extend(names);
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// Fails if the object has a member that was neither asked for nor ignored.
    pub(crate) fn finish(self) -> Result<()> {
        let is_unknown = |name: &str| !self.known.contains(&name) && !self.ignored.contains(&name);
        let Some((name, _)) = self
            .members
            .iter()
            .find(|(name, value)| !value.is_null() && is_unknown(name))
        else {
            return Ok(());
        };
        let fold = |name: &str| name.replace(['_', '-'], "").to_lowercase();
        let advice = match self.known.iter().find(|known| fold(known) == fold(name)) {
            Some(known) => format!(
                "did you mean {}?",
                self.location.member(known).quoted_path()
            ),
            None => format!("known here are {}", self.known.join(", ")),
        };
        Err(self.location.unknown_member(name, &advice))
    }
}

/// Makes a configuration error.
pub(super) fn configuration(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Configuration, message)
}

#[cfg(test)]
mod tests;
