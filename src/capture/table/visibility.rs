//! Commits that are streamed before snapshots contain them.
//!
//! A commit is decoded and streamed once its record is flushed. A snapshot contains it only after
//! the transaction has left the list of running transactions, which with synchronous replication
//! can be arbitrarily later. A change that is streamed in that window to a key that is not scanned
//! yet is dropped because a later chunk will contain it, and that chunk has to contain it.
//! So such transactions are remembered until a snapshot of ours contains them. Until then no chunk
//! of the table is accepted, and no checkpoint passes them, since what is remembered is lost with
//! the process.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{Lsn, Xid};

use crate::backfill::Snapshot;

/// Streamed transactions that no snapshot of ours has contained yet, for one table.
#[derive(Debug, Default, Clone)]
pub(in crate::capture) struct UnseenCommits {
    commits: BTreeMap<u32, Lsn>,
}

impl UnseenCommits {
    /// Remembers a transaction, with the position of its commit record.
    pub(in crate::capture) fn note(&mut self, xid: Xid, commit_lsn: Lsn) {
        if cfg!(not(unchecked_visibility)) {
            self.commits.insert(xid.as_u32(), commit_lsn);
        }
    }

    /// Forgets the transactions that a snapshot contains: later snapshots contain them, too.
    pub(in crate::capture) fn resolve(&mut self, snapshot: &Snapshot) {
        self.commits
            .retain(|xid, lsn| !snapshot.contains(Xid::from(*xid), *lsn));
    }

    /// Forgets all transactions: the table is not scanned any more.
    pub(in crate::capture) fn clear(&mut self) {
        self.commits.clear();
    }

    /// Returns whether there are none.
    pub(in crate::capture) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// Returns their number.
    pub(in crate::capture) fn len(&self) -> usize {
        self.commits.len()
    }

    /// Returns their ids.
    pub(in crate::capture) fn xids(&self) -> impl Iterator<Item = u32> + '_ {
        self.commits.keys().copied()
    }
}

/// Transactions that were running when the capture began to follow a table. Any of them may have
/// been streamed before that without being contained in snapshots yet.
///
/// The first chunk waits for each until it has ended; or was streamed, from where on
/// [`UnseenCommits`] applies; or is known to be at work, so that its commit record is yet to be
/// written and will be streamed. A transaction that had written to the table already is waited for
/// to its end: its changes from before the table was added to the publication are not streamed.
#[derive(Debug, Default)]
pub(in crate::capture) struct InitialWait {
    running: BTreeSet<u64>,
    /// Those of them that hold a lock for writing on the table.
    writers: BTreeSet<u32>,
}

impl InitialWait {
    /// Starts with the transactions that a snapshot lists as running. On a standby there are none,
    /// since everything that is streamed there was replayed.
    pub(in crate::capture) fn new(snapshot: &Snapshot) -> Self {
        let mut running = BTreeSet::new();
        if let Snapshot::Primary(snapshot) = snapshot
            && cfg!(not(unchecked_visibility))
        {
            running.extend(snapshot.running());
        }
        Self {
            running,
            writers: BTreeSet::new(),
        }
    }

    /// Notes that a transaction may have written to the table before it was published.
    pub(in crate::capture) fn has_written(&mut self, xid: u32) {
        self.writers.insert(xid);
    }

    /// Returns whether the first chunk need not wait.
    pub(in crate::capture) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Returns the ids of the transactions that are waited for.
    pub(in crate::capture) fn xids(&self) -> impl Iterator<Item = u32> + '_ {
        self.running.iter().map(|xid| low(*xid))
    }

    /// Notes that a transaction was streamed.
    pub(in crate::capture) fn streamed(&mut self, xid: Xid) {
        if !self.running.is_empty() {
            self.release(|running| running == xid.as_u32());
        }
    }

    /// Notes that transactions are at work.
    pub(in crate::capture) fn at_work(&mut self, xids: &BTreeSet<u32>) {
        self.release(|running| xids.contains(&running));
    }

    fn release(&mut self, is_released: impl Fn(u32) -> bool) {
        let writers = &self.writers;
        self.running
            .retain(|running| !is_released(low(*running)) || writers.contains(&low(*running)));
    }

    /// Forgets the transactions that a snapshot contains.
    pub(in crate::capture) fn resolve(&mut self, snapshot: &Snapshot) {
        match snapshot {
            Snapshot::Primary(snapshot) => self.running.retain(|xid| !snapshot.contains(*xid)),
            Snapshot::Standby { .. } => self.running.clear(),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the stream has the low 32 bits of an id"
)]
fn low(xid: u64) -> u32 {
    xid as u32
}

#[cfg(all(test, not(unchecked_visibility)))]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        Snapshot::Primary(text.parse().unwrap())
    }

    #[test]
    fn a_streamed_transaction_is_waited_for_until_a_snapshot_contains_it() {
        let mut unseen = UnseenCommits::default();
        unseen.note(Xid::from(105), Lsn::from(1));
        unseen.note(Xid::from(99), Lsn::from(2));
        unseen.resolve(&snapshot("100:110:105"));
        assert_eq!(unseen.xids().collect::<Vec<_>>(), [105]);
        unseen.resolve(&snapshot("110:110:"));
        assert!(unseen.is_empty());
    }

    #[test]
    fn on_a_standby_the_position_decides() {
        let mut unseen = UnseenCommits::default();
        unseen.note(Xid::from(5), Lsn::from(100));
        unseen.resolve(&Snapshot::Standby {
            until: Lsn::from(100),
        });
        assert!(!unseen.is_empty());
        unseen.resolve(&Snapshot::Standby {
            until: Lsn::from(108),
        });
        assert!(unseen.is_empty());
    }

    #[test]
    fn the_initial_wait_ends_by_snapshot_by_stream_or_by_being_at_work() {
        let mut initial_wait = InitialWait::new(&snapshot("100:110:101,102,103"));
        initial_wait.streamed(Xid::from(101));
        initial_wait.at_work(&BTreeSet::from([102]));
        assert_eq!(initial_wait.xids().collect::<Vec<_>>(), [103]);
        initial_wait.resolve(&snapshot("103:120:103"));
        assert!(!initial_wait.is_empty());
        initial_wait.resolve(&snapshot("104:120:110"));
        assert!(initial_wait.is_empty());
    }

    #[test]
    fn a_transaction_that_has_written_to_the_table_is_waited_for_to_its_end() {
        let mut initial_wait = InitialWait::new(&snapshot("100:110:101,102"));
        initial_wait.has_written(101);
        initial_wait.has_written(102);
        initial_wait.streamed(Xid::from(101));
        initial_wait.at_work(&BTreeSet::from([102]));
        assert_eq!(initial_wait.xids().collect::<Vec<_>>(), [101, 102]);
        initial_wait.resolve(&snapshot("102:120:102"));
        assert_eq!(initial_wait.xids().collect::<Vec<_>>(), [102]);
    }
}
