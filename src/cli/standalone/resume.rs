//! Adjustment of the state for output that cannot be withdrawn.
//!
//! A run that is stopped within a chunk has printed rows that no checkpoint covers. The capture
//! assumes that such rows were discarded: it drops changes to keys that are not scanned yet,
//! because the chunk that will cover the key contains them. A row that was printed and is then
//! deleted would therefore never be deleted in the output, since no later chunk contains the row.
//! For this reason, from the second run on, a table within its backfill emits all changes, whatever
//! their key. Changes since the last checkpoint that are printed twice lead to the same result.

use crate::capture::{Binding, Mode, State, TableState};
use crate::config::{BackfillMode, Config};

/// Switches tables within their backfill to modes that emit every change after the state's
/// position.
pub(super) fn emit_all_changes(state: &mut State, config: &Config, bindings: &[Binding]) {
    if state.cursor.is_none() {
        // Without a position in the state, no rows have been printed.
        return;
    }
    for binding in bindings {
        let Some(entry) = state.bindings.get_mut(&binding.state_key) else {
            continue;
        };
        match entry.mode {
            Mode::Backfill => entry.mode = Mode::UnfilteredBackfill,
            Mode::Pending => *entry = started_state(binding, config),
            Mode::UnfilteredBackfill
            | Mode::KeylessBackfill
            | Mode::Active
            | Mode::Missing
            | Mode::Ignore => {}
        }
    }
}

/// Returns the state of a table whose first chunk may have been printed.
fn started_state(binding: &Binding, config: &Config) -> TableState {
    let resource = &binding.resource;
    let key_columns = match resource.mode {
        BackfillMode::WithoutPrimaryKey => None,
        _ if resource.primary_key.is_empty() => binding.key_columns(),
        _ => Some(resource.primary_key.clone()),
    };
    let is_skipped = config
        .skip_backfills
        .skips(&resource.namespace, &resource.stream);
    let mode = match resource.mode {
        _ if is_skipped => Mode::Active,
        BackfillMode::OnlyChanges => Mode::Active,
        BackfillMode::WithoutPrimaryKey => Mode::KeylessBackfill,
        BackfillMode::Automatic | BackfillMode::Normal | BackfillMode::Precise => {
            Mode::UnfilteredBackfill
        }
    };
    TableState {
        mode,
        key_columns,
        ..TableState::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Resource;

    fn binding(mode: BackfillMode) -> Binding {
        Binding {
            resource: Resource {
                mode,
                namespace: "public".to_owned(),
                stream: "t".to_owned(),
                ..Resource::default()
            },
            state_key: "t".to_owned(),
            key: vec!["/id".to_owned()],
            transaction_ids: false,
        }
    }

    fn resumed(state: &str, binding: &Binding, advanced: &str) -> TableState {
        let config =
            format!(r#"{{"address":"a","user":"u","password":"p","advanced":{{{advanced}}}}}"#);
        let config = Config::parse(&config).unwrap();
        let mut state = State::parse(state).unwrap();
        emit_all_changes(&mut state, &config, std::slice::from_ref(binding));
        state.bindings.remove("t").unwrap()
    }

    #[test]
    fn a_table_within_its_backfill_resumes_with_all_changes_emitted() {
        let state = r#"{"cursor":"0/1","bindingStateV1":{"t":{"mode":"Backfill","key_columns":["id"],"scanned":"FQM=","backfilled":3}}}"#;
        let table = resumed(state, &binding(BackfillMode::Precise), "");
        assert_eq!(table.mode, Mode::UnfilteredBackfill);
        assert_eq!(table.scanned.0.as_deref(), Some(&[0x15, 3][..]));
        assert_eq!(table.backfilled, 3);
        for mode in [
            "KeylessBackfill",
            "UnfilteredBackfill",
            "Active",
            "Missing",
            "Ignore",
        ] {
            let table = resumed(
                &state.replace("\"Backfill", &format!("\"{mode}")),
                &binding(BackfillMode::Automatic),
                "",
            );
            assert_eq!(format!("{:?}", table.mode), mode);
        }
    }

    #[test]
    fn a_pending_table_is_treated_as_started() {
        let state = r#"{"cursor":"0/1","bindingStateV1":{"t":{"mode":"Pending"}}}"#;
        let id = Some(vec!["id".to_owned()]);
        for (mode, expected, key) in [
            (BackfillMode::Automatic, Mode::UnfilteredBackfill, &id),
            (BackfillMode::Precise, Mode::UnfilteredBackfill, &id),
            (BackfillMode::OnlyChanges, Mode::Active, &id),
            (
                BackfillMode::WithoutPrimaryKey,
                Mode::KeylessBackfill,
                &None,
            ),
        ] {
            let table = resumed(state, &binding(mode), "");
            assert_eq!(
                (table.mode, &table.key_columns),
                (expected, key),
                "{mode:?}"
            );
        }
        let mut other = binding(BackfillMode::Automatic);
        other.resource.primary_key = vec!["code".to_owned()];
        let table = resumed(state, &other, "");
        assert_eq!(table.key_columns, Some(vec!["code".to_owned()]));
        let table = resumed(state, &other, r#""skip_backfills":"public.t""#);
        assert_eq!(table.mode, Mode::Active);
    }

    #[test]
    fn a_state_without_a_position_stays_unchanged() {
        let state = r#"{"bindingStateV1":{"t":{"mode":"Pending"}}}"#;
        let table = resumed(state, &binding(BackfillMode::Automatic), "");
        assert_eq!(table.mode, Mode::Pending);
    }
}
