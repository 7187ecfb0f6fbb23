//! Why a server does not take a connection, and what helps.

use std::error::Error as _;

use protocol::{AuthenticationError, ProtocolError};

use super::attempt::{Failure, Refusal};
use super::config::{ConnectConfig, Purpose};
use crate::config::HostPort;
use crate::error::{Error, ErrorKind, sqlstate};

/// The server's routine that says that a method has failed, whichever it is.
const METHOD_FAILED: &str = "auth_failed";

/// Says what a server has refused.
pub(super) fn refusal_of(report: &protocol::Report<'_>) -> Refusal {
    let has_line = report.routine().as_deref() == Some(METHOD_FAILED);
    if report.code().as_str() == sqlstate::INVALID_AUTHORIZATION_SPECIFICATION && !has_line {
        Refusal::HostBasedAccess
    } else {
        Refusal::Login
    }
}

impl ConnectConfig {
    /// Says by SQLSTATE why the server refuses the connection, and what helps.
    pub(super) fn refusal(
        &self,
        host: &HostPort,
        purpose: Purpose,
        report: protocol::ServerError,
    ) -> Error {
        let Self { user, database, .. } = self;
        if let Some(pooler) = pooler_by_message(&report) {
            return pooler_error(host, pooler).with_source(report);
        }
        let code = report.code();
        let routine = report.report().routine();
        let message = match (code.as_str(), routine.as_deref()) {
            (sqlstate::INVALID_PASSWORD, _) => {
                format!("incorrect username or password for user \"{user}\" at {host}")
            }
            (sqlstate::INVALID_CATALOG_NAME, _) => {
                format!("database \"{database}\" does not exist at {host}")
            }
            // Checked in the same place for each kind of connection.
            (sqlstate::INSUFFICIENT_PRIVILEGE, Some("CheckMyDatabase")) => format!(
                "user \"{user}\" does not have CONNECT privilege to database \"{database}\" at \
                 {host}: GRANT CONNECT ON DATABASE to it"
            ),
            (sqlstate::INSUFFICIENT_PRIVILEGE, _) if purpose == Purpose::Replication => format!(
                "user \"{user}\" may not replicate from {host}: ALTER ROLE ... REPLICATION, or on \
                 Amazon's platforms GRANT rds_replication"
            ),
            (sqlstate::INSUFFICIENT_PRIVILEGE, _) => format!(
                "user \"{user}\" does not have CONNECT privilege to database \"{database}\" at \
                 {host}: GRANT CONNECT ON DATABASE to it"
            ),
            (sqlstate::INVALID_AUTHORIZATION_SPECIFICATION, Some(METHOD_FAILED)) => format!(
                "{host} does not accept user \"{user}\" by the method of its pg_hba.conf: check the \
                 password or certificate, and what the server's log says"
            ),
            (sqlstate::INVALID_AUTHORIZATION_SPECIFICATION, _) => format!(
                "{host} does not let user \"{user}\" connect to database \"{database}\" this \
                 way: see pg_hba.conf, and that the role exists and may log in"
            ),
            // Walsenders have places of their own, from version 12 on given out where others are.
            (
                sqlstate::TOO_MANY_CONNECTIONS,
                Some("InitWalSenderSlot" | "InitWalSnd" | "InitProcess"),
            ) if purpose == Purpose::Replication => {
                format!(
                    "{host} has no walsender left: raise max_wal_senders, or stop another \
                     replication client"
                )
            }
            (sqlstate::TOO_MANY_CONNECTIONS, _) => format!(
                "{host} has no connection left for user \"{user}\": see max_connections, and the \
                 connection limits of the role and the database"
            ),
            (sqlstate::CANNOT_CONNECT_NOW, _) => {
                format!("{host} is starting up, shutting down or recovering: try again later")
            }
            _ => format!("{host} refuses the connection"),
        };
        Error::new(ErrorKind::Server, message)
            .with_sqlstate(code.as_str())
            .with_source(report)
    }
}

/// Returns the name of a pooler that is known by its address.
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

