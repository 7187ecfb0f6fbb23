//! Position of the stream, the source transaction that it is in, and the order of its events.

use protocol::{BeginMessage, CommitMessage, Lsn, Xid};

use crate::error::{Error, ErrorKind, Result};

/// Position of the stream: the last commit, and the transaction that the stream is in.
#[derive(Debug)]
pub(in crate::capture) struct StreamPosition {
    /// End of the last commit, or the start position: the first part of every `loc`.
    last_commit_end: Lsn,
    /// Position before which every commit was received.
    received: Lsn,
    transaction: Option<Transaction>,
}

/// A transaction between its Begin and its Commit.
#[derive(Debug, Clone, Copy)]
pub(in crate::capture) struct Transaction {
    /// Transaction id.
    pub(super) xid: Xid,
    /// Position of the commit record.
    pub(super) final_lsn: Lsn,
    /// Commit time, in milliseconds since 1970.
    pub(super) ts_ms: i64,
    /// Whether a change of a followed table was handled.
    pub(super) has_changes: bool,
    /// Position that the last event of the transaction was given.
    last_event: u64,
}

impl StreamPosition {
    /// Starts at the position at which the stream starts.
    pub(super) fn new(start: Lsn) -> Self {
        Self {
            last_commit_end: start,
            received: start,
            transaction: None,
        }
    }

    /// Returns the position before which everything was received. In a transaction it is the
    /// position before its begin.
    pub(super) fn received(&self) -> Lsn {
        self.received
    }

    /// Returns whether the stream is within a transaction.
    pub(super) fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Returns whether everything that committed before a position was received, and no change of
    /// an incomplete transaction was handled.
    pub(super) fn has_passed(&self, position: Lsn) -> bool {
        match &self.transaction {
            None => self.received >= position,
            // Transactions are streamed in the order of their commits.
            Some(transaction) => !transaction.has_changes && transaction.final_lsn >= position,
        }
    }

    /// Returns the transaction that the stream is in.
    ///
    /// # Errors
    ///
    /// Fails between transactions.
    pub(super) fn transaction(&mut self) -> Result<&mut Transaction> {
        self.transaction.as_mut().ok_or_else(outside_of_transaction)
    }

    /// Returns the transaction that the stream is in, to look at.
    ///
    /// # Errors
    ///
    /// Fails between transactions.
    pub(super) fn current_transaction(&self) -> Result<&Transaction> {
        self.transaction.as_ref().ok_or_else(outside_of_transaction)
    }

    /// Returns the end of the last commit.
    pub(super) fn last_commit_end(&self) -> Lsn {
        self.last_commit_end
    }

    /// Handles the begin of a transaction.
    ///
    /// # Errors
    ///
    /// Fails within another transaction.
    pub(super) fn begin(&mut self, begin: &BeginMessage) -> Result<()> {
        if self.transaction.is_some() {
            return Err(Error::new(
                ErrorKind::Protocol,
                "the server began a transaction within another",
            ));
        }
        self.transaction = Some(Transaction {
            xid: begin.xid,
            final_lsn: begin.final_lsn,
            ts_ms: begin.commit_time.unix_millis(),
            has_changes: false,
            last_event: 0,
        });
        Ok(())
    }

    /// Handles the commit of the transaction.
    ///
    /// # Errors
    ///
    /// Fails outside of a transaction, and where its position is not the one announced by its
    /// begin.
    pub(super) fn commit(&mut self, commit: &CommitMessage) -> Result<Transaction> {
        let transaction = *self.transaction()?;
        if transaction.final_lsn != commit.commit_lsn {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!(
                    "the server committed a transaction at {} that it had begun as ending at {}",
                    commit.commit_lsn, transaction.final_lsn
                ),
            ));
        }
        self.transaction = None;
        self.last_commit_end = commit.end_lsn;
        self.received = self.received.max(commit.end_lsn);
        Ok(transaction)
    }

    /// Handles a keep-alive, which between transactions tells the position of the server.
    pub(super) fn keepalive(&mut self, wal_end: Lsn) {
        if self.transaction.is_none() {
            self.received = self.received.max(wal_end);
        }
    }
}

impl Transaction {
    /// Returns the position of the next event in the order of all events. Rows of one log record
    /// share its position, so each event is at least one after the event before it.
    pub(super) fn next_event(&mut self, wal_start: Lsn) -> u64 {
        self.last_event = wal_start.as_u64().max(self.last_event + 1);
        self.last_event
    }
}

fn outside_of_transaction() -> Error {
    Error::new(
        ErrorKind::Protocol,
        "the server sent a change outside of a transaction",
    )
}

#[cfg(test)]
mod tests {
    use protocol::PgTimestamp;

    use super::*;

    fn begin(final_lsn: u64) -> BeginMessage {
        BeginMessage {
            final_lsn: Lsn::from(final_lsn),
            commit_time: PgTimestamp::from_unix_micros(1_999),
            xid: Xid::from(7),
        }
    }

    fn commit(commit_lsn: u64, end_lsn: u64) -> CommitMessage {
        CommitMessage {
            commit_lsn: Lsn::from(commit_lsn),
            end_lsn: Lsn::from(end_lsn),
            commit_time: PgTimestamp::from_unix_micros(1_999),
        }
    }

    #[test]
    fn events_of_one_record_get_distinct_positions() {
        let mut position = StreamPosition::new(Lsn::from(10));
        position.begin(&begin(100)).unwrap();
        let transaction = position.transaction().unwrap();
        let positions: Vec<_> = [50, 50, 50, 51, 60]
            .map(|lsn| transaction.next_event(Lsn::from(lsn)))
            .into();
        assert_eq!(positions, [50, 51, 52, 53, 60]);
        assert_eq!(transaction.ts_ms, 1);
    }

    #[test]
    fn the_position_moves_with_commits_and_with_keepalives_between_them() {
        let mut position = StreamPosition::new(Lsn::from(10));
        position.keepalive(Lsn::from(20));
        assert_eq!(
            (position.received(), position.last_commit_end()),
            (Lsn::from(20), Lsn::from(10))
        );
        position.begin(&begin(100)).unwrap();
        position.keepalive(Lsn::from(90));
        assert_eq!(position.received(), Lsn::from(20));
        position.commit(&commit(100, 110)).unwrap();
        assert_eq!(
            (position.received(), position.last_commit_end()),
            (Lsn::from(110), Lsn::from(110))
        );
    }

    #[test]
    fn a_position_is_passed_at_the_begin_of_a_transaction_that_commits_after_it() {
        let mut position = StreamPosition::new(Lsn::from(10));
        position.keepalive(Lsn::from(20));
        assert!(position.has_passed(Lsn::from(20)));
        assert!(!position.has_passed(Lsn::from(21)));
        position.begin(&begin(100)).unwrap();
        assert!(position.has_passed(Lsn::from(100)));
        assert!(!position.has_passed(Lsn::from(101)));
        position.transaction().unwrap().has_changes = true;
        assert!(!position.has_passed(Lsn::from(100)));
        position.commit(&commit(100, 110)).unwrap();
        assert!(position.has_passed(Lsn::from(110)));
    }

    #[test]
    fn a_stream_that_contradicts_itself_is_refused() {
        let mut position = StreamPosition::new(Lsn::from(10));
        assert!(position.transaction().is_err());
        position.begin(&begin(100)).unwrap();
        assert!(position.begin(&begin(100)).is_err());
        assert!(position.commit(&commit(99, 110)).is_err());
    }
}
