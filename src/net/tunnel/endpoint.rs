//! The address of an SSH server, in the form `ssh://user@host:port`.

use std::fmt;

use crate::config::HostPort;
use crate::error::{Error, ErrorKind, Result};

const DEFAULT_PORT: u16 = 22;

/// An SSH server, and the user to log in as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) user: String,
    pub(super) host: HostPort,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ssh://{}@{}", self.user, self.host)
    }
}

impl Endpoint {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let invalid = |why: &str| {
            Error::new(
                ErrorKind::Configuration,
                format!(
                    "'networkTunnel.sshForwarding.sshEndpoint' must be ssh://user@host or \
                     ssh://user@host:port: {why}"
                ),
            )
        };
        let rest = text
            .trim()
            .strip_prefix("ssh://")
            .ok_or_else(|| invalid("it does not start with ssh://"))?;
        let (user, address) = rest
            .rsplit_once('@')
            .ok_or_else(|| invalid("the user is missing"))?;
        if user.is_empty() {
            return Err(invalid("the user is missing"));
        }
        if user.contains(':') {
            // The error does not repeat the password.
            return Err(invalid("a password cannot be given, only a private key"));
        }
        let address = address.strip_suffix('/').unwrap_or(address);
        let host = HostPort::parse(address, DEFAULT_PORT)
            .map_err(|why| invalid(&format!("found {address:?}: {why}")))?;
        Ok(Self {
            user: user.to_owned(),
            host,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_host_and_port_are_parsed() {
        for (text, expected) in [
            ("ssh://me@jump", "ssh://me@jump:22"),
            ("ssh://me@jump:2222/", "ssh://me@jump:2222"),
            (
                "ssh://me@example.com@10.0.0.1",
                "ssh://me@example.com@10.0.0.1:22",
            ),
            ("ssh://me@[::1]:2200", "ssh://me@[::1]:2200"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn errors_name_the_missing_part() {
        for (text, expected) in [
            ("me@jump", "ssh://"),
            ("ssh://jump", "user is missing"),
            ("ssh://@jump", "user is missing"),
            ("ssh://me:hunter2@jump", "only a private key"),
            ("ssh://me@jump:port", "port"),
            ("ssh://me@", "host is missing"),
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            let error = error.to_string();
            assert!(
                error.contains(expected) && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
