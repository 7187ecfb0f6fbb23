//! Errors of a login: the reason why a server refuses a connection, and the remedy.

use std::error::Error as _;

use protocol::{AuthenticationError, ProtocolError};

use super::attempt::{Failure, Refusal};
use super::config::{ConnectConfig, Purpose};
use crate::config::HostPort;
use crate::error::{Error, ErrorKind, sqlstate};

/// Routine of the server that reports the failure of an authentication method.
const AUTH_FAILED: &str = "auth_failed";

/// Returns the reason for which the server refused the login.
pub(super) fn refusal_of(report: &protocol::Report<'_>) -> Refusal {
    // The SQLSTATE is also that of authentication methods without a password.
    let has_entry = report.routine().as_deref() == Some(AUTH_FAILED);
    if report.code().as_str() == sqlstate::INVALID_AUTHORIZATION_SPECIFICATION && !has_entry {
        Refusal::HostBasedAccess
    } else {
        Refusal::Login
    }
}

impl ConnectConfig {
    /// Returns the error for a server that refuses the connection.
    pub(super) fn refusal(
        &self,
        host: &HostPort,
        purpose: Purpose,
        report: protocol::ServerError,
    ) -> Error {
        if let Some(pooler) = pooler_by_message(&report) {
            return pooler_error(host, pooler).with_source(report);
        }
        let code = report.code();
        let routine = report.report().routine();
        let message = self.refusal_message(host, purpose, code.as_str(), routine.as_deref());
        Error::new(ErrorKind::Server, message)
            .with_sqlstate(code.as_str())
            .with_source(report)
    }

    /// Returns the reason and the remedy, by the SQLSTATE and the server's routine.
    fn refusal_message(
        &self,
        host: &HostPort,
        purpose: Purpose,
        code: &str,
        routine: Option<&str>,
    ) -> String {
        let Self { user, database, .. } = self;
        let replicates = purpose == Purpose::Replication;
        match (code, routine) {
            (sqlstate::INVALID_PASSWORD, _) => {
                format!("incorrect username or password for user \"{user}\" at {host}")
            }
            (sqlstate::INVALID_CATALOG_NAME, _) => {
                format!("database \"{database}\" does not exist at {host}")
            }
            // CheckMyDatabase checks the CONNECT privilege, of replication connections too.
            (sqlstate::INSUFFICIENT_PRIVILEGE, routine)
                if replicates && routine != Some("CheckMyDatabase") =>
            {
                format!(
                    "user \"{user}\" may not replicate from {host}: ALTER ROLE ... REPLICATION, or \
                     on Amazon's platforms GRANT rds_replication"
                )
            }
            (sqlstate::INSUFFICIENT_PRIVILEGE, _) => format!(
                "user \"{user}\" does not have CONNECT privilege to database \"{database}\" at \
                 {host}: GRANT CONNECT ON DATABASE to the user"
            ),
            (sqlstate::INVALID_AUTHORIZATION_SPECIFICATION, Some(AUTH_FAILED)) => format!(
                "{host} does not accept user \"{user}\" by the method of its pg_hba.conf: check \
                 the password or certificate, and the log of the server"
            ),
            (sqlstate::INVALID_AUTHORIZATION_SPECIFICATION, _) => format!(
                "{host} does not let user \"{user}\" connect to database \"{database}\" this way: \
                 check pg_hba.conf, and that the role exists and may log in"
            ),
            // Walsenders have slots of their own. Since version 12 InitProcess assigns them, as it
            // does for other backends.
            (
                sqlstate::TOO_MANY_CONNECTIONS,
                Some("InitWalSenderSlot" | "InitWalSnd" | "InitProcess"),
            ) if replicates => format!(
                "{host} has no walsender left: raise max_wal_senders, or stop another replication \
                 client"
            ),
            (sqlstate::TOO_MANY_CONNECTIONS, _) => format!(
                "{host} has no connection left for user \"{user}\": see max_connections, and the \
                 connection limits of the role and the database"
            ),
            (sqlstate::CANNOT_CONNECT_NOW, _) => {
                format!("{host} is starting up, shutting down or recovering: try again later")
            }
            _ => format!("{host} refuses the connection"),
        }
    }
}

/// Returns the name of a pooler that is recognized by its address.
pub(super) fn pooler_by_address(host: &HostPort) -> Option<&'static str> {
    let name = host.host.trim_end_matches('.').to_ascii_lowercase();
    let is_in = |domain: &str| name.ends_with(domain);
    if host.port == 6543 && (is_in(".supabase.co") || is_in(".supabase.com")) {
        Some("Supabase's port 6543")
    } else if is_in(".neon.tech") && name.split('.').any(|label| label.ends_with("-pooler")) {
        Some("Neon's, by the \"-pooler\" in its name")
    } else {
        None
    }
}

/// Returns the error for a host that is a pooler.
pub(super) fn pooler_error(host: &HostPort, pooler: &str) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!(
            "{host} is a connection pooler ({pooler}), which does not support replication: give \
             the address of the database server itself"
        ),
    )
}

