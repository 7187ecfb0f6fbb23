//! Check that the replication slot can be used or created.

use super::report::Report;
use super::requirements::{Requirements, SlotUse};
use super::server::Facts;
use crate::catalog::slot::{SlotCapacity, SlotInfo, is_valid_name};

/// Output plugin of publications.
const PLUGIN: &str = "pgoutput";

/// Checks the existing slot or, if there is none, that one can be created.
pub(super) fn check_slot(
    requirements: &Requirements<'_>,
    slot: Option<&SlotInfo>,
    capacity: &SlotCapacity,
    facts: &Facts,
    report: &mut Report,
) {
    match slot {
        Some(slot) => check_existing(slot, requirements, facts, report),
        None => check_missing(requirements, capacity, report),
    }
}

fn check_existing(
    slot: &SlotInfo,
    requirements: &Requirements<'_>,
    facts: &Facts,
    report: &mut Report,
) {
    let name = &slot.name;
    if let Some(problem) = foreign_problem(slot, facts) {
        report.fail(problem);
        return;
    }
    if requirements.slot_use == SlotUse::Create {
        return;
    }
    if slot.two_phase {
        report.fail(format!(
            "replication slot {name:?} decodes transactions when they are prepared, so their \
             content could be lost at a restart: {} and backfill all bindings again",
            drop_statement(name),
        ));
    }
    if slot.is_invalidated() {
        let reason = slot
            .invalidation_reason
            .as_deref()
            .unwrap_or("its WAL was removed");
        let text = format!(
            "replication slot {name:?} is lost ({reason}), and with it the changes since the last \
             checkpoint: {} and backfill all bindings again",
            drop_statement(name),
        );
        // If this capture turns out to start from the beginning, it replaces the slot.
        if requirements.slot_use == SlotUse::Undecided && requirements.create_slot {
            report.warn(text);
        } else {
            report.fail(text);
        }
    } else if slot.wal_status.as_deref() == Some("unreserved") {
        report.warn(format!(
            "replication slot {name:?} holds more WAL than max_slot_wal_keep_size allows, and is \
             lost at the next checkpoint of the server unless it catches up"
        ));
    }
}

/// Describes why a slot cannot be one of this capture.
fn foreign_problem(slot: &SlotInfo, facts: &Facts) -> Option<String> {
    let name = &slot.name;
    let Some(plugin) = &slot.plugin else {
        return Some(format!(
            "replication slot {name:?} is a physical one: set advanced.slotName to another name"
        ));
    };
    let database = slot.database.as_deref();
    if let Some(database) = database.filter(|name| *name != facts.database) {
        return Some(format!(
            "replication slot {name:?} belongs to database {database:?}, not to {:?}: set \
             advanced.slotName to another name",
            facts.database,
        ));
    }
    if plugin != PLUGIN {
        return Some(format!(
            "replication slot {name:?} uses the output plugin {plugin:?} and not {PLUGIN:?}: set \
             advanced.slotName to another name, or if it is not needed: {}",
            drop_statement(name),
        ));
    }
    slot.synced.then(|| {
        format!(
            "replication slot {name:?} is a copy that this standby keeps of the primary's, and \
             cannot be read here: set advanced.slotName to another name"
        )
    })
}

fn check_missing(requirements: &Requirements<'_>, capacity: &SlotCapacity, report: &mut Report) {
    let name = requirements.slot;
    if requirements.slot_use == SlotUse::Resume {
        report.fail(format!(
            "replication slot {name:?} does not exist any more, and with it the changes since the \
             last checkpoint are lost: backfill all bindings again"
        ));
        return;
    }
    if !requirements.create_slot {
        report.fail(format!(
            "replication slot {name:?} does not exist, and may not be created since \
             no_create_replication_slot is set: SELECT \
             pg_create_logical_replication_slot('{}', '{PLUGIN}');",
            name.replace('\'', "''"),
        ));
        return;
    }
    if !is_valid_name(name) {
        report.fail(format!(
            "replication slot {name:?} does not exist, and a slot cannot have that name: set \
             advanced.slotName to at most 63 lower-case letters, digits and underscores"
        ));
        return;
    }
    if capacity.slots >= capacity.max_slots {
        let unused = match capacity.unused.as_slice() {
            [] => String::new(),
            names => format!(
                "; inactive are {}: SELECT pg_drop_replication_slot('NAME'); frees one that is not \
                 needed",
                names.join(", "),
            ),
        };
        report.fail(format!(
            "replication slot {name:?} cannot be created, since all {} of max_replication_slots \
             are taken: ALTER SYSTEM SET max_replication_slots = {}; and restart the server{unused}",
            capacity.max_slots,
            capacity.slots + 1,
        ));
    }
    // A session that creates the slot now opens its replication connection at the same time, which
    // may be one of the senders counted here. If none is free, the server's own error says so.
    let connects_now = requirements.slot_use == SlotUse::Create;
    if !connects_now && capacity.senders >= capacity.max_senders {
        report.fail(format!(
            "no replication connection can be made, since all {} of max_wal_senders are taken: \
             ALTER SYSTEM SET max_wal_senders = {}; and restart the server",
            capacity.max_senders,
            capacity.senders + 1,
        ));
    }
}

