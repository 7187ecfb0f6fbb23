//! Log lines about queries at the start of a session that wait for a lock.

use std::time::Duration;

use protocol::ProcessId;
use tracing::{debug, warn};

use crate::catalog::explain_block;
use crate::client::Client;
use crate::error::Result;
use crate::net::{ConnectConfig, Purpose};

/// Time after which a query that waits is logged first.
const FIRST_LOG: Duration = Duration::from_secs(2);
/// Interval between further log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Runs queries of a session that can wait for a table which another session has locked, and logs
/// the holder of the lock. That takes another connection; without one, nothing is logged.
pub(super) async fn log_locks_of<T>(
    connect: &ConnectConfig,
    session: Option<ProcessId>,
    queries: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::pin!(queries);
    let mut log_after = FIRST_LOG;
    loop {
        if let Ok(done) = tokio::time::timeout(log_after, &mut queries).await {
            return done;
        }
        log_after = LOG_INTERVAL;
        let Some(session) = session else { continue };
        let explained = async {
            let mut client = Client::connect(connect, Purpose::Query).await?;
            let why = explain_block(&mut client, session).await;
            client.terminate().await;
            why
        };
        tokio::select! {
            done = &mut queries => return done,
            explained = explained => match explained {
                Ok(why) if why.is_empty() => {}
                Ok(why) => warn!(waits_for = %why, "catalog queries wait for a lock"),
                Err(error) => debug!(%error, "session that holds the lock cannot be read"),
            }
        }
    }
}