/// Returns the name of a pooler that is recognized by a message that no server sends. Poolers do
/// not translate their messages.
fn pooler_by_message(report: &protocol::ServerError) -> Option<&'static str> {
    let message = report.message();
    if message.contains("unsupported startup parameter") || message.contains("pgbouncer") {
        Some("PgBouncer")
    } else if message.contains("Tenant or user not found") {
        Some("Supabase's Supavisor")
    } else {
        None
    }
}

/// Returns the error for a session that failed when it requested TLS.
pub(super) fn tls_negotiation_failure(host: &HostPort, error: Error) -> Error {
    match protocol_error(&error) {
        // The postmaster answers with an error message if it cannot start a process for the
        // session.
        Some(ProtocolError::TlsAnswer(b'E')) => Error::new(
            ErrorKind::Connection,
            format!("{host} cannot start a session: it may be out of memory or processes"),
        )
        .with_source(error),
        _ => error,
    }
}

/// Returns the failure of a session during authentication.
pub(super) fn authentication_failure(
    config: &ConnectConfig,
    host: &HostPort,
    error: Error,
    encrypted: bool,
) -> Failure {
    let Some(ProtocolError::Authentication(cause)) = protocol_error(&error) else {
        return Failure::Other(error);
    };
    let is_clear_text = matches!(cause, AuthenticationError::ClearTextRefused);
    let message = authentication_message(host, &config.user, cause);
    let error = Error::new(ErrorKind::Configuration, message).with_source(error);
    if is_clear_text {
        Failure::Refused {
            error,
            encrypted,
            refusal: Refusal::ClearTextPassword,
        }
    } else {
        Failure::Other(error)
    }
}

/// Returns the reason for a failed authentication, and the remedy.
fn authentication_message(host: &HostPort, user: &str, cause: &AuthenticationError) -> String {
    use AuthenticationError as Cause;
    let unsupported = |method: &str| {
        format!(
            "{host} asks for {method} authentication, which is not supported: configure \
             scram-sha-256 for user \"{user}\" in pg_hba.conf"
        )
    };
    match cause {
        Cause::PasswordMissing => {
            format!("{host} asks for a password of user \"{user}\": give one in 'credentials'")
        }
        Cause::ClearTextRefused => format!(
            "{host} asks for the password in clear text over a connection without encryption: \
             enable ssl on the server, or set advanced.sslmode to \"disable\" to send it without \
             encryption"
        ),
        Cause::UnsupportedMethod(name) => unsupported(name),
        Cause::UnsupportedMechanisms(names) => unsupported(names),
        Cause::MethodNotAllowed(method) => format!(
            "{host} asks for {method} authentication, which require_auth does not allow: another \
             machine may be impersonating the server, or its pg_hba.conf was changed"
        ),
        Cause::ChannelBindingMissing => format!(
            "{host} does not offer channel binding, which channel_binding requires: it needs TLS, \
             scram-sha-256 and PostgreSQL 11 or later"
        ),
        Cause::ScramIterations { .. } => format!(
            "{host} asks for more SCRAM iterations than are allowed for a login: lower \
             scram_iterations and set the password again"
        ),
        Cause::ScramRefused(_) => {
            format!("incorrect username or password for user \"{user}\" at {host}")
        }
        _ => format!(
            "{host} cannot prove that it knows the password of user \"{user}\": another machine \
             may be impersonating the server"
        ),
    }
}

fn protocol_error(error: &Error) -> Option<&ProtocolError> {
    error.source()?.downcast_ref()
}

/// Adds to the error of a lost connection that the login was not complete.
pub(super) fn login_interrupted(host: &HostPort, error: Error) -> Error {
    error.context(format!(
        "{host} ended the connection before the login was complete: is the port right?"
    ))
}

/// Adds to a protocol error that the host may not be a PostgreSQL server.
pub(super) fn not_postgres(host: &HostPort, error: Error) -> Error {
    error.context(format!(
        "{host} does not answer as a PostgreSQL server does: is the port right?"
    ))
}

/// Returns the error for a message that is valid, but not at this point of the login.
pub(super) fn unexpected_message(host: &HostPort) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!("{host} sent an unexpected message"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poolers_are_recognized_by_their_address() {
        for (host, port, expected) in [
            ("db.abc.supabase.co", 6543, true),
            ("DB.abc.Supabase.CO.", 6543, true),
            ("db.abc.supabase.co", 5432, false),
            ("ep-x-pooler.eu-central-1.aws.neon.tech", 5432, true),
            ("ep-x.eu-central-1.aws.neon.tech", 5432, false),
            ("supabase.co.example.com", 6543, false),
        ] {
            let host = HostPort {
                host: host.to_owned(),
                port,
            };
            assert_eq!(pooler_by_address(&host).is_some(), expected, "{host}");
        }
    }
}