/// Makes the error of a pooler.
pub(super) fn pooler_error(host: &HostPort, pooler: &str) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!(
            "{host} is a connection pooler ({pooler}), through which nothing can be replicated: \
             give the address of the database server itself"
        ),
    )
}

/// Returns the name of a pooler by what only it says. They do not translate their messages.
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

/// Says why the session ended while the server was asked for TLS.
pub(super) fn tls_negotiation_failure(host: &HostPort, error: Error) -> Error {
    match protocol_error(&error) {
        // As a server does that has no process left for a session.
        Some(ProtocolError::TlsAnswer(b'E')) => Error::new(
            ErrorKind::Connection,
            format!("{host} cannot start a session: it may be out of memory or processes"),
        )
        .with_source(error),
        _ => error,
    }
}

/// Says why the session ended during the authentication.
pub(super) fn authentication_failure(
    config: &ConnectConfig,
    host: &HostPort,
    error: Error,
    encrypted: bool,
) -> Failure {
    use AuthenticationError as Cause;
    let Some(ProtocolError::Authentication(cause)) = protocol_error(&error) else {
        return Failure::Other(error);
    };
    let user = &config.user;
    let (kind, message) = match cause {
        Cause::PasswordMissing => (
            ErrorKind::Configuration,
            format!("{host} asks for a password of user \"{user}\": give one in 'credentials'"),
        ),
        Cause::ClearTextRefused => (
            ErrorKind::Configuration,
            format!(
                "{host} asks for the password in clear text over a connection without encryption: \
                 enable ssl on the server, or set advanced.sslmode to \"disable\" to send it all \
                 the same"
            ),
        ),
        Cause::UnsupportedMethod(_) | Cause::UnsupportedMechanisms(_) => {
            let method = match cause {
                Cause::UnsupportedMethod(name) => name,
                Cause::UnsupportedMechanisms(names) => names.as_str(),
                _ => "",
            };
            (
                ErrorKind::Configuration,
                format!(
                    "{host} asks for {method} authentication, which is not supported: have \
                     pg_hba.conf ask user \"{user}\" for scram-sha-256"
                ),
            )
        }
        Cause::MethodNotAllowed(method) => (
            ErrorKind::Configuration,
            format!(
                "{host} asks for {method} authentication, which require_auth does not allow: \
                 somebody may be pretending to be the server, or its pg_hba.conf was changed"
            ),
        ),
        Cause::ChannelBindingMissing => (
            ErrorKind::Configuration,
            format!(
                "{host} offers no channel binding, which channel_binding requires: it needs TLS \
                 and scram-sha-256 from PostgreSQL 11 on"
            ),
        ),
        Cause::ScramIterations { .. } => (
            ErrorKind::Configuration,
            format!("{host} asks for more work than a login may take: see scram_iterations"),
        ),
        Cause::ScramRefused(_) => (
            ErrorKind::Configuration,
            format!("incorrect username or password for user \"{user}\" at {host}"),
        ),
        _ => (
            ErrorKind::Configuration,
            format!(
                "{host} cannot prove that it knows the password of user \"{user}\": somebody may \
                 be pretending to be the server"
            ),
        ),
    };
    let is_clear_text = matches!(cause, Cause::ClearTextRefused);
    let error = Error::new(kind, message).with_source(error);
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

fn protocol_error(error: &Error) -> Option<&ProtocolError> {
    error.source()?.downcast_ref()
}

/// Says of a connection that has ended where to, and when.
pub(super) fn login_interrupted(host: &HostPort, error: Error) -> Error {
    error.context(format!(
        "{host} ended the connection before the login was complete: is the port right?"
    ))
}

/// Wraps what a peer does that no PostgreSQL server does.
pub(super) fn not_postgres(host: &HostPort, error: Error) -> Error {
    error.context(format!(
        "{host} does not answer as a PostgreSQL server does: is the port right?"
    ))
}

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
    fn poolers_are_known_by_their_address() {
        for (host, port, due) in [
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
            assert_eq!(pooler_by_address(&host).is_some(), due, "{host}");
        }
    }
}
