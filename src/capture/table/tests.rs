//! Decisions about changes, without a server.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::{Lsn, Oid, TupleData, Xid};

use super::bound_table::{Table, TrackedState};
use super::decision::Decision;
use super::deferred::{Deferral, DeferredChanges};
use super::scan::{Scan, SpanRange, UnfencedChunk};
use super::visibility::{InitialWait, UnseenCommits};
use crate::backfill::{Position, Snapshot, TableScan};
use crate::capture::state::{Mode, TableState};
use crate::catalog::{TableId, TableInfo};
use crate::config::Resource;
use crate::record::{Image, Operation, RowKey};
use crate::value::{KeyCodec, TypeRegistry};

const INT8: u32 = 20;
const COMMIT: u64 = 1000;

fn codec() -> KeyCodec {
    KeyCodec::new(Oid::from(INT8), &TypeRegistry::default(), true)
}

fn key(number: i64) -> RowKey {
    let text = number.to_string();
    let values = [TupleData::Text(text.as_bytes())];
    let image = Image {
        values: &values,
        key_only: false,
    };
    RowKey::of(&image, &[(0, codec())]).unwrap().unwrap()
}

fn snapshot(text: &str) -> Snapshot {
    Snapshot::Primary(text.parse().unwrap())
}

/// A table whose scan is at 20, with an unfenced chunk after 10 if there is a snapshot.
fn table(mode: Mode, chunk: Option<Snapshot>, comparable: bool) -> Table {
    Table {
        binding: 0,
        state_key: "t".into(),
        id: TableId::new("s", "t"),
        resource: Resource::default(),
        collection_key: Some(vec!["id".into()]),
        transaction_ids: false,
        info: None,
        state: TrackedState::new(
            TableState {
                mode,
                key_columns: (mode != Mode::KeylessBackfill).then(|| vec!["id".into()]),
                ..TableState::default()
            },
            false,
        ),
        scan: mode.is_backfill().then(|| Scan {
            info: Arc::new(TableInfo::sample("s", "t", &[("id", INT8)])),
            table: TableScan {
                target: "t".into(),
                key_columns: vec![("id".into(), false)],
                comparisons: Vec::new(),
                filter: None,
                min_xid: None,
                chunk_size: 10,
                server_version: 150_000,
            },
            codecs: vec![codec()],
            comparable,
            position: Some(key(20)),
            physical: Position::default(),
            chunk: chunk.map(|snapshot| UnfencedChunk {
                after: Some(key(10)),
                snapshot,
                keys: None,
                complete: false,
            }),
            ranges: VecDeque::new(),
            may_lock: true,
            locked: None,
            chunk_bytes: 0,
            pages: None,
        }),
        unseen: UnseenCommits::default(),
        initial_wait: InitialWait::default(),
    }
}

fn set_key_columns(table: &mut Table, columns: Option<Vec<String>>) {
    table.state.update(|state| state.key_columns = columns);
}

fn decide(table: &mut Table, operation: Operation, number: Option<i64>, xid: u32) -> Decision {
    let key = number.map(key);
    table.decide(operation, key.as_ref(), Xid::from(xid), Lsn::from(COMMIT))
}

#[test]
fn a_precise_scan_drops_changes_that_a_chunk_contains_or_will_contain() {
    use Decision::{Drop, Emit};
    // 100 is in the last chunk, 105 was running.
    let snapshot = || Some(snapshot("100:110:105"));
    for (chunk, number, xid, decision, waits) in [
        (None, 20, 100, Emit, false),
        (None, 21, 100, Drop, true),
        (snapshot(), 10, 100, Emit, false),
        (snapshot(), 11, 100, Drop, false),
        (snapshot(), 20, 105, Emit, false),
        (snapshot(), 20, 110, Emit, false),
        (snapshot(), 21, 105, Drop, true),
    ] {
        let mut table = table(Mode::Backfill, chunk, true);
        let found = decide(&mut table, Operation::Update, Some(number), xid);
        assert_eq!(found, decision, "{number} by {xid}");
        if cfg!(not(unchecked_visibility)) {
            assert_eq!(!table.unseen.is_empty(), waits, "{number} by {xid}");
        }
    }
}

