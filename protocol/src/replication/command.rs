//! The commands of a walsender, to be sent as simple queries.
//!
//! They are read by a grammar of their own: identifiers and strings are quoted as in SQL, but a
//! backslash is never an escape.

use std::fmt::Write;

use crate::lsn::Lsn;

/// Returns the command that tells which server, timeline and position this is.
pub fn identify_system() -> &'static str {
    "IDENTIFY_SYSTEM"
}

/// How a logical replication slot is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateSlotOptions {
    /// The output plugin.
    pub plugin: String,
    /// Drop the slot with the session.
    pub temporary: bool,
    /// What becomes of the snapshot as of the slot's consistent point.
    pub snapshot: SlotSnapshot,
    /// Decode prepared transactions at PREPARE (servers since 14).
    pub two_phase: bool,
    /// Keep the slot on standbys, too (servers since 17).
    pub failover: bool,
}

impl Default for CreateSlotOptions {
    fn default() -> Self {
        Self {
            plugin: "pgoutput".to_owned(),
            temporary: false,
            snapshot: SlotSnapshot::Nothing,
            two_phase: false,
            failover: false,
        }
    }
}

/// What becomes of the snapshot as of a new slot's consistent point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlotSnapshot {
    /// Nothing.
    #[default]
    Nothing,
    /// It is exported for other sessions, until this one's next command.
    Export,
    /// The transaction that this command is the first of goes on with it.
    Use,
}

/// Returns the command that makes a logical replication slot.
///
/// In the form that servers since 10 read, but for `failover`, which only the later form has.
pub fn create_replication_slot(slot: &str, options: &CreateSlotOptions) -> String {
    let mut sql = format!("CREATE_REPLICATION_SLOT {}", quote_identifier(slot));
    if options.temporary {
        sql.push_str(" TEMPORARY");
    }
    sql.push_str(" LOGICAL ");
    sql.push_str(&quote_identifier(&options.plugin));
    if options.failover {
        let snapshot = match options.snapshot {
            SlotSnapshot::Nothing => "nothing",
            SlotSnapshot::Export => "export",
            SlotSnapshot::Use => "use",
        };
        sql.push_str(" (SNAPSHOT '");
        sql.push_str(snapshot);
        sql.push_str(if options.two_phase {
            "', TWO_PHASE, FAILOVER)"
        } else {
            "', FAILOVER)"
        });
    } else {
        sql.push_str(match options.snapshot {
            SlotSnapshot::Nothing => " NOEXPORT_SNAPSHOT",
            SlotSnapshot::Export => " EXPORT_SNAPSHOT",
            SlotSnapshot::Use => " USE_SNAPSHOT",
        });
        if options.two_phase {
            sql.push_str(" TWO_PHASE");
        }
    }
    sql
}

/// Returns the command that drops a slot; with `wait`, once no other session uses it.
pub fn drop_replication_slot(slot: &str, wait: bool) -> String {
    let wait = if wait { " WAIT" } else { "" };
    format!("DROP_REPLICATION_SLOT {}{wait}", quote_identifier(slot))
}

/// Returns the command that starts the stream of a logical slot with options of its plugin.
///
/// The server starts at `start`, or where the slot stands if that is later.
pub fn start_replication(slot: &str, start: Lsn, options: &[(&str, &str)]) -> String {
    let mut sql = format!(
        "START_REPLICATION SLOT {} LOGICAL {start}",
        quote_identifier(slot)
    );
    for (index, (name, value)) in options.iter().enumerate() {
        sql.push_str(if index == 0 { " (" } else { ", " });
        // Writing to a String cannot fail.
        let _ = write!(sql, "{} {}", quote_identifier(name), quoted(value, '\''));
    }
    if !options.is_empty() {
        sql.push(')');
    }
    sql
}

/// Quotes an identifier, for SQL and for replication commands.
///
/// See <https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS>.
pub fn quote_identifier(identifier: &str) -> String {
    quoted(identifier, '"')
}

/// Quotes a string for SQL, whatever `standard_conforming_strings` is.
///
/// See <https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-STRINGS>.
pub fn quote_literal(text: &str) -> String {
    if text.contains('\\') {
        format!("E{}", quoted(&text.replace('\\', "\\\\"), '\''))
    } else {
        quoted(text, '\'')
    }
}

fn quoted(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for character in text.chars() {
        if character == quote {
            out.push(quote);
        }
        out.push(character);
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_inside_are_doubled() {
        assert_eq!(quote_identifier("flow slot\"x"), "\"flow slot\"\"x\"");
        assert_eq!(quote_identifier("a\\b"), "\"a\\b\"");
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal("a\\'b"), "E'a\\\\''b'");
        assert_eq!(quote_literal(""), "''");
    }

    #[test]
    fn slots_are_created_with_the_old_syntax_unless_the_new_one_is_needed() {
        let mut options = CreateSlotOptions::default();
        assert_eq!(
            create_replication_slot("s", &options),
            "CREATE_REPLICATION_SLOT \"s\" LOGICAL \"pgoutput\" NOEXPORT_SNAPSHOT"
        );
        options.temporary = true;
        options.two_phase = true;
        options.snapshot = SlotSnapshot::Use;
        assert_eq!(
            create_replication_slot("s", &options),
            "CREATE_REPLICATION_SLOT \"s\" TEMPORARY LOGICAL \"pgoutput\" USE_SNAPSHOT TWO_PHASE"
        );
        options.failover = true;
        options.snapshot = SlotSnapshot::Export;
        assert_eq!(
            create_replication_slot("s", &options),
            "CREATE_REPLICATION_SLOT \"s\" TEMPORARY LOGICAL \"pgoutput\" \
             (SNAPSHOT 'export', TWO_PHASE, FAILOVER)"
        );
    }

    #[test]
    fn start_replication_quotes_its_options() {
        assert_eq!(
            start_replication("s", Lsn::new(0x1_0000_00ff), &[]),
            "START_REPLICATION SLOT \"s\" LOGICAL 1/FF"
        );
        assert_eq!(
            start_replication(
                "s",
                Lsn::INVALID,
                &[("proto_version", "1"), ("publication_names", "\"it's\\\"")]
            ),
            "START_REPLICATION SLOT \"s\" LOGICAL 0/0 (\"proto_version\" '1', \
             \"publication_names\" '\"it''s\\\"')"
        );
    }

    #[test]
    fn slots_are_dropped_with_or_without_waiting() {
        assert_eq!(
            drop_replication_slot("a\"b", false),
            "DROP_REPLICATION_SLOT \"a\"\"b\""
        );
        assert_eq!(
            drop_replication_slot("s", true),
            "DROP_REPLICATION_SLOT \"s\" WAIT"
        );
        assert_eq!(identify_system(), "IDENTIFY_SYSTEM");
    }
}
