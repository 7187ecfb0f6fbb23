//! The error of this room.

use std::fmt;

/// A value that is not what its type writes: which type, and what was due.
///
/// It never holds the value. The caller knows table, column and position, and adds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueError {
    type_name: &'static str,
    due: &'static str,
}

impl ValueError {
    pub(super) const fn new(type_name: &'static str, due: &'static str) -> Self {
        Self { type_name, due }
    }

    /// Returns the type, or family of types, whose text was being read.
    pub fn type_name(&self) -> &'static str {
        self.type_name
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed {}: {} was due", self.type_name, self.due)
    }
}

impl std::error::Error for ValueError {}

impl From<ValueError> for crate::error::Error {
    fn from(error: ValueError) -> Self {
        Self::new(crate::error::ErrorKind::Value, "a value could not be read").with_source(error)
    }
}
