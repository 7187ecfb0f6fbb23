//! Error for values that cannot be read.

use std::fmt;

/// Error for a value that is not in the text form of its type. Names the type and the expected
/// form.
///
/// The error never contains the value. The caller adds table, column and position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueError {
    type_name: &'static str,
    expected: &'static str,
}

impl ValueError {
    pub(super) const fn new(type_name: &'static str, expected: &'static str) -> Self {
        Self {
            type_name,
            expected,
        }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "malformed {}, expected {}",
            self.type_name, self.expected
        )
    }
}

impl std::error::Error for ValueError {}

impl From<ValueError> for crate::error::Error {
    fn from(error: ValueError) -> Self {
        Self::new(crate::error::ErrorKind::Value, "a value cannot be read").with_source(error)
    }
}
