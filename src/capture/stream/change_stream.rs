//! The stream of a session.

use protocol::{Lsn, TupleArena};

use super::dispatcher::{Counts, Dispatcher};
use crate::error::Result;
use crate::replication::ReplicationStream;

/// The stream of a session, with what is known of it.
#[derive(Debug)]
pub(in crate::capture) struct ChangeStream {
    pub(super) replication: ReplicationStream,
    pub(super) dispatcher: Dispatcher,
    pub(super) arena: TupleArena,
    /// Whether the slot was created for this stream and was not looked at since, so that the stream
    /// has no history to catch up with.
    pub(super) is_slot_new: bool,
}

impl ChangeStream {
    /// Returns the position before which everything was received. In a transaction it is the
    /// position before its begin.
    pub(in crate::capture) fn received(&self) -> Lsn {
        self.dispatcher.position().received()
    }

    /// Returns the position up to which the runtime has acknowledged checkpoints.
    pub(in crate::capture) fn durable(&self) -> Lsn {
        self.replication.durable_position().durable()
    }

    /// Returns whether the slot was created for this stream and was not looked at since.
    pub(in crate::capture) fn is_slot_new(&self) -> bool {
        self.is_slot_new
    }

    /// Asks the server for its position, so that an idle stream brings one soon.
    pub(in crate::capture) fn ask_position(&self) {
        self.replication.feedback().ask_position();
    }

    /// Receives more of the stream. Can be cancelled.
    pub(in crate::capture) async fn fill(&mut self) -> Result<()> {
        self.replication.fill().await
    }

    /// Returns the counts since the last call.
    pub(in crate::capture) fn take_counts(&mut self) -> Counts {
        self.dispatcher.take_counts()
    }

    /// Sends a last status update, so that acknowledged changes are not streamed again, and ends
    /// the stream.
    pub(in crate::capture) async fn finish(self) {
        self.replication.finish().await;
    }
}
