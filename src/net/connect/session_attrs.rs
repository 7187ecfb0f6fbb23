//! Which server of a list is wanted, as libpq's `target_session_attrs`.

use protocol::Event;

use crate::config::HostPort;
use crate::error::{Error, ErrorKind, Result};
use crate::net::connection::Connection;
use crate::net::error::protocol_violation;

/// What a server has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum SessionAttrs {
    /// Anything.
    #[default]
    Any,
    /// One that can be written to.
    ReadWrite,
    /// One that cannot.
    ReadOnly,
    /// No standby.
    Primary,
    /// A standby.
    Standby,
    /// A standby if there is one.
    PreferStandby,
}

/// What a server is.
struct Found {
    in_recovery: bool,
    read_only: bool,
}

impl SessionAttrs {
    /// Reads libpq's spelling.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "any" => Some(Self::Any),
            "read-write" => Some(Self::ReadWrite),
            "read-only" => Some(Self::ReadOnly),
            "primary" => Some(Self::Primary),
            "standby" => Some(Self::Standby),
            "prefer-standby" => Some(Self::PreferStandby),
            _ => None,
        }
    }

    /// Returns what to look for in turn over the whole list.
    pub(super) fn passes(self) -> &'static [Self] {
        match self {
            Self::Any => &[Self::Any],
            Self::ReadWrite => &[Self::ReadWrite],
            Self::ReadOnly => &[Self::ReadOnly],
            Self::Primary => &[Self::Primary],
            Self::Standby => &[Self::Standby],
            Self::PreferStandby => &[Self::Standby, Self::Any],
        }
    }

    /// Checks a connection that was made.
    ///
    /// # Errors
    ///
    /// Fails where its server is another than is wanted, so that the next one is tried.
    pub(super) async fn check(self, connection: &mut Connection, host: &HostPort) -> Result<()> {
        if self == Self::Any {
            return Ok(());
        }
        let found = look(connection).await?;
        let (fits, what) = match self {
            Self::Any | Self::PreferStandby => (true, "any"),
            Self::ReadWrite => (!found.read_only && !found.in_recovery, "read-write"),
            Self::ReadOnly => (found.read_only || found.in_recovery, "read-only"),
            Self::Primary => (!found.in_recovery, "primary"),
            Self::Standby => (found.in_recovery, "standby"),
        };
        if fits {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Connection,
            format!("{host} is not {what}, which PGTARGETSESSIONATTRS asks for"),
        ))
    }
}

async fn look(connection: &mut Connection) -> Result<Found> {
    connection
        .session()
        .query("SELECT pg_catalog.pg_is_in_recovery(), current_setting('transaction_read_only')")
        .map_err(protocol_violation)?;
    let mut found = None;
    loop {
        match connection.event().await? {
            Event::DataRow(row) => {
                let mut values = row.iter().map(|value| value.unwrap_or_default());
                found = Some(Found {
                    in_recovery: values.next() == Some(b"t"),
                    read_only: values.next() == Some(b"on"),
                });
            }
            Event::Error(report) => {
                return Err(Error::new(
                    ErrorKind::Server,
                    "the server did not say whether it is a standby",
                )
                .with_sqlstate(report.code().as_str())
                .with_source(report.into_owned()));
            }
            Event::Ready(_) => break,
            _ => {}
        }
    }
    found.ok_or_else(|| {
        Error::new(
            ErrorKind::Protocol,
            "the server did not say whether it is a standby",
        )
    })
}
