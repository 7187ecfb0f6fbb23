//! Connections through an SSH server (`networkTunnel`), inside this process: there is no child
//! process, no local port and no file with a key.
//!
//! Each connection has an SSH session of its own. A session stops where one of its channels is not
//! read for a while, and a capture always has connections that it does not read: rows that are asked
//! for ahead, the stream while a chunk is emitted. In one session they would wait for each other.

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

/// A way through an SSH server.
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
    /// Reads what is configured. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// Fails where the endpoint or the key has no form that is known.
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

    /// Takes a connection to the SSH server and logs in.
    ///
    /// # Errors
    ///
    /// Fails where the SSH server is another than before, or does not let us in.
    async fn log_in(&self, socket: TcpStream) -> Result<Handle<HostKeyCheck>> {
        info!(endpoint = %self.endpoint, "starting the SSH tunnel");
        let config = client::Config {
            keepalive_interval: Some(Duration::from_secs(30)),
            keepalive_max: 4,
            nodelay: true,
            ..client::Config::default()
        };
        let check = HostKeyCheck::new(&self.endpoint.host);
        // The SSH session answers and keeps itself alive also while the capture's own thread is busy, as
        // long as there is room for what it brings: its socket is watched on the other thread.
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
        // What of SHA-1 is left out of RSA is what servers have refused for years.
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
                        "the SSH server {} does not let user \"{}\" in with the private key of \
                         networkTunnel: see that its public key is in authorized_keys there",
                        self.endpoint.host, self.endpoint.user
                    ),
                ));
            }
        }
        debug!(endpoint = %self.endpoint, "the SSH tunnel is ready");
        Ok(session)
    }

    /// Opens a connection to `target`, whose name the SSH server resolves, over this one to the SSH
    /// server.
    ///
    /// # Errors
    ///
    /// Fails where the SSH server is another than before, does not let us in, cannot reach the target
    /// or does not forward.
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
                         is seen from there, and that the database server runs"
                    ),
                ),
            }),
            Err(error) => Err(self.failed(error.into())),
        }
    }

    fn failed(&self, error: SshError) -> Error {
        let server = &self.endpoint.host;
        let (kind, message) = match &error {
            SshError::OtherServer => (
                ErrorKind::Configuration,
                format!(
                    "the SSH server {server} shows another host key than before: somebody may be \
                     pretending to be it"
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
