//! Replication commands, which a walsender accepts as simple queries.
//!
//! Their grammar is not that of SQL: identifiers and strings are quoted as in SQL, but a backslash
//! is never an escape.

use std::fmt::Write;

use crate::lsn::Lsn;

/// Returns the command that identifies the server, and reports its timeline and position.
pub fn identify_system() -> &'static str {
    "IDENTIFY_SYSTEM"
}

/// Options of a new logical replication slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateSlotOptions {
    /// Output plugin.
    pub plugin: String,
    /// Whether the slot is dropped at the end of the session.
    pub temporary: bool,
    /// Use of the snapshot at the slot's consistent point.
    pub snapshot: SlotSnapshot,
    /// Whether prepared transactions are decoded at PREPARE TRANSACTION (servers since 14).
    pub two_phase: bool,
    /// Whether the slot is synchronized to standbys (servers since 17).
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

/// Use of the snapshot at the consistent point of a new slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlotSnapshot {
    /// Discarded.
    #[default]
    Nothing,
    /// Exported for other sessions, until the next command of this session.
    Export,
    /// Used by the current transaction, of which this has to be the first command.
    Use,
}

/// Returns the command that creates a logical replication slot.
///
/// The syntax is that of servers since 10, except for `failover`, which requires the newer one.
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

/// Returns the command that drops a slot. With `wait` the server waits until no session uses it.
pub fn drop_replication_slot(slot: &str, wait: bool) -> String {
    let wait = if wait { " WAIT" } else { "" };
    format!("DROP_REPLICATION_SLOT {}{wait}", quote_identifier(slot))
}

/// Returns the command that starts the stream of a logical slot, with options of the output plugin.
///
/// The server starts at `start`, or at the slot's `confirmed_flush_lsn` if that is later.
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

/// Quotes an identifier for SQL and for replication commands.
///
/// See <https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS>.
pub fn quote_identifier(identifier: &str) -> String {
    quoted(identifier, '"')
}

/// Quotes a string for SQL, independently of `standard_conforming_strings`.
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
