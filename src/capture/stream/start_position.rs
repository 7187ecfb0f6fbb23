//! Position at which the stream starts: that of the last checkpoint, if the slot still has the log
//! after it, or the start of a new slot.

use protocol::Lsn;
use tracing::warn;

use crate::catalog::{SlotInfo, parse_slot, position_statement, slot_statement};
use crate::client::{Client, Connecting};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};

/// Facts and connections that were prepared before the stream starts.
#[derive(Debug)]
pub(in crate::capture) struct Prepared {
    /// The slot, if it exists.
    pub(in crate::capture) slot: Option<SlotInfo>,
    /// Connection for the stream.
    pub(in crate::capture) replication: Connecting,
}

/// Position at which a stream starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// A position of a slot that exists.
    At(Lsn),
    /// The start of a slot that is yet to be created.
    NewSlot {
        /// Whether a slot of that name exists, which has to be dropped first.
        exists: bool,
    },
}

/// Facts that decide where a stream starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct StartFacts<'a> {
    /// The slot, if it exists.
    pub(super) slot: Option<&'a SlotInfo>,
    /// Position of the last checkpoint.
    pub(super) cursor: Option<Lsn>,
    pub(super) has_bindings: bool,
    pub(super) is_standby: bool,
}

/// Finds the position at which the stream starts.
///
/// # Errors
///
/// Fails where changes after the cursor are missing, and with the server's errors.
pub(super) async fn find_start(
    client: &mut Client,
    config: &Config,
    facts: StartFacts<'_>,
) -> Result<Start> {
    if let Some(position) = config.flags.force_reset_cursor {
        warn!(%position, "the start position is forced by the flag force_reset_cursor");
        return Ok(Start::At(position));
    }
    let cursor = facts.cursor.or(config.flags.initial_backfill_cursor);
    if let Some(cursor) = cursor {
        check_cursor(client, config, cursor, facts).await?;
        return Ok(Start::At(cursor));
    }
    let confirmed = facts.slot.and_then(|slot| slot.confirmed_flush_lsn);
    if let (false, Some(confirmed)) = (facts.has_bindings, confirmed) {
        // Without bindings there is nothing to start over.
        return Ok(Start::At(confirmed));
    }
    if !config.flags.create_replication_slot {
        let current = current_position(client).await?;
        let start = confirmed.map_or(current, |confirmed| confirmed.max(current));
        return Ok(Start::At(start));
    }
    let exists = facts.slot.is_some();
    Ok(Start::NewSlot { exists })
}

/// Returns the position up to which the log can be streamed now.
async fn current_position(client: &mut Client) -> Result<Lsn> {
    let rows = client.run(&position_statement()).await?;
    rows.one()?.parse(0)
}

/// Returns the position up to which the log can be streamed now, after a check that no other
/// session has moved the slot past `start` before the stream began: the server would silently start
/// after the confirmed position then. `None` is a start without history, before which nothing can
/// be missing.
///
/// # Errors
///
/// Fails where changes are missing, and with the server's errors.
pub(super) async fn position_after_start(
    client: &mut Client,
    config: &Config,
    start: Option<Lsn>,
) -> Result<Lsn> {
    let slot = slot_statement(&config.slot_name, client.server_version_num());
    let [current, slot] = client.query_each([position_statement(), slot]).await?;
    if let (Some(start), Some(slot)) = (start, parse_slot(&slot?)?)
        && config.flags.force_reset_cursor.is_none()
    {
        check_confirmed(&slot, start)?;
    }
    current?.one()?.parse(0)
}

/// Remedy where changes are missing.
const BACKFILL_ALL: &str = "backfill all bindings again, which also starts the stream over";

/// Refuses to go on from a position that the slot has passed.
fn check_confirmed(slot: &SlotInfo, cursor: Lsn) -> Result<()> {
    match slot.confirmed_flush_lsn {
        Some(confirmed) if confirmed > cursor => Err(Error::new(
            ErrorKind::State,
            format!(
                "replication slot \"{}\" has moved on to {confirmed}, past the last checkpoint at \
                 {cursor}: the changes between are lost, because the slot was created again or \
                 something else has read it; {BACKFILL_ALL}",
                slot.name
            ),
        )),
        _ => Ok(()),
    }
}

/// Refuses to go on where changes would be missing silently.
async fn check_cursor(
    client: &mut Client,
    config: &Config,
    cursor: Lsn,
    facts: StartFacts<'_>,
) -> Result<()> {
    let name = &config.slot_name;
    let refuse = |text: String| Err(Error::new(ErrorKind::State, text));
    let Some(slot) = facts.slot else {
        return refuse(format!(
            "replication slot \"{name}\" does not exist, so the changes since the last checkpoint at \
             {cursor} are lost: {BACKFILL_ALL}"
        ));
    };
    if slot.is_invalidated() {
        return refuse(format!(
            "the server has removed the log that replication slot \"{name}\" needs (see \
             max_slot_wal_keep_size), so the changes since the last checkpoint at {cursor} are lost: \
             drop the slot with SELECT pg_drop_replication_slot({}), and {BACKFILL_ALL}",
            protocol::quote_literal(name)
        ));
    }
    check_confirmed(slot, cursor)?;
    let current = current_position(client).await?;
    if cursor > current && !facts.is_standby {
        return refuse(format!(
            "the last checkpoint at {cursor} is ahead of the server, whose log ends at {current}: this \
             is another server, or one that was restored from a backup or took over without the latest \
             changes; {BACKFILL_ALL}"
        ));
    }
    Ok(())
}
