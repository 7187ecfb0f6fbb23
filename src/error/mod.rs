//! The connector's error: what went wrong, whose fault it is, and its cause.

pub mod sqlstate;

use std::fmt;

/// Whose fault an error is. Retry policy and exit codes read this, never the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The endpoint or resource configuration cannot be used as it is.
    Configuration,
    /// The database lacks something that the capture needs; the text says how to provide it.
    Prerequisite,
    /// No connection could be made, or it ended.
    Connection,
    /// The server answered with an ErrorResponse; [`Error::sqlstate`] has its code.
    Server,
    /// A peer broke its protocol: the server's, or Flow's.
    Protocol,
    /// The state to resume from is unusable, or does not fit the server.
    State,
    /// A value from the database could not be represented.
    Value,
    /// Reading requests or writing responses failed.
    Io,
    /// Transactions in progress cannot be kept: no room on disk, or a file or thread that fails. The
    /// stream can go on without them.
    Spool,
    /// The capture was asked to stop.
    Shutdown,
    /// An invariant of the connector does not hold.
    Internal,
}

/// Result of a fallible operation of the connector.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error with its kind, a message for the user, and optionally its cause.
///
/// The message never holds a password or a value of a row. The cause is not repeated in it: whoever
/// reports the error walks [`std::error::Error::source`].
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    message: String,
    sqlstate: Option<[u8; 5]>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Makes an error without a cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                message: message.into(),
                sqlstate: None,
                source: None,
            }),
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// Adds the SQLSTATE that the server reported, of five ASCII characters.
    #[must_use]
    pub fn with_sqlstate(mut self, code: &str) -> Self {
        self.inner.sqlstate = code.as_bytes().try_into().ok();
        self
    }

    /// Wraps this error as the cause of one with a message that says what was being done. Kind and
    /// SQLSTATE stay.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        let (kind, sqlstate) = (self.inner.kind, self.inner.sqlstate);
        let mut outer = Self::new(kind, message).with_source(self);
        outer.inner.sqlstate = sqlstate;
        outer
    }

    /// Returns whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Returns the SQLSTATE, when the server reported one.
    pub fn sqlstate(&self) -> Option<&str> {
        self.inner
            .sqlstate
            .as_ref()
            .and_then(|code| std::str::from_utf8(code).ok())
    }

    /// Returns whether the same attempt may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self.inner.kind {
            ErrorKind::Connection | ErrorKind::Io | ErrorKind::Spool => true,
            ErrorKind::Server => self
                .sqlstate()
                .is_some_and(|code| RETRYABLE.iter().any(|prefix| code.starts_with(prefix))),
            _ => false,
        }
    }

    /// Returns the causes, outermost first, joined by `: `; `None` where there is none.
    pub fn causes(&self) -> Option<String> {
        let mut next = std::error::Error::source(self);
        let mut text = String::new();
        while let Some(cause) = next {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        (!text.is_empty()).then_some(text)
    }
}

/// Beginnings of the SQLSTATEs after which the same attempt may succeed later.
const RETRYABLE: [&str; 5] = [
    // Operator intervention: shutdown, crash, still starting. Not 57014, a canceled statement.
    "57P",
    sqlstate::class::INSUFFICIENT_RESOURCES,
    sqlstate::class::CONNECTION_EXCEPTION,
    sqlstate::class::TRANSACTION_ROLLBACK,
    // Another process still holds the replication slot.
    sqlstate::OBJECT_IN_USE,
];

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.inner.kind)
            .field("message", &self.inner.message)
            .field("sqlstate", &self.sqlstate())
            .field("source", &self.inner.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_deref().map(|source| source as _)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, "input or output failed").with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_keeps_kind_and_sqlstate_and_lists_causes() {
        let error = Error::new(ErrorKind::Server, "permission denied")
            .with_sqlstate(sqlstate::INSUFFICIENT_PRIVILEGE)
            .context("reading the publication")
            .context("checking prerequisites");
        assert_eq!(error.kind(), ErrorKind::Server);
        assert_eq!(error.sqlstate(), Some(sqlstate::INSUFFICIENT_PRIVILEGE));
        assert_eq!(error.to_string(), "checking prerequisites");
        assert_eq!(
            error.causes().unwrap(),
            "reading the publication: permission denied"
        );
        assert!(!error.is_retryable());
    }

    #[test]
    fn a_shutdown_of_the_server_is_retryable_and_a_wrong_password_is_not() {
        let with = |code| Error::new(ErrorKind::Server, "x").with_sqlstate(code);
        assert!(with(sqlstate::ADMIN_SHUTDOWN).is_retryable());
        assert!(with(sqlstate::OBJECT_IN_USE).is_retryable());
        assert!(!with(sqlstate::INVALID_PASSWORD).is_retryable());
        assert!(!with(sqlstate::QUERY_CANCELED).is_retryable());
    }
}
