//! Names of values in error messages.

use std::fmt;

use crate::error::{Error, ErrorKind};

/// Position of a value: the document and the path of members within it.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    document: Document,
    /// Member names joined by dots, as in `advanced.slotName`; empty for the root.
    path: String,
}

#[derive(Debug, Clone)]
enum Document {
    /// A configuration that is part of a request. Errors about a member give only its path.
    Configuration(&'static str),
    /// A file. Every error names it.
    File(String),
}

impl Location {
    /// Returns the root of a configuration, such as "the endpoint configuration".
    pub(crate) fn configuration(name: &'static str) -> Self {
        Self {
            document: Document::Configuration(name),
            path: String::new(),
        }
    }

    /// Returns the root of a file.
    pub(crate) fn file(name: impl Into<String>) -> Self {
        Self {
            document: Document::File(name.into()),
            path: String::new(),
        }
    }

    /// Returns the location of a member of the object at this location.
    pub(crate) fn member(&self, name: &str) -> Self {
        self.at(match self.is_root() {
            true => name.to_owned(),
            false => format!("{}.{name}", self.path),
        })
    }

    /// Returns the location of an item of the array at this location.
    pub(super) fn item(&self, index: usize) -> Self {
        self.at(format!("{}[{index}]", self.path))
    }

    /// Returns the location with this path in the same document.
    fn at(&self, path: String) -> Self {
        Self {
            document: self.document.clone(),
            path,
        }
    }

    /// Returns the path without the document.
    pub(super) fn quoted_path(&self) -> String {
        format!("'{}'", self.path)
    }

    pub(super) fn is_root(&self) -> bool {
        self.path.is_empty()
    }

    /// Makes an error whose text begins with this location.
    pub(crate) fn error(&self, problem: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Configuration, format!("{self} {problem}"))
    }

    /// Makes an error about a member that the object at this location must not have.
    pub(super) fn unknown_member(&self, name: &str, advice: &str) -> Error {
        let problem = format!(
            "unknown member {}: {advice}",
            self.member(name).quoted_path()
        );
        let message = match &self.document {
            Document::Configuration(_) => problem,
            Document::File(file) => format!("{file}: {problem}"),
        };
        Error::new(ErrorKind::Configuration, message)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { document, path } = self;
        match document {
            Document::Configuration(name) if path.is_empty() => f.write_str(name),
            Document::Configuration(_) => write!(f, "'{path}'"),
            Document::File(file) if path.is_empty() => f.write_str(file),
            Document::File(file) => write!(f, "{file}: '{path}'"),
        }
    }
}
