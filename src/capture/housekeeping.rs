//! What is done now and then: looking the tables up again, checks of the server, status and progress.

use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::engine::{ChangeStream, Engine};
use super::sink::Sink;
use super::start::check;
use super::state::Mode;
use crate::catalog::{SlotUse, read_health, read_publication};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::logging;
use crate::net::Purpose;

/// When the server is checked first, unless rows are read before that: its answer comes beside them then.
const FIRST_CHECK: Duration = Duration::from_secs(1);
/// How often the server is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// How long its answer is waited for, while spans hold their locks, before that connection is given up.
const HEALTH_PATIENCE: Duration = Duration::from_secs(5);
/// How often progress is logged.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// How often chunks of one table are logged.
const CHUNK_INTERVAL: Duration = Duration::from_secs(10);
/// Transactions that are open for longer hold back the slot noticeably.
const LONG_TRANSACTION: Duration = Duration::from_secs(30 * 60);

/// When what is due.
#[derive(Debug)]
pub(super) struct Housekeeping {
    interval: Duration,
    rediscovery: Instant,
    check: Instant,
    /// The server was checked in this session.
    is_checked: bool,
    progress: Instant,
    since: Instant,
    /// The table of the last chunk that was logged, and when that was.
    chunk: Option<(u32, Instant)>,
}

impl Housekeeping {
    /// Starts: the check is due in a moment, the rediscovery after its interval.
    pub(super) fn new(interval: Duration) -> Self {
        let now = Instant::now();
        Self {
            interval,
            rediscovery: now + jittered(interval),
            check: now + FIRST_CHECK,
            is_checked: false,
            progress: now + PROGRESS_INTERVAL,
            since: now,
            chunk: None,
        }
    }

    /// Returns whether a chunk of a table is to be logged: the first, and one every few seconds.
    pub(super) fn is_chunk_news(&mut self, binding: u32) -> bool {
        let news = self
            .chunk
            .is_none_or(|(last, when)| last != binding || when.elapsed() >= CHUNK_INTERVAL);
        if news {
            self.chunk = Some((binding, Instant::now()));
        }
        news
    }

    /// Returns how long nothing is due.
    pub(super) fn until_due(&self) -> Duration {
        let next = self.rediscovery.min(self.check).min(self.progress);
        next.saturating_duration_since(Instant::now())
    }
}

/// Half of the interval and up to all of it on top, so that captures that were started together do
/// not all ask at once.
fn jittered(interval: Duration) -> Duration {
    let mut random = [0; 4];
    if getrandom::fill(&mut random).is_err() {
        return interval;
    }
    interval / 2 + interval.mul_f64(f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX))
}

impl<S: Sink> Engine<S> {
    /// Does what is due.
    pub(super) async fn run_due(&mut self, changes: &mut ChangeStream) -> Result<()> {
        let now = Instant::now();
        if now >= self.housekeeping.check {
            self.check_server().await?;
        }
        if now >= self.housekeeping.rediscovery {
            self.housekeeping.rediscovery = now + jittered(self.housekeeping.interval);
            // What the catalogs say of a table may be told behind who waits for its lock.
            self.end_spans().await?;
            self.rediscover(changes).await?;
        }
        self.report_progress(changes);
        Ok(())
    }

    /// Checks the server if that was not done in this session: it may be a short one. It has been asked
    /// something since the stream has started, so that it knows who streams.
    pub(super) async fn check_once(&mut self) -> Result<()> {
        if !self.housekeeping.is_checked {
            self.check_server().await?;
        }
        Ok(())
    }

    /// Logs progress when it is due.
    pub(super) fn report_progress(&mut self, changes: &mut ChangeStream) {
        let now = Instant::now();
        if now < self.housekeeping.progress {
            return;
        }
        self.housekeeping.progress = now + PROGRESS_INTERVAL;
        let counts = std::mem::take(&mut changes.dispatcher.counts);
        let duration = now - self.housekeeping.since;
        self.housekeeping.since = now;
        info!(
            changes = counts.changes,
            documents = counts.documents,
            commits = counts.commits,
            seconds = duration.as_secs(),
            backfilling = self.backfilling(),
            position = %changes.dispatcher.position.received(),
            durable = %changes.replication.durable_position().durable(),
            "progress"
        );
    }

