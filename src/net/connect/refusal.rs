//! Why a server does not take a connection, and what helps.

use super::ConnectConfig;
use crate::config::HostPort;
use crate::error::{Error, ErrorKind};

/// The message of a server that refuses a connection by its pg_hba.conf has this SQLSTATE.
pub(super) const INVALID_AUTHORIZATION: &str = "28000";

impl ConnectConfig {
    /// Says by SQLSTATE why the server refuses the connection, and what helps.
    pub(super) fn refusal(&self, host: &HostPort, report: protocol::ServerError) -> Error {
        let Self { user, database, .. } = self;
        let code = report.code();
        let message = match code.as_str() {
            "28P01" => format!("incorrect username or password for user \"{user}\" at {host}"),
            "3D000" => format!("database \"{database}\" does not exist at {host}"),
            "42501" => format!(
                "user \"{user}\" does not have CONNECT privilege to database \"{database}\" at {host}"
            ),
            INVALID_AUTHORIZATION => format!(
                "{host} does not let user \"{user}\" connect to database \"{database}\" this way: see \
                 pg_hba.conf, and that the role exists and may log in"
            ),
            "53300" => {
                format!("{host} has no connection left: see max_connections, max_wal_senders")
            }
            "57P03" => {
                format!("{host} is starting up, shutting down or recovering: try again later")
            }
            _ => format!("{host} refuses the connection"),
        };
        Error::new(ErrorKind::Server, message)
            .with_sqlstate(*code.as_bytes())
            .with_source(report)
    }
}

pub(super) fn unexpected(host: &HostPort) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!("{host} does not speak the PostgreSQL protocol: is the port right?"),
    )
}