fn drop_statement(name: &str) -> String {
    format!(
        "SELECT pg_drop_replication_slot('{}');",
        name.replace('\'', "''")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirements(slot_use: SlotUse, create_slot: bool) -> Requirements<'static> {
        Requirements {
            slot: "flow_slot",
            create_slot,
            slot_use,
            publication: "flow_publication",
            watermarks: None,
            capture_as_partitions: false,
            skip: false,
            skip_tables: false,
        }
    }

    fn slot() -> SlotInfo {
        SlotInfo {
            name: "flow_slot".into(),
            plugin: Some("pgoutput".into()),
            database: Some("shop".into()),
            temporary: false,
            active_pid: None,
            restart_lsn: None,
            confirmed_flush_lsn: None,
            wal_status: Some("reserved".into()),
            safe_wal_size: None,
            two_phase: false,
            invalidation_reason: None,
            synced: false,
        }
    }

    /// Returns the failures, and the number of warnings.
    fn existing(slot: &SlotInfo, slot_use: SlotUse, create: bool) -> (Vec<String>, usize) {
        let facts = Facts {
            version: 170_000,
            user: "u".into(),
            database: "shop".into(),
            wal_level: "logical".into(),
            in_recovery: false,
            may_replicate: true,
            is_rds: false,
        };
        let mut report = Report::default();
        check_existing(slot, &requirements(slot_use, create), &facts, &mut report);
        (report.failures, report.warnings.len())
    }

    #[test]
    fn a_usable_slot_passes_and_a_foreign_slot_never_does() {
        use SlotUse::{Create, Resume, Undecided};
        for slot_use in [Create, Resume, Undecided] {
            assert_eq!(existing(&slot(), slot_use, true), (vec![], 0));
            for (other, word) in [
                (
                    SlotInfo {
                        plugin: None,
                        database: None,
                        ..slot()
                    },
                    "physical",
                ),
                (
                    SlotInfo {
                        database: Some("hr".into()),
                        ..slot()
                    },
                    "\"hr\", not to \"shop\"",
                ),
                (
                    SlotInfo {
                        plugin: Some("wal2json".into()),
                        ..slot()
                    },
                    "wal2json",
                ),
                (
                    SlotInfo {
                        synced: true,
                        ..slot()
                    },
                    "standby",
                ),
            ] {
                let (failures, _) = existing(&other, slot_use, true);
                assert!(
                    failures.len() == 1 && failures[0].contains(word),
                    "{failures:?}"
                );
            }
        }
    }

    #[test]
    fn a_lost_slot_is_ignored_if_it_is_replaced() {
        let lost = SlotInfo {
            wal_status: Some("lost".into()),
            ..slot()
        };
        assert_eq!(existing(&lost, SlotUse::Create, true), (vec![], 0));
        assert_eq!(existing(&lost, SlotUse::Undecided, true), (vec![], 1));
        assert_eq!(existing(&lost, SlotUse::Undecided, false).0.len(), 1);
        assert_eq!(existing(&lost, SlotUse::Resume, true).0.len(), 1);
        let two_phase = SlotInfo {
            two_phase: true,
            ..slot()
        };
        assert_eq!(existing(&two_phase, SlotUse::Create, true), (vec![], 0));
        assert_eq!(existing(&two_phase, SlotUse::Undecided, true).0.len(), 1);
        let unreserved = SlotInfo {
            wal_status: Some("unreserved".into()),
            ..slot()
        };
        assert_eq!(existing(&unreserved, SlotUse::Resume, true), (vec![], 1));
    }

    #[test]
    fn a_missing_slot_needs_permission_a_valid_name_and_capacity() {
        let capacity = SlotCapacity {
            slots: 3,
            max_slots: 4,
            unused: vec!["old".into()],
            senders: 0,
            max_senders: 4,
        };
        let check = |requirements: &Requirements<'_>, capacity: &SlotCapacity| {
            let mut report = Report::default();
            check_missing(requirements, capacity, &mut report);
            report.failures
        };
        let allowed = requirements(SlotUse::Undecided, true);
        assert!(check(&allowed, &capacity).is_empty());
        let odd = Requirements {
            slot: "Flow-Slot",
            ..allowed.clone()
        };
        assert!(check(&odd, &capacity)[0].contains("cannot have that name"));
        let resumed = requirements(SlotUse::Resume, true);
        assert!(check(&resumed, &capacity)[0].contains("does not exist any more"));
        let forbidden = requirements(SlotUse::Undecided, false);
        assert!(check(&forbidden, &capacity)[0].contains("pg_create_logical_replication_slot"));
        let full = SlotCapacity {
            slots: 4,
            senders: 4,
            ..capacity
        };
        let failures = check(&allowed, &full);
        assert!(
            failures[0].contains("max_replication_slots = 5;"),
            "{failures:?}"
        );
        assert!(failures[0].contains("inactive are old"), "{failures:?}");
        assert!(failures[1].contains("max_wal_senders = 5;"), "{failures:?}");
    }
}
