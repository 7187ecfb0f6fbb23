//! The connector's error type: kind, message for the user, SQLSTATE and cause.

pub mod sqlstate;

use std::fmt;

/// Classification of an error by its origin. Retries and other decisions depend on the kind, never
/// on the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The endpoint or resource configuration is invalid.
    Configuration,
    /// The database lacks a prerequisite of the capture; the text says how to provide it.
    Prerequisite,
    /// A connection could not be made, or was lost.
    Connection,
    /// The server sent an ErrorResponse; [`Error::sqlstate`] has its code.
    Server,
    /// A peer violated its protocol: the PostgreSQL server, or the Flow runtime.
    Protocol,
    /// The state to resume from is invalid, or does not match the server.
    State,
    /// A value from the database could not be represented.
    Value,
    /// Reading requests or writing responses failed.
    Io,
    /// Transactions in progress cannot be spooled: the disk is full, or a file or thread has
    /// failed. Replication can continue without streaming of transactions in progress.
    Spool,
    /// The capture was told to stop.
    Shutdown,
    /// An invariant of the connector does not hold.
    Internal,
}

/// Result of a fallible operation of the connector.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error with a kind, a message for the user, and optionally a SQLSTATE and a cause.
///
/// The message never contains a password or a row's values, and does not repeat the cause: code
/// that reports the error follows [`std::error::Error::source`], or calls [`Error::causes`].
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
    /// Creates an error without a cause.
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

    /// Wraps this error as the cause of a new one whose message names the operation that failed.
    /// The new error has the same kind and SQLSTATE.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        let (kind, sqlstate) = (self.inner.kind, self.inner.sqlstate);
        let mut outer = Self::new(kind, message).with_source(self);
        outer.inner.sqlstate = sqlstate;
        outer
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Returns the SQLSTATE, if the server reported one.
    pub fn sqlstate(&self) -> Option<&str> {
        self.inner
            .sqlstate
            .as_ref()
            .and_then(|code| std::str::from_utf8(code).ok())
    }

    /// Returns whether the operation may succeed if it is repeated later without any change.
    pub fn is_retryable(&self) -> bool {
        match self.inner.kind {
            ErrorKind::Connection | ErrorKind::Io | ErrorKind::Spool => true,
            ErrorKind::Server => self
                .sqlstate()
                .is_some_and(|code| RETRYABLE.iter().any(|prefix| code.starts_with(prefix))),
            _ => false,
        }
    }

    /// Returns the chain of causes, outermost first, joined by `: `; `None` if there is no cause.
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
    fn a_server_shutdown_is_retryable_and_a_wrong_password_is_not() {
        let with = |code| Error::new(ErrorKind::Server, "x").with_sqlstate(code);
        assert!(with(sqlstate::ADMIN_SHUTDOWN).is_retryable());
        assert!(with(sqlstate::OBJECT_IN_USE).is_retryable());
        assert!(!with(sqlstate::INVALID_PASSWORD).is_retryable());
        assert!(!with(sqlstate::QUERY_CANCELED).is_retryable());
    }
}
