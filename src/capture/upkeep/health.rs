//! Check of the server: warnings for the operator about the slot and about open transactions.

use std::time::Duration;

use tracing::{debug, info, warn};

use crate::capture::session::Session;
use crate::capture::sink::Sink;
use crate::catalog::{Health, read_health};
use crate::error::{Error, Result};

/// Time for which the answer is awaited, while spans hold their locks, before the connection is
/// replaced.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Age from which on an open transaction is logged: it holds back the slot noticeably.
const LONG_TRANSACTION: Duration = Duration::from_secs(30 * 60);

impl<S: Sink> Session<S> {
    /// Checks the server unless this session, which may be a short one, has done so. The stream has
    /// to be started before, so that the server lists the session that reads the slot.
    pub(in crate::capture) async fn check_server_once(&mut self) -> Result<()> {
        if !self.upkeep.is_checked() {
            self.check_server().await?;
        }
        Ok(())
    }

    /// Logs warnings about the server for the operator. A fact that cannot be read does not stop
    /// the capture; a lost connection does.
    pub(super) async fn check_server(&mut self) -> Result<()> {
        self.upkeep.note_check();
        let health = self.read_health().await?;
        let slot = &self.settings.config.slot_name;
        match health.next_transaction_id {
            Ok(xid) => info!(xid, "current transaction id"),
            Err(error) => tolerate(error, "the current transaction id")?,
        }
        match health.slot {
            Ok(status) => {
                if let Some(warning) = status.warning() {
                    warn!(%slot, "{warning}");
                }
            }
            Err(error) => tolerate(error, "the state of the replication slot")?,
        }
        match health.standby_warning {
            Ok(warning) => {
                if let Some(warning) = warning {
                    warn!(%slot, "{warning}");
                }
            }
            Err(error) => tolerate(error, "the reader of the replication slot")?,
        }
        match health.long_transactions {
            Ok(transactions) => {
                for transaction in transactions {
                    warn!(
                        pid = transaction.pid,
                        prepared = transaction.gid,
                        seconds = transaction.seconds,
                        user = transaction.user,
                        application = transaction.application,
                        state = transaction.state,
                        "a transaction has been open for long: the server has to keep its log from \
                         before the transaction"
                    );
                }
            }
            Err(error) => tolerate(error, "long transactions")?,
        }
        Ok(())
    }

    /// Reads the facts, over a new connection if the present one does not answer: the server or the
    /// network may have ended a connection that is seldom used.
    async fn read_health(&mut self) -> Result<Health> {
        let slot = self.settings.config.slot_name.clone();
        let seconds = LONG_TRANSACTION.as_secs();
        let health = read_health(self.server.client(), &slot, seconds);
        match tokio::time::timeout(ANSWER_TIMEOUT, health).await {
            Ok(Err(error)) if error.is_retryable() => {}
            Ok(health) => return health,
            Err(_) => {}
        }
        debug!("connecting again for queries");
        self.end_spans().await?;
        self.server.reconnect().await?;
        read_health(self.server.client(), &slot, seconds).await
    }
}

/// Logs that a fact cannot be read, unless the connection is lost.
fn tolerate(error: Error, what: &str) -> Result<()> {
    if error.sqlstate().is_none() {
        return Err(error);
    }
    warn!(error = %error, "{what} cannot be read");
    Ok(())
}
