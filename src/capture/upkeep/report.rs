//! Status and progress, for the log.

use tracing::info;

use crate::capture::session::Session;
use crate::capture::sink::Sink;
use crate::capture::stream::ChangeStream;
use crate::logging;

impl<S: Sink> Session<S> {
    /// Logs progress when that is due.
    pub(in crate::capture) fn log_progress(&mut self, changes: &mut ChangeStream) {
        let Some(time) = self.upkeep.take_due_progress() else {
            return;
        };
        let counts = changes.take_counts();
        info!(
            changes = counts.changes,
            documents = counts.documents,
            commits = counts.commits,
            seconds = time.as_secs(),
            backfilling = self.tables.backfilling(),
            position = %changes.received(),
            durable = %changes.durable(),
            "progress"
        );
    }

    /// Reports the status of the task, with the progress of its backfills.
    pub(in crate::capture) fn report_status(&self, status: &str) {
        let backfilling: Vec<_> = self
            .tables
            .iter()
            .filter(|table| table.state.mode.is_backfill())
            .collect();
        if backfilling.is_empty() {
            logging::status(status);
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
                    "{status} (backfilled {percent}% of {tables} tables)"
                ));
            }
            None => logging::status(&format!("{status} ({tables} tables backfilling)")),
        }
    }
}
