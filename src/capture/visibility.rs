//! Commits that are streamed before snapshots can see them.
//!
//! A commit is decoded and streamed once its record is on disk; a snapshot sees it only when the
//! transaction has left the list of those running, which with synchronous replication can be
//! arbitrarily later. A change in that window to a key that is not scanned yet is left to a later
//! chunk, and that chunk must contain it. So such transactions are remembered until a snapshot of ours
//! contains them; until then no chunk of the table is accepted, and no checkpoint passes them, since
//! what is remembered dies with the process.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{Lsn, Xid};

use crate::backfill::Snapshot;

/// Transactions of the stream that no snapshot of ours has contained yet, for one table.
#[derive(Debug, Default, Clone)]
pub(super) struct UnseenCommits {
    commits: BTreeMap<u32, Lsn>,
}

impl UnseenCommits {
    /// Remembers a transaction, with the position of its commit record.
    pub(super) fn note(&mut self, xid: Xid, commit_lsn: Lsn) {
        if cfg!(not(feature = "unchecked-visibility")) {
            self.commits.insert(xid.as_u32(), commit_lsn);
        }
    }

    /// Forgets those that a snapshot contains: later snapshots do as well.
    pub(super) fn resolve(&mut self, snapshot: &Snapshot) {
        self.commits
            .retain(|xid, lsn| !snapshot.contains(Xid::from(*xid), *lsn));
    }

    /// Forgets all: the table is not scanned any more.
    pub(super) fn clear(&mut self) {
        self.commits.clear();
    }

    /// Returns whether nothing is waited for.
    pub(super) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// Returns the number of transactions that are waited for.
    pub(super) fn len(&self) -> usize {
        self.commits.len()
    }

    /// Returns what is waited for.
    pub(super) fn xids(&self) -> impl Iterator<Item = u32> + '_ {
        self.commits.keys().copied()
    }
}

/// Transactions that were running when the capture started to follow a table, any of which may have
/// been streamed before that without being visible yet.
///
/// Each is waited for until it has ended, or has appeared in the stream (from where the rules for
/// streamed transactions hold), or is known to be simply still at work, so that its commit is yet to
/// be written and will be streamed. One that had written to the table already is waited for to its
/// end: what it wrote before the table was added to the publication is not streamed.
#[derive(Debug, Default)]
pub(super) struct InitialWait {
    running: BTreeSet<u64>,
    /// Those of them that hold a lock for writing on the table.
    writers: BTreeSet<u32>,
}

impl InitialWait {
    /// Starts with the transactions that a snapshot lists as running. On a standby there are none: what
    /// is streamed there has been replayed.
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let mut running = BTreeSet::new();
        if let Snapshot::Primary(snapshot) = snapshot
            && cfg!(not(feature = "unchecked-visibility"))
        {
            running.extend(snapshot.running());
        }
        Self {
            running,
            writers: BTreeSet::new(),
        }
    }

    /// Notes that a transaction may have written to the table before it was published.
    pub(super) fn has_written(&mut self, xid: u32) {
        self.writers.insert(xid);
    }

    /// Returns whether nothing is waited for.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Returns what is waited for.
    pub(super) fn xids(&self) -> impl Iterator<Item = u32> + '_ {
        self.running.iter().map(|xid| low(*xid))
    }

    /// Notes that a transaction has come with the stream.
    pub(super) fn streamed(&mut self, xid: Xid) {
        if !self.running.is_empty() {
            self.release(|running| running == xid.as_u32());
        }
    }

    /// Notes that transactions are at work.
    pub(super) fn at_work(&mut self, xids: &BTreeSet<u32>) {
        self.release(|running| xids.contains(&running));
    }

    fn release(&mut self, is_released: impl Fn(u32) -> bool) {
        let writers = &self.writers;
        self.running
            .retain(|running| !is_released(low(*running)) || writers.contains(&low(*running)));
    }

    /// Forgets those that a snapshot contains.
    pub(super) fn resolve(&mut self, snapshot: &Snapshot) {
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

#[cfg(all(test, not(feature = "unchecked-visibility")))]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        Snapshot::Primary(text.parse().unwrap())
    }

    #[test]
    fn a_streamed_transaction_is_waited_for_until_a_view_contains_it() {
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
    fn the_barrier_falls_by_end_by_stream_or_by_being_at_work() {
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
    fn who_has_written_to_the_table_is_waited_for_to_the_end() {
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
