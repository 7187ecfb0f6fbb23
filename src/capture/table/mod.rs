//! The bound tables: the state of each, its scan, and the decision about each of its changes.
//!
//! A [`Table`] owns its state, its [`Scan`] while its rows are being read, and the commits that its
//! later chunks have to contain ([`visibility`]). [`Table::decide`] is the rule that joins backfill
//! and stream: it drops, emits or defers each change. [`Tables`] owns all tables of a session;
//! a [`TableIndex`] always names one of them.

mod activation;
mod bound_table;
mod decision;
mod deferred;
mod scan;
mod tables;
mod visibility;

pub(super) use self::bound_table::{ScannedTable, Table};
pub(super) use self::decision::Decision;
pub(super) use self::deferred::DeferredChanges;
pub(super) use self::scan::{Locked, SpanRange, UnfencedChunk};
pub(super) use self::tables::{TableIndex, Tables};
pub(super) use self::visibility::{InitialWait, UnseenCommits};

#[cfg(test)]
mod tests;
