//! Options of a stream.

use std::time::Duration;

use protocol::Lsn;
use tracing::warn;

use super::in_progress::{Spool, SpoolOptions};

/// Options of a [`ReplicationStream`](super::ReplicationStream).
#[derive(Debug, Clone)]
pub struct StreamOptions {
    /// Name of the slot to read.
    pub slot: String,
    /// Name of the publication of the tables whose changes are sent.
    pub publication: String,
    /// Start position: transactions that commit at or after it are sent.
    pub start: Lsn,
    /// Interval between status updates.
    pub status_interval: Duration,
    /// Handling of transactions in progress.
    pub in_progress: InProgress,
}

/// Handling of large transactions that are in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InProgress {
    /// The server streams them, if it can, and they are spooled with these options.
    Streamed(SpoolOptions),
    /// The server stores them until they commit. The reason is logged.
    NotStreamed(&'static str),
}

impl InProgress {
    /// Opens the spool, if transactions in progress are to be streamed. Returns also the reason for
    /// which they are streamed or not.
    pub(super) fn open_spool(&self, server_version_num: u32) -> (Option<Spool>, &'static str) {
        match self {
            Self::NotStreamed(reason) => (None, reason),
            Self::Streamed(_) if server_version_num < 140_000 => {
                (None, "the server is older than version 14")
            }
            Self::Streamed(options) => match Spool::new(options) {
                Ok(spool) => (Some(spool), "the server supports it"),
                Err(error) => {
                    warn!(error = %error, causes = error.causes(),
                        "transactions in progress are not streamed: the server stores them until \
                         they commit");
                    (None, "temporary files cannot be created")
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
