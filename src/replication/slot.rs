//! Creation and removal of the replication slot.

use std::time::{Duration, Instant};

use protocol::Lsn;
use protocol::command::{CreateSlotOptions, create_replication_slot, drop_replication_slot};
use tracing::info;

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result, sqlstate};

/// Facts about a slot that the server has created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreatedSlot {
    /// First position from which the slot can be read. Every transaction that commits at or after
    /// it is streamed as a whole. A transaction that has committed before it may not be visible in
    /// snapshots yet.
    pub consistent_point: Lsn,
}

/// Time for which an operation on a slot is retried while another connection uses the slot. After a
/// crash the server may take a moment to notice that the connection of the last session is gone.
const IN_USE_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause between attempts.
const IN_USE_PAUSE: Duration = Duration::from_secs(1);

/// Retries of an operation on a slot that another connection uses.
#[derive(Debug)]
pub struct SlotInUseRetry<'a> {
    slot: &'a str,
    started: Instant,
}

impl<'a> SlotInUseRetry<'a> {
    /// Starts the period for retries.
    pub fn new(slot: &'a str) -> Self {
        Self {
            slot,
            started: Instant::now(),
        }
    }

    /// Pauses after a failed attempt, if another attempt is due: the error says that another
    /// connection uses the slot, and the period for retries is not over. Returns whether another
    /// attempt is due.
    pub async fn pause_after(&self, error: &Error) -> bool {
        let is_due = is_in_use(error) && self.started.elapsed() < IN_USE_TIMEOUT;
        if is_due {
            info!(slot = self.slot, "replication slot is in use; retrying");
            tokio::time::sleep(IN_USE_PAUSE).await;
        }
        is_due
    }
}

/// Returns whether an error says that another connection uses the slot.
pub(super) fn is_in_use(error: &Error) -> bool {
    error.sqlstate() == Some(sqlstate::OBJECT_IN_USE)
}

/// Creates a logical slot for pgoutput. The server answers after the end of every transaction that
/// was running.
///
/// # Errors
///
/// Fails with the server's error, such as a missing privilege, no free slot, or the `wal_level`.
pub async fn create_slot(client: &mut Client, name: &str) -> Result<CreatedSlot> {
    let command = create_replication_slot(name, &CreateSlotOptions::default());
    let results = client.execute_script(&command).await.map_err(|error| {
        error.context(format!(
            "the replication slot \"{name}\" could not be created"
        ))
    })?;
    let consistent_point = results
        .first()
        .and_then(|rows| rows.one().ok())
        .and_then(|row| row.get(1))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Protocol,
                format!("the server did not report the start position of the new slot \"{name}\""),
            )
        })?;
    Ok(CreatedSlot { consistent_point })
}

/// Drops a slot. Returns whether it existed.
///
/// # Errors
///
/// Fails with the server's error, such as that the slot is in use.
pub async fn drop_slot(client: &mut Client, name: &str) -> Result<bool> {
    match client
        .execute_script(&drop_replication_slot(name, false))
        .await
    {
        Ok(_) => Ok(true),
        Err(error) if error.sqlstate() == Some(sqlstate::UNDEFINED_OBJECT) => Ok(false),
        Err(error) => Err(error.context(format!(
            "the replication slot \"{name}\" could not be dropped to start over"
        ))),
    }
}
