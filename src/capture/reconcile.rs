//! Matching of the bindings with the state of the last checkpoint.

use tracing::info;

use super::state::{Mode, State, TableState};
use super::table::{Table, Tables};
use super::task::Binding;
use crate::config::BackfillMode;

/// Matches the bindings with the state. Returns the tables, and the entries whose bindings were
/// removed: the next checkpoint has them as ignored.
pub(super) fn reconcile(
    bindings: &[Binding],
    state: &mut State,
) -> (Tables, Vec<(String, TableState)>) {
    let mut tables = Vec::new();
    let mut all_new = true;
    for (index, binding) in (0..).zip(bindings) {
        let entry = state
            .bindings
            .remove(&binding.state_key)
            .filter(|entry| entry.mode != Mode::Ignore);
        if entry.is_none() {
            info!(stateKey = %binding.state_key, "binding added");
        }
        all_new &= entry.is_none();
        let mut table = Table::new(index, binding, entry);
        complete_early_state(&mut table);
        tables.push(table);
    }
    let mut removed = Vec::new();
    for (state_key, entry) in std::mem::take(&mut state.bindings) {
        if entry.mode != Mode::Ignore {
            info!(stateKey = %state_key, "binding removed");
            let ignored = TableState {
                mode: Mode::Ignore,
                ..TableState::default()
            };
            removed.push((state_key, ignored));
        }
    }
    if all_new && !bindings.is_empty() && state.cursor.is_some() {
        info!("all bindings are new: the stream starts over");
    }
    if all_new {
        state.cursor = None;
    }
    (Tables::new(tables), removed)
}

/// Adds the key columns that states of early versions lack for a table without a backfill.
fn complete_early_state(table: &mut Table) {
    if table.state.mode == Mode::Active
        && table.state.key_columns.is_none()
        && table.resource.mode == BackfillMode::OnlyChanges
    {
        let key = table.collection_key.clone();
        table.state.update(|state| state.key_columns = key);
    }
}

#[cfg(test)]
mod tests {
    use protocol::Lsn;

    use super::*;

    fn state(json: &str) -> State {
        State::parse(json).unwrap()
    }

    #[test]
    fn a_new_binding_is_pending_and_a_removed_one_ignored() {
        let mut state = state(
            r#"{"cursor":"0/10","bindingStateV1":{
                "kept":{"mode":"Active","key_columns":["id"],"backfilled":3},
                "gone":{"mode":"Backfill","key_columns":["id"],"scanned":"FQM=","backfilled":3},
                "long":{"mode":"Ignore"},"back":{"mode":"Ignore"}}}"#,
        );
        let bindings = [
            Binding::sample("kept"),
            Binding::sample("new"),
            Binding::sample("back"),
        ];
        let (tables, removed) = reconcile(&bindings, &mut state);
        let modes: Vec<_> = tables
            .iter()
            .map(|table| (table.state.mode, table.state.is_changed()))
            .collect();
        assert_eq!(
            modes,
            [
                (Mode::Active, false),
                (Mode::Pending, true),
                (Mode::Pending, true)
            ]
        );
        let [(key, entry)] = removed.as_slice() else {
            panic!("{removed:?}")
        };
        assert_eq!((key.as_str(), entry.mode), ("gone", Mode::Ignore));
        assert_eq!(entry.scanned.0, None);
        assert_eq!(state.cursor, Some(Lsn::from(16)));
    }

    #[test]
    fn the_stream_starts_over_when_every_binding_is_new() {
        for bindings in [&[][..], &[Binding::sample("a.v1")]] {
            let mut state = state(r#"{"cursor":"0/10","bindingStateV1":{"a":{"mode":"Active"}}}"#);
            reconcile(bindings, &mut state);
            assert_eq!(state.cursor, None);
        }
    }

    #[test]
    fn an_early_state_of_only_changes_gets_its_key() {
        let mut bound = Binding::sample("a");
        bound.resource.mode = BackfillMode::OnlyChanges;
        let mut state = state(r#"{"cursor":"0/10","bindingStateV1":{"a":{"mode":"Active"}}}"#);
        let (tables, _) = reconcile(&[bound], &mut state);
        let table = tables.iter().next().unwrap();
        assert_eq!(table.state.key_columns, Some(vec!["id".to_owned()]));
        assert!(table.state.is_changed());
    }
}
