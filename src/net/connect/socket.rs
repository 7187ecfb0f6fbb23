//! TCP connections to a host.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::config::HostPort;
use crate::error::{Error, ErrorKind, Result};
use crate::net::connection::lost;

pub(super) async fn open_socket(host: &HostPort) -> Result<TcpStream> {
    let addresses = tokio::net::lookup_host((host.host.as_str(), host.port))
        .await
        .map_err(|error| {
            Error::new(
                ErrorKind::Connection,
                format!("the host name \"{}\" cannot be resolved", host.host),
            )
            .with_source(error)
        })?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                // Requests are small and each waits for its answer.
                socket.set_nodelay(true).map_err(lost)?;
                let keepalive = TcpKeepalive::new()
                    .with_time(Duration::from_secs(120))
                    .with_interval(Duration::from_secs(30))
                    .with_retries(6);
                SockRef::from(&socket)
                    .set_tcp_keepalive(&keepalive)
                    .map_err(lost)?;
                return Ok(socket);
            }
            Err(error) => last = Some(error),
        }
    }
    let error = Error::new(
        ErrorKind::Connection,
        format!("{host} cannot be reached: check the address, and that the server is running"),
    );
    Err(match last {
        Some(cause) => error.with_source(cause),
        None => error,
    })
}
