//! The durable position, which alone decides what the server may remove from its log.

use std::sync::atomic::{AtomicU64, Ordering};

use protocol::Lsn;

/// Position up to which Flow has acknowledged the captured changes.
///
/// It only moves forward, and never past an acknowledged position. The server is told this position
/// as written, flushed and applied alike, and may remove its log up to it.
#[derive(Debug)]
pub struct DurablePosition {
    durable: AtomicU64,
}

impl DurablePosition {
    /// Starts at the position from which the stream is read.
    pub fn new(start: Lsn) -> Self {
        Self {
            durable: AtomicU64::new(start.as_u64()),
        }
    }

    /// Records that Flow has acknowledged all changes before a position.
    pub fn acknowledge(&self, position: Lsn) {
        self.durable.fetch_max(position.as_u64(), Ordering::AcqRel);
    }

    /// Returns the position that the server may be told.
    pub fn durable(&self) -> Lsn {
        Lsn::from(self.durable.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_durable_position_never_moves_back() {
        let position = DurablePosition::new(Lsn::from(100));
        position.acknowledge(Lsn::from(90));
        assert_eq!(position.durable(), Lsn::from(100));
        position.acknowledge(Lsn::from(120));
        position.acknowledge(Lsn::from(110));
        assert_eq!(position.durable(), Lsn::from(120));
    }
}
