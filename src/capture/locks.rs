//! Tables that somebody else has locked: they are read later, and the log says who holds them.

use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::chunk::failed;
use super::engine::Engine;
use super::sink::Sink;
use super::table::Table;
use crate::catalog::{explain_block, explain_lock};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::net::{ConnectConfig, Purpose};

/// SQLSTATE lock_not_available: the lock timeout.
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// SQLSTATE insufficient_privilege.
const NO_PRIVILEGE: &str = "42501";

/// How long the rows of a table are waited for while somebody else has it locked, with other tables to
/// be read meanwhile and without. Whoever comes later waits behind us.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
const LOCK_TIMEOUT_OF_LAST: Duration = Duration::from_secs(10);
/// For how long other tables come first then.
const LOCK_PAUSE: Duration = Duration::from_secs(5);
/// How long the stream is followed before a table that is locked is asked for again.
pub(super) const LOCK_SHARE: Duration = Duration::from_millis(250);
/// How often it is said who has locked a table.
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// After how long it is said first what queries at the start of a session wait for.
const FIRST_NEWS: Duration = Duration::from_secs(2);

/// That a table was found locked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Locked {
    /// When.
    pub(super) found: Instant,
    said: Instant,
}

impl Locked {
    /// Returns whether that was so lately that other tables come first.
    pub(super) fn is_recent(&self) -> bool {
        self.found.elapsed() < LOCK_PAUSE
    }
}

impl<S: Sink> Engine<S> {
    /// How long the snapshot of a span may wait for a table that somebody else has locked. The stream is
    /// followed meanwhile.
    pub(super) fn lock_timeout_of_span(&self) -> Duration {
        self.bounded(if self.backfilling() > 1 {
            LOCK_TIMEOUT
        } else {
            LOCK_TIMEOUT_OF_LAST
        })
    }

    /// The same over the connection for queries, with nothing else going on.
    pub(super) fn lock_timeout(&self) -> Duration {
        self.bounded(LOCK_TIMEOUT)
    }

    /// The timeout of the statement would be an error.
    fn bounded(&self, timeout: Duration) -> Duration {
        let longest = self.config.statement_timeout;
        longest
            .map_or(timeout, |longest| timeout.min(longest / 2))
            .max(Duration::from_millis(1))
    }

    /// Notes that the server has refused to start reading: since somebody else has locked the table, so
    /// that others come first, or who may read all columns, but not the table as such, may not lock it.
    pub(super) async fn on_scan_error(&mut self, index: usize, error: Error) -> Result<()> {
        let table = self.table_mut(index)?;
        match (&mut table.scan, error.sqlstate()) {
            (Some(scan), Some(NO_PRIVILEGE)) if scan.may_lock => {
                scan.may_lock = false;
                Ok(())
            }
            (Some(_), Some(LOCK_NOT_AVAILABLE)) => self.found_locked(index).await,
            _ => Err(failed(table, error)),
        }
    }

    /// Returns whether a table was found locked lately.
    pub(super) fn is_locked(&self, index: usize) -> Result<bool> {
        let locked = self.scan(index)?.locked;
        Ok(locked.is_some_and(|locked| locked.is_recent()))
    }

    /// Puts a table behind the others for a while, and says now and then who has locked it.
    pub(super) async fn found_locked(&mut self, index: usize) -> Result<()> {
        let Some(Table {
            scan: Some(scan),
            info: Some(info),
            ..
        }) = self.tables.get_mut(index)
        else {
            return Ok(());
        };
        let found = Instant::now();
        let said = scan.locked.map(|locked| locked.said);
        let is_news = said.is_none_or(|said| said.elapsed() >= SAY_AGAIN);
        let said = said.filter(|_| !is_news).unwrap_or(found);
        scan.locked = Some(Locked { found, said });
        if is_news {
            let why = explain_lock(&mut self.client, info).await?;
            warn!(stream = %info.id, waits_for = %why,
                "the table is locked, so its backfill waits; other tables come first");
        }
        Ok(())
    }
}

/// Runs queries that can wait for somebody who has locked a table, and says then who that is. That
/// takes another connection, of which there may be none.
pub(super) async fn watched<T>(
    connect: &ConnectConfig,
    process: Option<protocol::ProcessId>,
    queries: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::pin!(queries);
    let mut news = FIRST_NEWS;
    loop {
        if let Ok(done) = tokio::time::timeout(news, &mut queries).await {
            return done;
        }
        news = SAY_AGAIN;
        let Some(process) = process else { continue };
        let explained = async {
            let mut client = Client::connect(connect, Purpose::Query).await?;
            let why = explain_block(&mut client, process).await;
            client.terminate().await;
            why
        };
        tokio::select! {
            done = &mut queries => return done,
            explained = explained => match explained {
                Ok(why) if why.is_empty() => {}
                Ok(why) => warn!(waits_for = %why, "the server waits for a lock to tell about the tables"),
                Err(error) => debug!(%error, "it cannot be told what the server waits for"),
            }
        }
    }
}
