//! Where the stream starts: at the last checkpoint, if the slot can still give what is behind it, or
//! with a new slot.

use std::time::{Duration, Instant};

use protocol::Lsn;
use tracing::{info, warn};

use crate::catalog::{SlotInfo, explain_waiting, parse_slot, position_statement, slot_statement};
use crate::client::{Client, Connecting};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::logging;
use crate::replication::{CreatedSlot, SLOT_PATIENCE, create_slot, drop_slot, is_in_use};

/// What was found and begun before the stream can start.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The slot, where there was one.
    pub(super) slot: Option<SlotInfo>,
    /// The connection for the stream, made ahead.
    pub(super) replication: Connecting,
}

/// Where a stream starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At a position.
    At(Lsn),
    /// Where a slot does that is yet to be created.
    NewSlot {
        /// Whether there is one of that name, to be dropped first.
        is_there: bool,
    },
}

/// Finds where to start.
///
/// # Errors
///
/// Fails where changes between the cursor and what the slot can give are missing, and with what the
/// server says.
pub(super) async fn find_start(
    client: &mut Client,
    config: &Config,
    slot: Option<&SlotInfo>,
    cursor: Option<Lsn>,
    has_bindings: bool,
    standby: bool,
) -> Result<Start> {
    if let Some(position) = config.flags.force_reset_cursor {
        warn!(%position, "the start position is forced by the flag force_reset_cursor");
        return Ok(Start::At(position));
    }
    let cursor = cursor.or(config.flags.initial_backfill_cursor);
    if let Some(cursor) = cursor {
        check_cursor(client, config, cursor, slot, standby).await?;
        return Ok(Start::At(cursor));
    }
    let confirmed = slot.and_then(|slot| slot.confirmed_flush_lsn);
    if let (false, Some(confirmed)) = (has_bindings, confirmed) {
        // With nothing to capture there is nothing to start anew.
        return Ok(Start::At(confirmed));
    }
    if !config.flags.create_replication_slot {
        let current = current_position(client).await?;
        let start = confirmed.map_or(current, |confirmed| confirmed.max(current));
        return Ok(Start::At(start));
    }
    let is_there = slot.is_some();
    Ok(Start::NewSlot { is_there })
}

