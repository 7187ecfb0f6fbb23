//! Resolves host names, and opens TCP connections.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::config::HostPort;
use crate::error::{Error, ErrorKind, Result};
use crate::net::error::connection_lost;

/// Maximum time for which sent bytes may stay unacknowledged by the peer's TCP.
const USER_TIMEOUT: Duration = Duration::from_secs(180);

/// Resolves the addresses of a host, in the order of the resolver.
pub(super) async fn resolve(host: &HostPort) -> Result<Vec<SocketAddr>> {
    let addresses = tokio::net::lookup_host((host.host.as_str(), host.port))
        .await
        .map_err(|error| unresolved(host).with_source(error))?;
    Ok(addresses.collect())
}

/// Returns the error for a host name without an address.
pub(super) fn unresolved(host: &HostPort) -> Error {
    Error::new(
        ErrorKind::Connection,
        format!(
            "the host name \"{}\" cannot be resolved: check its spelling in 'address'",
            host.host
        ),
    )
}

/// Opens a TCP connection to an address of `host`.
pub(super) async fn open_socket(host: &HostPort, address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect(address).await.map_err(|error| {
        use std::io::ErrorKind as Cause;
        let message = match error.kind() {
            Cause::ConnectionRefused => format!(
                "{host} refuses connections: check that the server runs, that its \
                 listen_addresses has this address, and the port"
            ),
            Cause::TimedOut => format!(
                "{host} does not answer: check the address, and that a firewall lets the \
                 connector through"
            ),
            _ => format!("{host} cannot be reached: check the address and the network"),
        };
        Error::new(ErrorKind::Connection, message).with_source(error)
    })?;
    // Requests are small, and each waits for its answer: a delay for larger segments would only add
    // latency.
    socket.set_nodelay(true).map_err(connection_lost)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(120))
        .with_interval(Duration::from_secs(30))
        .with_retries(6);
    let options = SockRef::from(&socket);
    options
        .set_tcp_keepalive(&keepalive)
        .map_err(connection_lost)?;
    options
        .set_tcp_user_timeout(Some(USER_TIMEOUT))
        .map_err(connection_lost)?;
    Ok(socket)
}
