//! What is asked of the server when streaming starts.

use std::time::Duration;

use protocol::Lsn;
use tracing::{debug, info, warn};

use super::{Spool, SpoolOptions};
use crate::client::Client;
use crate::error::Result;

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
    /// Memory that the server may use to decode its log for this stream, in kB; `None` to choose.
    pub decoding_memory: Option<u32>,
}

/// Whether transactions are taken while they are in progress, from servers that can send them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InProgress {
    /// They are, and kept as these options say.
    Kept(SpoolOptions),
    /// They are not, for this reason.
    Refused(&'static str),
}

impl InProgress {
    /// Makes the spool, and says why there is one, or none.
    pub(super) fn spool(&self, server_version_num: u32) -> (Option<Spool>, &'static str) {
        match self {
            Self::Refused(reason) => (None, reason),
            Self::Kept(_) if server_version_num < 140_000 => {
                (None, "the server is older than version 14")
            }
            Self::Kept(options) => match Spool::new(options) {
                Ok(spool) => (Some(spool), "the server offers it"),
                Err(error) => {
                    warn!(error = %error, causes = error.causes(),
                        "transactions cannot be taken while they are in progress; the server keeps \
                         them until they commit");
                    (None, "there is no room for temporary files")
                }
            },
        }
    }
}

/// Memory of the server's that one stream may take for transactions under way, in kB, unless it is
/// configured. It is the user's server: enough that most transactions are not written to disk, and
/// not more.
const DECODING_MEMORY: u32 = 256 * 1024;

/// Lets the server hold more of a large transaction in memory for this session before it writes it
/// to disk and reads it again. If it can send it in progress instead, more memory makes nothing
/// faster, and what the server has for everybody stands.
pub(super) async fn grant_memory(
    client: &mut Client,
    configured: Option<u32>,
    takes_in_progress: bool,
) -> Result<()> {
    let kilobytes = match configured {
        Some(kilobytes) => kilobytes,
        None if takes_in_progress => return Ok(()),
        None => DECODING_MEMORY,
    };
    if client.server_version_num() < 130_000 {
        return Ok(());
    }
    let setting = format!("{kilobytes}kB");
    let sql = format!("SET logical_decoding_work_mem = '{setting}'");
    match client.execute_script(&sql).await {
        Ok(_) => info!(
            logical_decoding_work_mem = setting,
            "memory for decoding is set for this session"
        ),
        Err(error) if error.sqlstate().is_some() => {
            debug!(error = %error, "logical_decoding_work_mem stays as it is");
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_what_the_server_and_the_disk_offer() {
        let kept = InProgress::Kept(SpoolOptions::default());
        assert!(kept.spool(140_000).0.is_some());
        let (spool, why) = kept.spool(139_999);
        assert!(spool.is_none() && why.contains("older"), "{why}");
        let (spool, why) = InProgress::Refused("a reason").spool(180_000);
        assert!(spool.is_none() && why == "a reason");
        let nowhere = InProgress::Kept(SpoolOptions {
            folder: "/proc/nowhere".into(),
            ..SpoolOptions::default()
        });
        let (spool, why) = nowhere.spool(180_000);
        assert!(spool.is_none() && why.contains("temporary files"), "{why}");
    }
}