#[test]
fn the_last_chunk_covers_all_keys_after_its_start() {
    let mut table = table(Mode::Backfill, Some(snapshot("100:110:105")), true);
    table
        .scan
        .as_mut()
        .unwrap()
        .chunk
        .as_mut()
        .unwrap()
        .complete = true;
    assert_eq!(
        decide(&mut table, Operation::Create, Some(99), 100),
        Decision::Drop
    );
    assert_eq!(
        decide(&mut table, Operation::Create, Some(99), 105),
        Decision::Emit
    );
    assert!(table.unseen.is_empty());
}

#[test]
fn changes_of_unknown_keys_are_emitted_and_their_commits_awaited() {
    for (mode, comparable, number) in [
        (Mode::Backfill, false, Some(5)),
        (Mode::Backfill, true, None),
        (Mode::UnfilteredBackfill, false, Some(5)),
        (Mode::UnfilteredBackfill, true, Some(21)),
        (Mode::KeylessBackfill, true, None),
    ] {
        let mut table = table(mode, Some(snapshot("100:110:105")), comparable);
        assert_eq!(
            decide(&mut table, Operation::Update, number, 100),
            Decision::Emit,
            "{mode:?}"
        );
        assert_eq!(
            table.unseen.is_empty(),
            cfg!(unchecked_visibility),
            "{mode:?}"
        );
    }
}

#[test]
fn keys_without_an_order_are_matched_to_the_unfenced_chunk() {
    let mut table = table(Mode::Backfill, Some(snapshot("100:110:105")), false);
    table.scan.as_mut().unwrap().chunk.as_mut().unwrap().keys = Some([key(15)].into());
    let decisions = [(15, 100), (15, 105), (16, 100)]
        .map(|(number, xid)| decide(&mut table, Operation::Update, Some(number), xid));
    assert_eq!(decisions, [Decision::Drop, Decision::Emit, Decision::Emit]);
}

#[test]
fn a_row_can_move_past_a_scan_by_another_key() {
    let key = |name: &str| Some(vec![name.to_owned()]);
    let mut table = table(Mode::UnfilteredBackfill, None, true);
    set_key_columns(&mut table, key("id"));
    assert!(!table.scan_may_miss_rows());
    set_key_columns(&mut table, key("seq"));
    assert!(table.scan_may_miss_rows());
    set_key_columns(&mut table, None);
    assert!(table.scan_may_miss_rows());
    table.collection_key = None;
    assert!(!table.scan_may_miss_rows());
}

#[test]
fn an_unfiltered_scan_emits_changes_that_its_chunk_contains() {
    // For example a deletion: the insertion before it was emitted from the stream.
    let mut table = table(
        Mode::UnfilteredBackfill,
        Some(snapshot("100:110:105")),
        true,
    );
    assert_eq!(
        decide(&mut table, Operation::Delete, Some(15), 100),
        Decision::Emit
    );
    assert!(table.unseen.is_empty());
}

#[test]
fn deletions_are_emitted_where_chunks_leave_rows_out() {
    for (number, xid) in [(15, 100), (25, 100)] {
        let mut table = table(Mode::Backfill, Some(snapshot("100:110:105")), true);
        table.scan.as_mut().unwrap().table.min_xid = Some(5);
        assert_eq!(
            decide(&mut table, Operation::Delete, Some(number), xid),
            Decision::Emit
        );
        assert_eq!(
            decide(&mut table, Operation::Update, Some(number), xid),
            Decision::Drop
        );
    }
}

#[test]
fn a_pending_table_drops_changes_for_its_first_chunk() {
    let mut table = table(Mode::Pending, None, true);
    assert_eq!(
        decide(&mut table, Operation::Delete, Some(1), 7),
        Decision::Drop
    );
    assert_eq!(table.unseen.is_empty(), cfg!(unchecked_visibility));
}

#[test]
fn a_table_that_is_not_scanned_has_no_unseen_commits() {
    for (mode, decision) in [
        (Mode::Active, Decision::Emit),
        (Mode::Missing, Decision::Drop),
        (Mode::Ignore, Decision::Drop),
    ] {
        let mut table = table(mode, None, true);
        assert_eq!(decide(&mut table, Operation::Update, Some(1), 7), decision);
        assert!(table.unseen.is_empty());
    }
}

/// A table whose scan is at 20, with two open spans: one up to 30, and one up to 40.
fn table_with_spans(mode: Mode, first: Option<Snapshot>, second: Option<Snapshot>) -> Table {
    let mut table = table(mode, None, mode != Mode::KeylessBackfill);
    let range = |span, until, snapshot| SpanRange {
        span,
        until: Some(key(until)),
        snapshot,
        deferred: DeferredChanges::default(),
    };
    table.scan.as_mut().unwrap().ranges = [range(1, 30, first), range(2, 40, second)].into();
    table
}

