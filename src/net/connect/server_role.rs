//! Whether a server is one that the `target_session_attrs` of libpq allow.

use protocol::Event;

use super::session_attrs::SessionAttrs;
use crate::config::HostPort;
use crate::error::{Error, ErrorKind, Result};
use crate::net::connection::Connection;
use crate::net::error::protocol_violation;

/// Checks a connection that was made.
///
/// # Errors
///
/// Fails where its server is another than is wanted, so that the next one is tried.
pub(super) async fn check_role(
    wanted: SessionAttrs,
    connection: &mut Connection,
    host: &HostPort,
) -> Result<()> {
    if wanted == SessionAttrs::Any {
        return Ok(());
    }
    let found = look(connection).await?;
    let (fits, what) = match wanted {
        SessionAttrs::Any | SessionAttrs::PreferStandby => (true, "any"),
        SessionAttrs::ReadWrite => (!found.read_only && !found.in_recovery, "read-write"),
        SessionAttrs::ReadOnly => (found.read_only || found.in_recovery, "read-only"),
        SessionAttrs::Primary => (!found.in_recovery, "primary"),
        SessionAttrs::Standby => (found.in_recovery, "standby"),
    };
    if fits {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Connection,
        format!("{host} is not {what}, which PGTARGETSESSIONATTRS asks for"),
    ))
}

/// What a server is.
struct Found {
    in_recovery: bool,
    read_only: bool,
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