    /// Looks the bound tables up again: what has changed shows in their schemas; those that are gone
    /// are marked, and those that are back are backfilled.
    async fn rediscover(&mut self, changes: &mut ChangeStream) -> Result<()> {
        self.look_up().await?;
        self.mark_missing();
        if self
            .tables
            .iter()
            .any(|table| table.state.mode == Mode::Pending)
        {
            self.publish_pending().await?;
            self.begin_initial_waits().await?;
        }
        self.check_publication().await?;
        if self.emit_schemas()? {
            self.checkpoint_due = true;
            self.try_settle().await?;
        }
        changes.dispatcher.relations.invalidate(&self.tables);
        self.prepare_all(changes).await?;
        self.activate(changes).await
    }

    /// Makes sure that tables which are there again are published before they are backfilled.
    async fn publish_pending(&mut self) -> Result<()> {
        let pending: Vec<_> = self
            .bindings
            .iter()
            .zip(&self.tables)
            .filter(|(_, table)| table.state.mode == Mode::Pending)
            .map(|(binding, _)| binding.clone())
            .collect();
        check(
            &mut self.client,
            &self.config,
            &pending,
            |_| false,
            SlotUse::Resume,
            [],
        )
        .await?;
        Ok(())
    }

    /// Stops where the changes of a table are not published any more: the capture would go on without
    /// them, and nobody would notice.
    async fn check_publication(&mut self) -> Result<()> {
        let name = &self.config.publication_name;
        if self.config.flags.skip_prerequisites || self.config.flags.skip_table_prerequisites {
            return Ok(());
        }
        let Some(publication) = read_publication(&mut self.client, name).await? else {
            return Err(Error::new(
                ErrorKind::Prerequisite,
                format!(
                    "publication \"{name}\" does not exist any more: backfill all bindings anew"
                ),
            ));
        };
        for table in &self.tables {
            let followed = table.state.mode == Mode::Active || table.state.mode.is_backfill();
            if let (true, Some(info)) = (followed, &table.info)
                && !publication.tables.contains(&info.id)
            {
                return Err(Error::new(
                    ErrorKind::Prerequisite,
                    format!(
                        "table \"{}\" is not in publication \"{name}\" any more, so its changes are \
                         missing: backfill its binding anew, which adds it again",
                        info.id
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Logs what an operator has to know of the server. What cannot be found out is no reason to
    /// stop; a lost connection is.
    async fn check_server(&mut self) -> Result<()> {
        self.housekeeping.check = Instant::now() + CHECK_INTERVAL;
        self.housekeeping.is_checked = true;
        let slot = self.config.slot_name.clone();
        let seconds = LONG_TRANSACTION.as_secs();
        // A connection that is seldom used may have been ended by the server or on the way.
        let health = read_health(&mut self.client, &slot, seconds);
        let health = match tokio::time::timeout(HEALTH_PATIENCE, health).await {
            Ok(Err(error)) if error.is_retryable() => None,
            Ok(health) => Some(health?),
            Err(_) => None,
        };
        let health = match health {
            Some(health) => health,
            None => {
                debug!("connecting anew for queries");
                self.end_spans().await?;
                self.client = Client::connect(&self.connect, Purpose::Query).await?;
                read_health(&mut self.client, &slot, seconds).await?
            }
        };
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
            Err(error) => tolerate(error, "who reads the replication slot")?,
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
                        "a transaction has been open for long, and the server has to keep its log \
                         as long"
                    );
                }
            }
            Err(error) => tolerate(error, "long transactions")?,
        }
        Ok(())
    }

    /// Reports the task's status, with how far the backfill is.
    pub(super) fn report_status(&self, what: &str) {
        let backfilling: Vec<_> = self
            .tables
            .iter()
            .filter(|table| table.state.mode.is_backfill())
            .collect();
        if backfilling.is_empty() {
            logging::status(what);
            return;
        }
        let tables = backfilling.len();
        let rows: u64 = backfilling.iter().map(|table| table.state.backfilled).sum();
        let estimate: Option<u64> = backfilling
            .iter()
            .map(|table| table.info.as_ref()?.row_estimate.filter(|rows| *rows > 0))
            .sum();
        match estimate {
            Some(estimate) => {
                let percent = (rows.saturating_mul(100) / estimate.max(1)).min(99);
                logging::status(&format!(
                    "{what} (backfilled {percent}% of {tables} tables)"
                ));
            }
            None => logging::status(&format!("{what} ({tables} tables backfilling)")),
        }
    }
}

/// Logs that something could not be found out, unless the connection is gone.
fn tolerate(error: Error, what: &str) -> Result<()> {
    if error.sqlstate().is_none() {
        return Err(error);
    }
    warn!(error = %error, "{what} cannot be read");
    Ok(())
}