fn defer(range: usize, follows_row: bool, must_emit: bool, xid: u32) -> Decision {
    Decision::Defer {
        range,
        follows_row,
        deferral: Deferral {
            xid: Xid::from(xid),
            commit_lsn: Lsn::from(COMMIT),
            must_emit,
        },
    }
}

#[test]
fn a_change_of_a_row_that_a_span_will_emit_is_deferred_unless_the_row_contains_it() {
    use Decision::{Drop, Emit};
    for (number, xid, decision, waits) in [
        // Emitted by an earlier span, which contains no change that is streamed now.
        (20, 100, Emit, false),
        (21, 100, Drop, false),
        (30, 105, defer(0, true, false, 105), true),
        (31, 105, defer(1, true, false, 105), true),
        (40, 100, defer(1, true, false, 100), true),
        (41, 100, Drop, true),
    ] {
        let mut table = table_with_spans(Mode::Backfill, Some(snapshot("100:110:105")), None);
        let found = decide(&mut table, Operation::Update, Some(number), xid);
        assert_eq!(found, decision, "{number} by {xid}");
        if cfg!(not(unchecked_visibility)) {
            assert_eq!(!table.unseen.is_empty(), waits, "{number} by {xid}");
        }
    }
}

#[test]
fn deferred_changes_of_an_unfiltered_scan_must_be_emitted() {
    let snapshot = || Some(snapshot("100:110:105"));
    let mut table = table_with_spans(Mode::UnfilteredBackfill, snapshot(), snapshot());
    for (number, xid, decision) in [
        (25, 100, Decision::Emit),
        (25, 105, defer(0, true, true, 105)),
        (35, 105, defer(1, true, true, 105)),
        (45, 105, Decision::Emit),
    ] {
        let found = decide(&mut table, Operation::Update, Some(number), xid);
        assert_eq!(found, decision, "{number} by {xid}");
    }
    assert!(!table.has_required_changes());
    let Decision::Defer { deferral, .. } = defer(1, true, true, 105) else {
        return;
    };
    table.defer(1, Some(key(35)), deferral, b"{}");
    assert!(table.has_required_changes() && table.deferred_bytes() > 2);
}

#[test]
fn a_deferred_deletion_must_be_emitted_where_chunks_leave_rows_out() {
    let snapshot = || Some(snapshot("100:110:105"));
    let mut table = table_with_spans(Mode::Backfill, snapshot(), snapshot());
    table.scan.as_mut().unwrap().table.min_xid = Some(5);
    for (operation, xid, decision) in [
        (Operation::Delete, 100, Decision::Emit),
        (Operation::Delete, 105, defer(0, true, true, 105)),
        (Operation::Update, 105, defer(0, true, false, 105)),
    ] {
        let found = decide(&mut table, operation, Some(25), xid);
        assert_eq!(found, decision, "{operation:?} by {xid}");
    }
}

#[test]
fn a_change_of_an_unknown_key_is_deferred_after_all_spans_that_may_not_contain_it() {
    for (mode, number) in [(Mode::Backfill, None), (Mode::KeylessBackfill, None)] {
        let snapshots = (Some(snapshot("110:110:")), Some(snapshot("100:110:105")));
        let mut table = table_with_spans(mode, snapshots.0, snapshots.1);
        let found = decide(&mut table, Operation::Update, number, 105);
        assert_eq!(found, defer(1, false, true, 105), "{mode:?}");
        let found = decide(&mut table, Operation::Update, number, 104);
        assert_eq!(found, Decision::Emit, "{mode:?}");
    }
}

/// The row may be after the position for the span, which then emits it as it was before.
#[test]
fn a_row_that_can_move_past_the_scan_is_not_located_by_its_present_key() {
    for number in [5, 25, 35, 45] {
        let snapshot = || Some(snapshot("100:110:105"));
        let mut table = table_with_spans(Mode::Backfill, snapshot(), snapshot());
        set_key_columns(&mut table, Some(vec!["seq".into()]));
        let found = decide(&mut table, Operation::Update, Some(number), 105);
        assert_eq!(found, defer(1, false, true, 105), "{number}");
    }
}
