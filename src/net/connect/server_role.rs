//! Checks the role of a server: primary or standby, writable or read-only.

use protocol::Event;

use super::session_attrs::SessionAttrs;
use crate::config::HostPort;
use crate::error::{Error, ErrorKind, Result};
use crate::net::connection::Connection;
use crate::net::error::protocol_violation;

/// Checks that the server has the role that is wanted.
///
/// # Errors
///
/// Fails if the server has another role, with an error for which the next host is tried.
pub(super) async fn check_role(
    wanted: SessionAttrs,
    connection: &mut Connection,
    host: &HostPort,
) -> Result<()> {
    if wanted == SessionAttrs::Any {
        return Ok(());
    }
    let role = query_role(connection).await?;
    let (is_wanted, name) = match wanted {
        SessionAttrs::Any | SessionAttrs::PreferStandby => (true, "usable"),
        SessionAttrs::ReadWrite => (!role.read_only && !role.in_recovery, "read-write"),
        SessionAttrs::ReadOnly => (role.read_only || role.in_recovery, "read-only"),
        SessionAttrs::Primary => (!role.in_recovery, "a primary"),
        SessionAttrs::Standby => (role.in_recovery, "a standby"),
    };
    if is_wanted {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Connection,
        format!("{host} is not {name}, which PGTARGETSESSIONATTRS requires"),
    ))
}

/// Role that a server reports.
struct ServerRole {
    in_recovery: bool,
    read_only: bool,
}

async fn query_role(connection: &mut Connection) -> Result<ServerRole> {
    connection
        .session()
        .query("SELECT pg_catalog.pg_is_in_recovery(), current_setting('transaction_read_only')")
        .map_err(protocol_violation)?;
    let mut role = None;
    loop {
        match connection.event().await? {
            Event::DataRow(row) => {
                let mut values = row.iter().map(|value| value.unwrap_or_default());
                role = Some(ServerRole {
                    in_recovery: values.next() == Some(b"t"),
                    read_only: values.next() == Some(b"on"),
                });
            }
            Event::Error(report) => {
                return Err(Error::new(
                    ErrorKind::Server,
                    "the server does not report whether it is a standby",
                )
                .with_sqlstate(report.code().as_str())
                .with_source(report.into_owned()));
            }
            Event::Ready(_) => break,
            _ => {}
        }
    }
    role.ok_or_else(|| {
        Error::new(
            ErrorKind::Protocol,
            "the server does not report whether it is a standby",
        )
    })
}
