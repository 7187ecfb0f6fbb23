//! Verification of the host keys of SSH servers.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use russh::client;
use russh::keys::{HashAlg, PublicKeyOrCertificate};
use tracing::info;

use crate::config::HostPort;

/// Checks the host key of an SSH server against the first key that this process received from it.
pub(super) struct HostKeyCheck {
    server: String,
}

impl HostKeyCheck {
    pub(super) fn new(server: &HostPort) -> Self {
        Self {
            server: server.to_string(),
        }
    }
}

impl client::Handler for HostKeyCheck {
    type Error = SshError;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, SshError> {
        let fingerprint = match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.fingerprint(HashAlg::Sha256),
            PublicKeyOrCertificate::Certificate(certificate) => {
                certificate.public_key().fingerprint(HashAlg::Sha256)
            }
        }
        .to_string();
        let mut known = known_hosts().lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&self.server) {
            Some(before) if *before != fingerprint => Err(SshError::HostKeyChanged),
            Some(_) => Ok(true),
            None => {
                info!(server = %self.server, %fingerprint, "SSH host key accepted on first use");
                known.insert(self.server.clone(), fingerprint);
                Ok(true)
            }
        }
    }
}

/// Returns the fingerprints of host keys by server, as the first connections of this process found
/// them. The configuration has no host keys to compare with, but a server must at least keep its
/// key.
fn known_hosts() -> &'static Mutex<HashMap<String, String>> {
    static KNOWN: OnceLock<Mutex<HashMap<String, String>>> = OnceLock::new();
    KNOWN.get_or_init(Mutex::default)
}

/// Reason for the failure of SSH itself.
#[derive(Debug)]
pub(super) enum SshError {
    HostKeyChanged,
    Ssh(russh::Error),
}

impl fmt::Display for SshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostKeyChanged => f.write_str("the host key has changed"),
            Self::Ssh(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SshError {}

impl From<russh::Error> for SshError {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}
