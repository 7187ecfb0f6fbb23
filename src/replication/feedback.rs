//! Standby status updates: the task that reports the durable position to the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use protocol::{PgTimestamp, StandbyStatusUpdate};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::durable_position::DurablePosition;
use crate::background;
use crate::client::ReplicationWriter;

/// Task that sends status updates with the durable position: at an interval, when the server
/// requests a reply, and when the capture needs the server's position.
///
/// The task is separate from the reader of the stream. The capture does not read the stream while
/// it reads a chunk or waits for its output to be taken, but the server ends the connection if it
/// receives no update for `wal_sender_timeout`.
#[derive(Debug)]
pub struct Feedback {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    durable_position: Arc<DurablePosition>,
    wake: Notify,
    /// Whether the next update requests a reply with the server's position.
    request_reply: AtomicBool,
    /// Whether the next update is the last one.
    finish: AtomicBool,
}

impl Feedback {
    /// Starts the task, which sends the first update at once.
    pub fn start(
        writer: ReplicationWriter,
        durable_position: Arc<DurablePosition>,
        interval: Duration,
    ) -> Self {
        let shared = Arc::new(Shared {
            durable_position,
            wake: Notify::new(),
            request_reply: AtomicBool::new(false),
            finish: AtomicBool::new(false),
        });
        let task = background::spawn(run(writer, Arc::clone(&shared), interval));
        Self { shared, task }
    }

    /// Returns whether the task has ended, so that no more updates are sent.
    pub fn has_failed(&self) -> bool {
        self.task.is_finished()
    }

    /// Sends an update now.
    pub fn send(&self) {
        self.shared.wake.notify_one();
    }

    /// Sends an update now, and requests a reply with the server's position.
    pub fn ask_position(&self) {
        self.shared.request_reply.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }

    /// Aborts the task, and closes the sending half of the connection with it.
    pub fn abandon(&self) {
        self.task.abort();
    }

    /// Sends a last update and CopyDone, and ends the task. The server then does not send changes
    /// again that were acknowledged after the previous update.
    pub async fn finish(self) {
        self.shared.finish.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        if let Err(error) = self.task.await {
            debug!(%error, "status update task failed");
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
            // The reply to each regular update shows that the server is alive.
            _ = timer.tick() => true,
            () = shared.wake.notified() => false,
        };
        reply_requested |= shared.request_reply.swap(false, Ordering::AcqRel);
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
        let mut encoded = sender.copy_data(&update, &mut message);
        if finish {
            encoded = encoded.and_then(|()| sender.copy_done(&mut message));
        }
        if let Err(error) = encoded {
            warn!(%error, "status update not encoded");
            return;
        }
        if let Err(error) = writer.send(&message).await {
            // The reader of the stream fails for this reason, too, and ends the capture.
            debug!(%error, "status update not sent");
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
