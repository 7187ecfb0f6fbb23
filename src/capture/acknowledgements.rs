//! Acknowledgements of checkpoints by the runtime.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::Lsn;

use crate::error::{Error, ErrorKind, Result};
use crate::replication::DurablePosition;

/// Queue of the checkpoints that were emitted and are not acknowledged yet.
///
/// Clones share one queue: the session adds checkpoints; the reader of the runtime's requests (or
/// the session, where a checkpoint is durable at once) removes those that were acknowledged. The
/// position of the last one that was acknowledged is reported to the server.
#[derive(Debug, Clone, Default)]
pub struct Acknowledgements {
    queue: Arc<Mutex<Queue>>,
    drained: Arc<tokio::sync::Notify>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Positions of the checkpoints, in order; `None` where a checkpoint has none.
    sent: VecDeque<Option<Lsn>>,
    /// Whether the runtime has ended its requests, so that no more acknowledgements follow.
    closed: bool,
    /// Position that the server is told; known from the start of the stream. Checkpoints from
    /// before that have no position.
    durable_position: Option<Arc<DurablePosition>>,
}

impl Acknowledgements {
    /// Sets the position that acknowledgements move.
    pub fn report_to(&self, durable_position: &Arc<DurablePosition>) {
        self.lock().durable_position = Some(Arc::clone(durable_position));
    }

    /// Notes that a checkpoint was emitted.
    pub fn sent(&self, cursor: Option<Lsn>) {
        self.lock().sent.push_back(cursor);
    }

    /// Handles the acknowledgement of a number of checkpoints; zero counts as one.
    ///
    /// # Errors
    ///
    /// Fails when fewer checkpoints are waiting for it.
    pub fn acknowledge(&self, checkpoints: u32) -> Result<()> {
        let mut queue = self.lock();
        let count = usize::try_from(checkpoints.max(1)).unwrap_or(usize::MAX);
        if count > queue.sent.len() {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!(
                    "{count} checkpoints were acknowledged where {} were waiting for it",
                    queue.sent.len()
                ),
            ));
        }
        // The server may remove its log up to the last position that is acknowledged.
        let position = queue.sent.drain(..count).flatten().last();
        if let (Some(position), Some(durable_position)) = (position, &queue.durable_position) {
            durable_position.acknowledge(position);
        }
        if queue.sent.is_empty() {
            self.drained.notify_waiters();
        }
        Ok(())
    }

    /// Notes that no more acknowledgements follow.
    pub fn close(&self) {
        self.lock().closed = true;
        self.drained.notify_waiters();
    }

    /// Waits until every checkpoint is acknowledged, or no more acknowledgements follow.
    pub async fn all_acknowledged(&self) {
        loop {
            let notified = self.drained.notified();
            {
                let queue = self.lock();
                if queue.sent.is_empty() || queue.closed {
                    return;
                }
            }
            notified.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is consistent after each of its operations, so also after a panic elsewhere.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_the_acknowledged_positions_is_durable() {
        let acknowledgements = Acknowledgements::default();
        for cursor in [None, None, Some(20), Some(30), Some(40)] {
            acknowledgements.sent(cursor.map(Lsn::from));
        }
        let durable_position = Arc::new(DurablePosition::new(Lsn::from(10)));
        acknowledgements.report_to(&durable_position);
        acknowledgements.acknowledge(2).unwrap();
        assert_eq!(durable_position.durable(), Lsn::from(10));
        acknowledgements.acknowledge(0).unwrap();
        assert_eq!(durable_position.durable(), Lsn::from(20));
        acknowledgements.acknowledge(2).unwrap();
        assert_eq!(durable_position.durable(), Lsn::from(40));
        assert!(acknowledgements.acknowledge(1).is_err());
    }

    #[tokio::test]
    async fn waiting_ends_with_the_last_acknowledgement() {
        let acknowledgements = Acknowledgements::default();
        acknowledgements.sent(None);
        let waiter = tokio::spawn({
            let acknowledgements = acknowledgements.clone();
            async move { acknowledgements.all_acknowledged().await }
        });
        tokio::task::yield_now().await;
        acknowledgements.acknowledge(1).unwrap();
        waiter.await.unwrap();
    }

    #[tokio::test]
    async fn waiting_ends_with_the_input() {
        let acknowledgements = Acknowledgements::default();
        acknowledgements.sent(None);
        acknowledgements.close();
        acknowledgements.all_acknowledged().await;
    }
}