/// Creates the slot, in place of one that is there. Returns the first position that it has.
///
/// # Errors
///
/// Fails with what the server says.
pub(super) async fn create_anew(
    client: &mut Client,
    commands: &mut Client,
    config: &Config,
    is_there: bool,
    standby: bool,
) -> Result<Lsn> {
    if is_there {
        info!(slot = %config.slot_name, "dropping the replication slot, to start anew");
        let started = Instant::now();
        while let Err(error) = drop_slot(commands, &config.slot_name).await {
            if !is_in_use(&error) || started.elapsed() >= SLOT_PATIENCE {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    info!(slot = %config.slot_name,
        "creating the replication slot: the server first waits for every transaction that is running");
    let created = create_watched(client, commands, &config.slot_name, standby).await?;
    Ok(created.consistent_point)
}

/// How long the creation of a slot may take. Flow starts the capture again after that.
const CREATION_LIMIT: Duration = Duration::from_secs(15 * 60);
/// After how long it is said first what the creation waits for.
const CREATION_FIRST_NEWS: Duration = Duration::from_secs(2);
/// How often it is said from then on.
const CREATION_NEWS: Duration = Duration::from_secs(15);

/// The transactions whose end a session waits for.
const WAITED_FOR: &str = "\
SELECT l.transactionid::text FROM pg_catalog.pg_locks AS l
WHERE l.pid = $1::int AND NOT l.granted AND l.locktype = 'transactionid'";

/// Creates the slot, and says what the server waits for meanwhile.
async fn create_watched(
    client: &mut Client,
    commands: &mut Client,
    slot: &str,
    standby: bool,
) -> Result<CreatedSlot> {
    let session = commands.process_id().map(|process| process.to_string());
    let started = Instant::now();
    let mut news = CREATION_FIRST_NEWS;
    let creation = create_slot(commands, slot);
    tokio::pin!(creation);
    loop {
        if let Ok(created) = tokio::time::timeout(news, &mut creation).await {
            return created;
        }
        news = CREATION_NEWS;
        let waited_for: Vec<u64> = client
            .query(WAITED_FOR, &[session.as_deref()])
            .await?
            .rows
            .iter()
            .map(|row| row.parse(0))
            .collect::<Result<_>>()?;
        let why = if !waited_for.is_empty() {
            explain_waiting(client, &waited_for).await?
        } else if standby {
            "the primary has to log which transactions are running: SELECT pg_log_standby_snapshot() \
             there does that at once"
                .to_owned()
        } else {
            "the server is busy with it".to_owned()
        };
        if started.elapsed() >= CREATION_LIMIT {
            // The server would go on creating it for nobody, and hold its name.
            let end = "SELECT pg_terminate_backend($1::int)";
            client.query(end, &[session.as_deref()]).await?;
            return Err(Error::new(
                ErrorKind::Connection,
                format!("replication slot \"{slot}\" could not be created for too long: {why}"),
            ));
        }
        logging::status(&format!(
            "Waiting for the server to create the replication slot: {why}"
        ));
    }
}

/// Returns the position up to which the log can be streamed now.
async fn current_position(client: &mut Client) -> Result<Lsn> {
    let rows = client.run(&position_statement()).await?;
    rows.one()?.parse(0)
}

/// Returns the position up to which the log can be streamed now. The stream has begun, so nobody else
/// moves the slot on any more; if somebody has since it was looked at first, changes are missing, since
/// the server begins behind what was confirmed without saying so. Without a start nothing can be missing.
///
/// # Errors
///
/// Fails where changes are missing, and with what the server says.
pub(super) async fn position_behind(
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

/// What helps where changes are missing.
const ANEW: &str = "backfill all bindings anew, which also starts the stream anew";

/// Refuses to go on from a position that the slot is past.
fn check_confirmed(slot: &SlotInfo, cursor: Lsn) -> Result<()> {
    match slot.confirmed_flush_lsn {
        Some(confirmed) if confirmed > cursor => Err(Error::new(
            ErrorKind::State,
            format!(
                "replication slot \"{}\" has moved on to {confirmed}, past the last checkpoint at \
                 {cursor}: the changes between are lost, because the slot was created anew or \
                 something else has read it; {ANEW}",
                slot.name
            ),
        )),
        _ => Ok(()),
    }
}

/// Refuses to go on where changes would be missing without anybody noticing.
async fn check_cursor(
    client: &mut Client,
    config: &Config,
    cursor: Lsn,
    slot: Option<&SlotInfo>,
    standby: bool,
) -> Result<()> {
    let name = &config.slot_name;
    let anew = ANEW;
    let refuse = |text: String| Err(Error::new(ErrorKind::State, text));
    let Some(slot) = slot else {
        return refuse(format!(
            "replication slot \"{name}\" does not exist, so the changes since the last checkpoint at \
             {cursor} are lost: {anew}"
        ));
    };
    if slot.is_invalidated() {
        return refuse(format!(
            "the server has removed the log that replication slot \"{name}\" needs (see \
             max_slot_wal_keep_size), so the changes since the last checkpoint at {cursor} are lost: \
             drop the slot with SELECT pg_drop_replication_slot({}), and {anew}",
            protocol::quote_literal(name)
        ));
    }
    check_confirmed(slot, cursor)?;
    let current = current_position(client).await?;
    if cursor > current && !standby {
        return refuse(format!(
            "the last checkpoint at {cursor} is ahead of the server, whose log ends at {current}: this \
             is another server, or one that was restored from a backup or took over without the latest \
             changes; {anew}"
        ));
    }
    Ok(())
}
