//! Creation of the replication slot.

use std::time::{Duration, Instant};

use protocol::Lsn;
use tracing::info;

use crate::catalog::{awaited_transactions, explain_waiting, terminate_session};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::logging;
use crate::replication::{CreatedSlot, SlotInUseRetry, create_slot, drop_slot};

/// Longest time that the creation of a slot may take. Flow starts the capture again after that.
const CREATION_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Time after which a creation that has to wait is logged first.
const FIRST_LOG: Duration = Duration::from_secs(2);
/// Interval between further log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(15);

/// Creates the slot, after dropping the one that exists. `commands` is the replication connection,
/// `client` that for queries. Returns the first position of the slot.
///
/// # Errors
///
/// Fails with the server's errors.
pub(super) async fn create_new_slot(
    client: &mut Client,
    commands: &mut Client,
    slot: &str,
    exists: bool,
    is_standby: bool,
) -> Result<Lsn> {
    if exists {
        info!(%slot, "dropping the replication slot, to start over");
        let retry = SlotInUseRetry::new(slot);
        while let Err(error) = drop_slot(commands, slot).await {
            if !retry.pause_after(&error).await {
                return Err(error);
            }
        }
    }
    info!(%slot,
        "creating the replication slot: the server first waits for every transaction that is running");
    let created = create_and_log(client, commands, slot, is_standby).await?;
    Ok(created.consistent_point)
}

/// Creates the slot, and logs the transactions that the server waits for.
async fn create_and_log(
    client: &mut Client,
    commands: &mut Client,
    slot: &str,
    is_standby: bool,
) -> Result<CreatedSlot> {
    let session = commands.process_id();
    let started = Instant::now();
    let mut log_after = FIRST_LOG;
    let creation = create_slot(commands, slot);
    tokio::pin!(creation);
    loop {
        if let Ok(created) = tokio::time::timeout(log_after, &mut creation).await {
            return created;
        }
        log_after = LOG_INTERVAL;
        let awaited = awaited_transactions(client, session).await?;
        let why = if !awaited.is_empty() {
            explain_waiting(client, &awaited).await?
        } else if is_standby {
            "the primary has to log which transactions are running: SELECT pg_log_standby_snapshot() \
             there does that at once"
                .to_owned()
        } else {
            "the server is busy with it".to_owned()
        };
        if started.elapsed() >= CREATION_TIMEOUT {
            // Otherwise the server continues the creation, and the name of the slot stays in use.
            terminate_session(client, session).await?;
            return Err(Error::new(
                ErrorKind::Connection,
                format!(
                    "replication slot \"{slot}\" could not be created within {} minutes: {why}",
                    CREATION_TIMEOUT.as_secs() / 60
                ),
            ));
        }
        logging::status(&format!(
            "Waiting for the server to create the replication slot: {why}"
        ));
    }
}
