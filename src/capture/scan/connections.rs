//! Connections for spans.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{debug, warn};

use crate::backfill::SpanReader;
use crate::client::{Client, Connecting};
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::net::{ConnectConfig, Purpose};

/// Time for which the end of a transaction is awaited. After that the connection is closed.
const END_TIMEOUT: Duration = Duration::from_secs(1);
/// Time after which a connection is asked for again that the server has refused.
const RETRY_REFUSED: Duration = Duration::from_secs(60);
/// Limit of the connections that are made ahead.
const MAX_AHEAD: u32 = 2;

/// Settings of a connection for spans, as far as the server has them. A transaction may have to
/// wait for the output to be taken, so the timeouts of transactions are off. Rows are to arrive at
/// once, in the order of an index: sorting the whole table for each span is for keys without one. A
/// scan by position reads page after page.
const SETTINGS: &str = "\
SELECT set_config(s.name, s.value, false)
FROM (VALUES ('idle_in_transaction_session_timeout', '0'), ('transaction_timeout', '0'),
             ('idle_session_timeout', '0'), ('enable_sort', 'off'), ('jit', 'off'),
             ('synchronize_seqscans', 'off')) AS s(name, value)
JOIN pg_catalog.pg_settings AS p USING (name)";

/// Connections for spans that are not in use.
#[derive(Debug, Default)]
pub(super) struct SpanConnections {
    idle: Vec<Idle>,
    /// Connections that are being made ahead.
    connecting: VecDeque<Connecting>,
    /// Last refusal by the server.
    refusal: Option<Refusal>,
}

/// A connection that is free, or will be once the server has answered its last request.
#[derive(Debug)]
struct Idle {
    client: Client,
    reader: Option<SpanReader>,
}

/// Record of a connection that the server has refused because there were too many.
#[derive(Debug)]
struct Refusal {
    /// Number of connections for spans that were open then.
    connected: usize,
    when: Instant,
}

impl Refusal {
    /// Returns whether another connection would be refused again.
    fn holds(&self, connected: usize, now: Instant) -> bool {
        connected >= self.connected && now.saturating_duration_since(self.when) < RETRY_REFUSED
    }
}

impl SpanConnections {
    /// Returns a connection; `None` where the server has no more. `in_use` is the number of those
    /// that are in use.
    pub(super) async fn take(
        &mut self,
        connect: &ConnectConfig,
        in_use: usize,
    ) -> Result<Option<Client>> {
        while let Some(idle) = self.idle.pop() {
            let free = idle.free().await;
            if free.is_some() {
                return Ok(free);
            }
        }
        let refusal = self.refusal.as_ref();
        if refusal.is_some_and(|refusal| refusal.holds(in_use, Instant::now())) {
            return Ok(None);
        }
        // Stale connections have to be closed first where connections are few.
        self.drop_stale();
        while let Some(connecting) = self.connecting.pop_front() {
            if let Some(client) = connecting.client().await? {
                return Ok(Some(client));
            }
        }
        match connect_for_rows(connect).await {
            Ok(client) => Ok(Some(client)),
            Err(error) if error.sqlstate() == Some(sqlstate::TOO_MANY_CONNECTIONS) => {
                self.note_refusal(&error, in_use);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn note_refusal(&mut self, error: &Error, connected: usize) {
        let is_repeated = self.refusal.is_some();
        self.refusal = Some(Refusal {
            connected,
            when: Instant::now(),
        });
        if is_repeated {
            debug!(%error, connected, "no more connections available for backfills");
        } else if connected > 0 {
            warn!(error = %error, connected, "no more connections available for backfills");
        } else {
            warn!(error = %error, "no connection available for backfills: chunks are read one by one, which \
                takes longer");
        }
    }

    /// Takes back the connection of a span that has come to its end. The answer to its last request
    /// is read when the connection is used next.
    pub(super) async fn put_back(
        &mut self,
        mut client: Client,
        mut reader: SpanReader,
    ) -> Result<()> {
        if reader.is_lost() {
            return Ok(());
        }
        reader.end_transaction(&mut client).await?;
        self.idle.push(Idle {
            client,
            reader: Some(reader),
        });
        Ok(())
    }

    /// Takes back the connection of a span that is given up, after the end of its transaction. The
    /// connection is closed where that takes too long.
    pub(super) async fn put_back_ended(&mut self, client: Client, reader: SpanReader) {
        if let Some(client) = finish(client, reader).await {
            self.idle.push(Idle {
                client,
                reader: None,
            });
        }
    }

    /// Makes connections ahead while other work is done: as many as allowed, but no more than a
    /// table of more than one range needs. They are made once `stream_connected` has changed, which
    /// says that the stream has its connection: the stream has precedence where connections are
    /// few.
    pub(super) fn connect_ahead(
        &mut self,
        connect: &ConnectConfig,
        allowed: u32,
        stream_connected: &watch::Receiver<()>,
    ) {
        for _ in 0..allowed.min(MAX_AHEAD) {
            let (connect, mut stream_connected) = (connect.clone(), stream_connected.clone());
            let attempt = async move {
                if stream_connected.changed().await.is_err() {
                    let text = "the stream has no connection yet";
                    return Err(Error::new(ErrorKind::Connection, text));
                }
                connect_for_rows(&connect).await
            };
            self.connecting.push_back(Connecting::start(attempt));
        }
    }

    /// Closes connections that were made ahead and not used for long.
    pub(super) fn drop_stale(&mut self) {
        self.connecting.retain(|connecting| !connecting.is_stale());
    }

    /// Closes all connections that are not in use.
    pub(super) async fn disconnect(&mut self) {
        self.connecting.clear();
        for idle in self.idle.drain(..) {
            if let Some(mut client) = idle.free().await {
                client.terminate().await;
            }
        }
    }
}

impl Idle {
    /// Waits until the connection is free. Returns it if it can be used again.
    async fn free(self) -> Option<Client> {
        match self.reader {
            Some(reader) => finish(self.client, reader).await,
            None => Some(self.client),
        }
    }
}

/// Waits for the end of a span's transaction, for a limited time. Returns the connection if it can
/// be used again.
async fn finish(mut client: Client, reader: SpanReader) -> Option<Client> {
    match tokio::time::timeout(END_TIMEOUT, reader.finish(&mut client)).await {
        Ok(Ok(())) => Some(client),
        Ok(Err(error)) => {
            debug!(%error, "connection for backfills closed");
            None
        }
        Err(_) => {
            debug!("connection for backfills closed: the server is busy with it");
            client.give_up();
            None
        }
    }
}

async fn connect_for_rows(connect: &ConnectConfig) -> Result<Client> {
    let mut client = Client::connect(connect, Purpose::Query).await?;
    client.query(SETTINGS, &[]).await?;
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_forgotten_after_a_while() {
        let when = Instant::now();
        let refusal = Refusal { connected: 2, when };
        assert!(refusal.holds(2, when));
        assert!(refusal.holds(3, when + RETRY_REFUSED / 2));
        assert!(!refusal.holds(1, when));
        assert!(!refusal.holds(2, when + RETRY_REFUSED));
    }
}
