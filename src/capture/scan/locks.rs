//! Tables that other sessions have locked: they are read later, and the log says who holds the
//! lock.

use std::time::{Duration, Instant};

use tracing::warn;

use super::advance::scan_failed;
use crate::capture::session::Session;
use crate::capture::sink::Sink;
use crate::capture::table::{Locked, TableIndex};
use crate::catalog::explain_lock;
use crate::error::{Error, Result, sqlstate};

/// Lock timeout of reading rows while other tables can be read. Sessions that ask for the
/// table later queue after our request.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// Lock timeout of reading rows of the only table that is backfilled.
const LOCK_TIMEOUT_OF_LAST: Duration = Duration::from_secs(10);
/// Time for which the stream is read before a locked table is tried again.
pub(super) const LOCKED_READ_TIME: Duration = Duration::from_millis(250);
/// Interval between log lines about the lock of one table.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

impl<S: Sink> Session<S> {
    /// Returns the lock timeout of a span. The stream is read meanwhile.
    pub(super) fn lock_timeout_of_span(&self) -> Duration {
        self.within_statement_timeout(if self.tables.backfilling() > 1 {
            LOCK_TIMEOUT
        } else {
            LOCK_TIMEOUT_OF_LAST
        })
    }

    /// Returns the lock timeout of the connection for queries, for which the session waits.
    pub(super) fn lock_timeout(&self) -> Duration {
        self.within_statement_timeout(LOCK_TIMEOUT)
    }

    /// Limits a timeout so that it comes before that of the statement, which would be an error.
    fn within_statement_timeout(&self, timeout: Duration) -> Duration {
        let longest = self.settings.config.statement_timeout;
        longest
            .map_or(timeout, |longest| timeout.min(longest / 2))
            .max(Duration::from_millis(1))
    }

    /// Handles an error of the server instead of the first rows: where another session has locked
    /// the table, other tables are read first; where the role may read all columns but not lock the
    /// table, the table is read without a lock.
    ///
    /// # Errors
    ///
    /// Fails with every other error.
    pub(super) async fn on_scan_error(&mut self, index: TableIndex, error: Error) -> Result<()> {
        let Some(table) = self.tables.scanned(index) else {
            return Err(error);
        };
        match error.sqlstate() {
            Some(sqlstate::INSUFFICIENT_PRIVILEGE) if table.scan.may_lock => {
                table.scan.may_lock = false;
                Ok(())
            }
            Some(sqlstate::LOCK_NOT_AVAILABLE) => self.note_locked(index).await,
            _ => Err(scan_failed(&table, error)),
        }
    }

    /// Puts a table after the others for a while, and logs at times who has locked it.
    async fn note_locked(&mut self, index: TableIndex) -> Result<()> {
        let Some(table) = self.tables.scanned(index) else {
            return Ok(());
        };
        let found = Instant::now();
        let logged = table.scan.locked.map(|locked| locked.logged);
        let is_log_due = logged.is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL);
        let logged = logged.filter(|_| !is_log_due).unwrap_or(found);
        table.scan.locked = Some(Locked { found, logged });
        if is_log_due {
            let info = &table.scan.info;
            let why = explain_lock(self.server.client(), info).await?;
            warn!(stream = %info.id, waits_for = %why,
                "backfill waits because the table is locked; other tables are read first");
        }
        Ok(())
    }
}
