//! Creating and dropping the replication slot.

use std::time::Duration;

use protocol::Lsn;
use protocol::command::{CreateSlotOptions, create_replication_slot, drop_replication_slot};

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result, sqlstate};

/// What the server says of a slot that it has created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreatedSlot {
    /// The first position that the slot can be read from: every transaction that commits at or
    /// after it is streamed, whole. One that has committed before it may be invisible still.
    pub consistent_point: Lsn,
}

/// How long a slot that is in use is waited for: after a crash the server may take a moment to notice
/// that the session before is gone.
pub const SLOT_PATIENCE: Duration = Duration::from_secs(15);

/// Returns whether the server says that another connection holds the slot.
pub fn is_in_use(error: &Error) -> bool {
    error.sqlstate() == Some(sqlstate::OBJECT_IN_USE)
}

/// Creates a logical slot for pgoutput. The server waits for the end of every transaction that was
/// running before it answers.
///
/// # Errors
///
/// Fails with the server's reason: no right, no free slot, wal_level.
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
                format!("the server did not say where the new slot \"{name}\" starts"),
            )
        })?;
    Ok(CreatedSlot { consistent_point })
}

/// Drops a slot. Returns whether there was one.
///
/// # Errors
///
/// Fails with the server's reason, such as that the slot is in use.
pub async fn drop_slot(client: &mut Client, name: &str) -> Result<bool> {
    match client
        .execute_script(&drop_replication_slot(name, false))
        .await
    {
        Ok(_) => Ok(true),
        Err(error) if error.sqlstate() == Some(sqlstate::UNDEFINED_OBJECT) => Ok(false),
        Err(error) => Err(error.context(format!(
            "the replication slot \"{name}\" could not be dropped to start anew"
        ))),
    }
}
