//! Standby status updates: the task that tells the server where we are, whatever else goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use protocol::{PgTimestamp, StandbyStatusUpdate};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::DurablePosition;
use crate::background;
use crate::client::ReplicationWriter;

/// Sends the durable position to the server: at an interval, when the server asks, and when the
/// capture wants to know how far the server has come.
///
/// It is a task of its own since a capture that reads a chunk, or waits for its output to be taken,
/// does not read the stream meanwhile, and a server that hears nothing for wal_sender_timeout ends
/// the connection.
#[derive(Debug)]
pub struct Feedback {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    durable_position: Arc<DurablePosition>,
    wake: Notify,
    /// Whether the next update asks the server for its position.
    ask: AtomicBool,
    finish: AtomicBool,
}

impl Feedback {
    /// Starts the task; the first update goes out at once.
    pub fn start(
        writer: ReplicationWriter,
        durable_position: Arc<DurablePosition>,
        interval: Duration,
    ) -> Self {
        let shared = Arc::new(Shared {
            durable_position,
            wake: Notify::new(),
            ask: AtomicBool::new(false),
            finish: AtomicBool::new(false),
        });
        let task = background::spawn(run(writer, Arc::clone(&shared), interval));
        Self { shared, task }
    }

    /// Returns whether updates cannot be sent any more.
    pub fn has_failed(&self) -> bool {
        self.task.is_finished()
    }

    /// Sends an update now.
    pub fn send(&self) {
        self.shared.wake.notify_one();
    }

    /// Sends an update now, and asks the server to answer with its position.
    pub fn ask_position(&self) {
        self.shared.ask.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }

    /// Ends the task at once, and with it this half of the connection.
    pub fn abandon(&self) {
        self.task.abort();
    }

    /// Sends a last update, so that what was acknowledged to the end is not streamed again, and ends
    /// the task.
    pub async fn finish(self) {
        self.shared.finish.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        if let Err(error) = self.task.await {
            debug!(%error, "the status updates ended early");
        }
    }
}

async fn run(mut writer: ReplicationWriter, shared: Arc<Shared>, interval: Duration) {
    let mut timer = tokio::time::interval(interval);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut update = BytesMut::new();
    let mut message = BytesMut::new();
    loop {
        let mut reply_requested = tokio::select! {
            // An answer to each regular update shows that the server is alive.
            _ = timer.tick() => true,
            () = shared.wake.notified() => false,
        };
        reply_requested |= shared.ask.swap(false, Ordering::AcqRel);
        let finish = shared.finish.load(Ordering::Acquire);
        let durable = shared.durable_position.durable();
        update.clear();
        message.clear();
        StandbyStatusUpdate {
            write_lsn: durable,
            flush_lsn: durable,
            apply_lsn: durable,
            clock: now(),
            reply_requested: reply_requested && !finish,
        }
        .encode(&mut update);
        let sender = writer.copy_sender();
        let mut framed = sender.copy_data(&update, &mut message);
        if finish {
            framed = framed.and_then(|()| sender.copy_done(&mut message));
        }
        if let Err(error) = framed {
            warn!(%error, "a status update cannot be encoded");
            return;
        }
        if let Err(error) = writer.send(&message).await {
            // The stream's reader meets the same loss and ends the capture with it.
            debug!(%error, "a status update could not be sent");
            return;
        }
        if finish {
            return;
        }
    }
}

fn now() -> PgTimestamp {
    let micros = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| {
            i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
        });
    PgTimestamp::from_unix_micros(micros)
}
