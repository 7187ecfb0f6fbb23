//! Connections through an SSH server (`networkTunnel`), in this process: without a child process, a
//! local port or a file with the key.
//!
//! Each connection has an SSH session of its own. A session stalls while one of its channels is not
//! read, and a capture always has connections that it does not read: rows that are requested ahead,
//! or the stream while a chunk is emitted. In one session they would block each other.

mod endpoint;
mod host_key;
mod key;
mod stream;

pub(super) use stream::TunnelStream;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use russh::ChannelOpenFailure;
use russh::Disconnect;
use russh::client::{self, AuthResult, Handle};
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg};
use tokio::net::TcpStream;
use tracing::{debug, info};

use self::endpoint::Endpoint;
use self::host_key::{HostKeyCheck, SshError};
use crate::background;
use crate::config::{HostPort, SshForwarding};
use crate::error::{Error, ErrorKind, Result};

/// Forwarding through an SSH server.
pub(super) struct Tunnel {
    endpoint: Endpoint,
    key: Arc<PrivateKey>,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Tunnel {
    /// Parses the endpoint and the key, without connecting.
    ///
    /// # Errors
    ///
    /// Fails if the endpoint or the key has an unknown form.
    pub(super) fn new(forwarding: &SshForwarding) -> Result<Self> {
        Ok(Self {
            endpoint: Endpoint::parse(&forwarding.ssh_endpoint)?,
            key: Arc::new(key::read(&forwarding.private_key)?),
        })
    }

    /// Returns the SSH server.
    pub(super) fn server(&self) -> &HostPort {
        &self.endpoint.host
    }

    /// Logs in to the SSH server over this connection to it.
    ///
    /// # Errors
    ///
    /// Fails if the host key differs from the one seen before, or if the SSH server refuses the
    /// login.
    async fn log_in(&self, socket: TcpStream) -> Result<Handle<HostKeyCheck>> {
        info!(endpoint = %self.endpoint, "starting SSH tunnel");
        let config = client::Config {
            keepalive_interval: Some(Duration::from_secs(30)),
            keepalive_max: 4,
            nodelay: true,
            ..client::Config::default()
        };
        let check = HostKeyCheck::new(&self.endpoint.host);
        // The background thread polls the socket, so that the SSH session answers and sends
        // keepalives while the main thread is busy, as long as there is buffer space for received
        // data.
        let socket = socket.into_std()?;
        let connecting = background::spawn(async move {
            let socket = TcpStream::from_std(socket).map_err(russh::Error::from)?;
            client::connect_stream(Arc::new(config), socket, check).await
        });
        let mut session = connecting
            .await
            .map_err(|error| {
                Error::new(ErrorKind::Internal, "the SSH tunnel was not started").with_source(error)
            })?
            .map_err(|error| self.failed(error))?;
        // RSA signatures with SHA-1 are left out: servers have refused them for years.
        let hash = match session.best_supported_rsa_hash().await {
            Ok(Some(Some(hash))) => hash,
            _ => HashAlg::Sha512,
        };
        let key = PrivateKeyWithHashAlg::new(Arc::clone(&self.key), Some(hash));
        match session
            .authenticate_publickey(self.endpoint.user.as_str(), key)
            .await
            .map_err(|error| self.failed(error.into()))?
        {
            AuthResult::Success => {}
            AuthResult::Failure { .. } => {
                let _ = session.disconnect(Disconnect::ByApplication, "", "").await;
                return Err(Error::new(
                    ErrorKind::Configuration,
                    format!(
                        "the SSH server {} does not let user \"{}\" log in with the private key of \
                         networkTunnel: add its public key to authorized_keys on that server",
                        self.endpoint.host, self.endpoint.user
                    ),
                ));
            }
        }
        debug!(endpoint = %self.endpoint, "SSH tunnel ready");
        Ok(session)
    }

    /// Opens a connection to `target` through the SSH server, which resolves its name. `socket` is
    /// a connection to the SSH server.
    ///
    /// # Errors
    ///
    /// Fails if the host key differs from the one seen before, or if the SSH server refuses the
    /// login, cannot reach the target or does not allow forwarding.
    pub(super) async fn open(&self, socket: TcpStream, target: &HostPort) -> Result<TunnelStream> {
        let session = Arc::new(self.log_in(socket).await?);
        let channel = session
            .channel_open_direct_tcpip(target.host.as_str(), u32::from(target.port), "127.0.0.1", 0)
            .await;
        let server = &self.endpoint.host;
        match channel {
            Ok(channel) => Ok(TunnelStream::new(channel, session, server.to_string())),
            Err(russh::Error::ChannelOpenFailure(reason)) => Err(match reason {
                ChannelOpenFailure::AdministrativelyProhibited => Error::new(
                    ErrorKind::Configuration,
                    format!(
                        "the SSH server {server} does not forward connections to {target}: see \
                         AllowTcpForwarding and PermitOpen in its sshd_config"
                    ),
                ),
                _ => Error::new(
                    ErrorKind::Connection,
                    format!(
                        "the SSH server {server} cannot reach {target}: check the address as it \
                         is seen from there, and that the database server is running"
                    ),
                ),
            }),
            Err(error) => Err(self.failed(error.into())),
        }
    }

    /// Returns the error for a failure of SSH itself.
    fn failed(&self, error: SshError) -> Error {
        let server = &self.endpoint.host;
        let (kind, message) = match &error {
            SshError::HostKeyChanged => (
                ErrorKind::Configuration,
                format!(
                    "the SSH server {server} has another host key than before: another machine \
                     may be impersonating it"
                ),
            ),
            SshError::Ssh(russh::Error::NoCommonAlgo { .. }) => (
                ErrorKind::Configuration,
                format!("the SSH server {server} has no algorithm in common with the connector"),
            ),
            SshError::Ssh(russh::Error::Version) => (
                ErrorKind::Configuration,
                format!("{server} does not answer as an SSH server does: is the port right?"),
            ),
            SshError::Ssh(_) => (
                ErrorKind::Connection,
                format!("the SSH connection to {server} failed"),
            ),
        };
        Error::new(kind, message).with_source(error)
    }
}
