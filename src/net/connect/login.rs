//! Makes an attempt: opens the byte stream and logs in, until the server is ready for queries.

use protocol::Event;

use super::attempt::{Attempt, Failure};
use super::cancel::Canceller;
use super::config::ConnectConfig;
use super::refusal::{authentication_failure, login_interrupted, refusal_of, unexpected_message};
use crate::net::connection::Connection;
use crate::net::tls::failure_after_handshake;

impl ConnectConfig {
    /// Makes an attempt to connect.
    pub(super) async fn log_in(&self, attempt: &Attempt<'_>) -> Result<Connection, Failure> {
        let (stream, receiver) = self.reach(attempt).await?;
        let canceller = Canceller::new(self, attempt, stream.is_encrypted());
        let mut connection = Connection::new(stream, receiver, canceller);
        self.authenticate(&mut connection, attempt).await?;
        Ok(connection)
    }

    /// Runs the session until the server is ready for queries.
    async fn authenticate(
        &self,
        connection: &mut Connection,
        attempt: &Attempt<'_>,
    ) -> Result<(), Failure> {
        let host = attempt.host;
        let encrypted = connection.is_encrypted();
        let (mut has_answered, mut is_authenticated) = (false, false);
        loop {
            let sent = connection.send().await;
            // A failed write is reported below: an error message that the server sent before it
            // closed the connection says more.
            if let Err(error) = connection.fill().await {
                return Err(match (encrypted, has_answered) {
                    (true, false) => failure_after_handshake(host, error).into(),
                    _ => login_interrupted(host, sent.err().unwrap_or(error)).into(),
                });
            }
            has_answered = true;
            let event = match connection.try_event() {
                Ok(event) => event,
                Err(error) => return Err(authentication_failure(self, host, error, encrypted)),
            };
            match event {
                Some(Event::Ready(_)) => return Ok(()),
                Some(Event::Authenticated) => is_authenticated = true,
                Some(Event::Error(report)) => {
                    let refusal = refusal_of(&report);
                    let error = self.refusal(host, attempt.purpose, report.into_owned());
                    return Err(if is_authenticated {
                        Failure::Other(error)
                    } else {
                        Failure::Refused {
                            error,
                            encrypted,
                            refusal,
                        }
                    });
                }
                Some(_) => {}
                None => return Err(unexpected_message(host).into()),
            }
        }
    }
}
