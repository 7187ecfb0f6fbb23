//! The durable position: the only place that decides what the server may forget.

use std::sync::atomic::{AtomicU64, Ordering};

use protocol::Lsn;

/// The position up to which Flow has acknowledged what was captured.
///
/// It only ever moves forward, and never past a position that was acknowledged: the server is told
/// this position as written, flushed and applied alike, and may remove its log up to it.
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

    /// Notes that Flow has acknowledged everything before a position.
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
    fn the_durable_position_never_goes_back() {
        let progress = DurablePosition::new(Lsn::from(100));
        progress.acknowledge(Lsn::from(90));
        assert_eq!(progress.durable(), Lsn::from(100));
        progress.acknowledge(Lsn::from(120));
        progress.acknowledge(Lsn::from(110));
        assert_eq!(progress.durable(), Lsn::from(120));
    }
}
