//! What is asked of the server when streaming starts.

use std::time::Duration;

use protocol::Lsn;
use tracing::warn;

use super::in_progress::{Spool, SpoolOptions};

/// What is asked of the server when streaming starts.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    /// The slot to read.
    pub slot: String,
    /// The publication that says which tables' changes are sent.
    pub publication: String,
    /// The position to start from: transactions that commit at or after it are sent.
    pub start: Lsn,
    /// The time between two status updates.
    pub status_interval: Duration,
    /// Whether transactions are taken while they are in progress.
    pub in_progress: InProgress,
}

/// Whether transactions are taken while they are in progress, from servers that can send them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InProgress {
    /// They are, and kept as these options say.
    Streamed(SpoolOptions),
    /// They are not, for this reason.
    NotStreamed(&'static str),
}

impl InProgress {
    /// Makes the spool, and says reason there is one, or none.
    pub(super) fn open_spool(&self, server_version_num: u32) -> (Option<Spool>, &'static str) {
        match self {
            Self::NotStreamed(reason) => (None, reason),
            Self::Streamed(_) if server_version_num < 140_000 => {
                (None, "the server is older than version 14")
            }
            Self::Streamed(options) => match Spool::new(options) {
                Ok(spool) => (Some(spool), "the server offers it"),
                Err(error) => {
                    warn!(error = %error, causes = error.causes(),
                        "transactions cannot be taken while they are in progress; the server keeps \
                         them until they commit");
                    (None, "temporary files cannot be made")
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_are_streamed_if_server_and_disk_allow_it() {
        let streamed = InProgress::Streamed(SpoolOptions::default());
        assert!(streamed.open_spool(140_000).0.is_some());
        let (spool, reason) = streamed.open_spool(139_999);
        assert!(spool.is_none() && reason.contains("older"), "{reason}");
        let (spool, reason) = InProgress::NotStreamed("a reason").open_spool(180_000);
        assert!(spool.is_none() && reason == "a reason");
        let unwritable = InProgress::Streamed(SpoolOptions {
            folder: "/proc/nowhere".into(),
            ..SpoolOptions::default()
        });
        let (spool, reason) = unwritable.open_spool(180_000);
        assert!(
            spool.is_none() && reason.contains("temporary files"),
            "{reason}"
        );
    }
}
