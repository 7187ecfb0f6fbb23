//! The `_meta` member of documents, prepared but for its variable numbers.

use std::cell::RefCell;

use crate::json::{self, OutputCursor};

use super::change::Operation;

/// Origin of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Row that a backfill read.
    Backfill {
        /// Number of rows of this table that the backfill read before.
        row: u64,
    },
    /// Change from the replication stream.
    Stream {
        /// Commit time of the transaction, in milliseconds since 1970.
        ts_ms: i64,
        /// The member `loc`: end of the previous commit, position of this change, end of this
        /// transaction.
        loc: [u64; 3],
        /// Transaction ID.
        xid: u32,
    },
}

/// Parts of `_meta` that all documents of a table share, and parts that all changes of a
/// transaction share.
#[derive(Debug, Clone)]
pub struct MetaTemplate {
    /// `"schema":"s",`
    schema: Vec<u8>,
    /// `"table":"t","loc":[`
    table: Vec<u8>,
    /// `,"tag":"x"`, or empty.
    tag: Vec<u8>,
    /// Whether documents of the stream contain the transaction ID.
    transaction_ids: bool,
    /// The member as it was prepared for the last change of the stream.
    transaction: RefCell<Transaction>,
}

/// The member `_meta` of one transaction, complete but for the last digits of a change's position.
#[derive(Debug, Clone, Default)]
struct Transaction {
    /// Values that the member was prepared for: commit time, first and last part of `loc`,
    /// transaction ID, the first digits of the position, and the number of its last digits.
    prepared_for: Option<(i64, [u64; 2], u32, u64, usize)>,
    /// The member of a create, with zeros for the last digits of the position.
    member: PaddedText,
    /// Offset of these digits in the member.
    digits: usize,
    /// Memory in which the member is composed.
    scratch: Vec<u8>,
}

/// Text that is copied as an array of fixed size, which costs less than copying exactly its bytes.
#[derive(Debug, Clone)]
struct PaddedText {
    /// First bytes of the text; nearly always all of them.
    start: [u8; PADDED],
    /// Number of bytes of `start` that belong to the text.
    length: usize,
    /// Bytes of the text that do not fit in `start`.
    remainder: Vec<u8>,
}

/// Size in bytes of the array, enough for schema and table names of usual length.
const PADDED: usize = 192;

impl Default for PaddedText {
    fn default() -> Self {
        Self {
            start: [0; PADDED],
            length: 0,
            remainder: Vec::new(),
        }
    }
}

impl PaddedText {
    /// Replaces the text.
    fn set(&mut self, bytes: &[u8]) {
        let (start, remainder) = bytes.split_at(bytes.len().min(PADDED));
        self.start = [0; PADDED];
        for (target, byte) in self.start.iter_mut().zip(start) {
            *target = *byte;
        }
        self.length = start.len();
        self.remainder.clear();
        self.remainder.extend_from_slice(remainder);
    }

    /// Appends the text.
    #[inline(always)]
    fn write(&self, cursor: &mut OutputCursor<'_>) {
        cursor.push_prefix(&self.start, self.length);
        if !self.remainder.is_empty() {
            cursor.extend(&self.remainder);
        }
    }
}

const START: &[u8] = br#","_meta":{"op":"c","source":{"#;

/// Offset of the operation's letter in the member.
const LETTER: usize = br#","_meta":{"op":""#.len();

impl MetaTemplate {
    /// Prepares the template of a table.
    pub fn new(schema: &str, table: &str, tag: Option<&str>, transaction_ids: bool) -> Self {
        let mut template = Self {
            schema: b"\"schema\":".to_vec(),
            table: b"\"table\":".to_vec(),
            tag: Vec::new(),
            transaction_ids,
            transaction: RefCell::default(),
        };
        json::write_string(schema.as_bytes(), &mut template.schema);
        template.schema.push(b',');
        json::write_string(table.as_bytes(), &mut template.table);
        template.table.extend_from_slice(b",\"loc\":[");
        if let Some(tag) = tag {
            template.tag.extend_from_slice(b",\"tag\":");
            json::write_string(tag.as_bytes(), &mut template.tag);
        }
        template
    }

    /// Appends a comma and the member, without the member `before`, which may follow, and without
    /// the closing brace.
    #[inline(always)]
    pub(super) fn write(
        &self,
        operation: Operation,
        source: &Source,
        cursor: &mut OutputCursor<'_>,
    ) {
        let start = cursor.position();
        match *source {
            Source::Backfill { row } => {
                cursor.extend(START);
                cursor.extend(&self.schema);
                cursor.extend(b"\"snapshot\":true,");
                cursor.extend(&self.table);
                cursor.extend(b"-1,");
                cursor.push_u64(row);
                cursor.extend(b",0]");
                cursor.extend(&self.tag);
                cursor.push(b"}");
            }
            Source::Stream { ts_ms, loc, xid } => {
                let [before, change, end] = loc;
                let first_digits = change / json::EIGHT_DIGITS;
                let (last_digits, count) = if first_digits == 0 {
                    json::up_to_eight_digits(change)
                } else {
                    (json::eight_digits(change % json::EIGHT_DIGITS), 8)
                };
                let prepared_for = Some((ts_ms, [before, end], xid, first_digits, count));
                let mut transaction = self.transaction.borrow_mut();
                if transaction.prepared_for != prepared_for {
                    self.prepare(&mut transaction, source, first_digits, count);
                    transaction.prepared_for = prepared_for;
                }
                transaction.member.write(cursor);
                cursor.overwrite(start + transaction.digits, &last_digits, count);
            }
        }
        let letter = match operation {
            Operation::Create => return,
            Operation::Update => b'u',
            Operation::Delete => b'd',
        };
        if let Some(byte) = cursor.byte_mut(start + LETTER) {
            *byte = letter;
        }
    }

    /// Prepares the member for changes whose position has these first digits and as many last
    /// digits.
    #[inline(never)]
    fn prepare(
        &self,
        transaction: &mut Transaction,
        source: &Source,
        first_digits: u64,
        last_digits: usize,
    ) {
        let Source::Stream {
            ts_ms,
            loc: [before, _, end],
            xid,
        } = *source
        else {
            return;
        };
        let mut member = std::mem::take(&mut transaction.scratch);
        member.clear();
        member.extend_from_slice(START);
        member.extend_from_slice(b"\"ts_ms\":");
        json::write_i64(ts_ms, &mut member);
        member.push(b',');
        member.extend_from_slice(&self.schema);
        member.extend_from_slice(&self.table);
        json::write_u64(before, &mut member);
        member.push(b',');
        if first_digits > 0 {
            json::write_u64(first_digits, &mut member);
        }
        transaction.digits = member.len();
        member.resize(member.len() + last_digits, b'0');
        member.push(b',');
        json::write_u64(end, &mut member);
        member.push(b']');
        if self.transaction_ids {
            member.extend_from_slice(b",\"txid\":");
            json::write_u64(u64::from(xid), &mut member);
        }
        member.extend_from_slice(&self.tag);
        member.push(b'}');
        transaction.member.set(&member);
        transaction.scratch = member;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Buffer;

    fn written(template: &MetaTemplate, operation: Operation, source: Source) -> String {
        let mut out = Buffer::new();
        out.extend_from_slice(b"before");
        let mut cursor = OutputCursor::new(&mut out, 10);
        template.write(operation, &source, &mut cursor);
        cursor.finish();
        String::from_utf8(out["before".len()..].to_vec()).unwrap()
    }

    #[test]
    fn a_backfilled_row_is_marked_as_snapshot_and_sorts_before_all_changes() {
        let template = MetaTemplate::new("shop", "or\"ders", None, true);
        assert_eq!(
            written(&template, Operation::Create, Source::Backfill { row: 7 }),
            r#","_meta":{"op":"c","source":{"schema":"shop","snapshot":true,"table":"or\"ders","loc":[-1,7,0]}"#
        );
    }

    #[test]
    fn a_change_has_time_position_and_the_configured_members() {
        let source = Source::Stream {
            ts_ms: -5,
            loc: [1, 2, u64::MAX],
            xid: 9,
        };
        let template = MetaTemplate::new("s", "t", Some("eu"), true);
        assert_eq!(
            written(&template, Operation::Delete, source),
            r#","_meta":{"op":"d","source":{"ts_ms":-5,"schema":"s","table":"t","loc":[1,2,18446744073709551615],"txid":9,"tag":"eu"}"#
        );
        let template = MetaTemplate::new("s", "t", None, false);
        assert!(!written(&template, Operation::Update, source).contains("txid"));
    }

    #[test]
    fn changes_of_another_transaction_have_their_own_numbers() {
        for length in 1..=63 {
            check_numbers(&"s".repeat(length), &"t".repeat(length));
        }
    }

    /// Checks the numbers of several transactions. With long names, they follow the array of fixed
    /// size or cross its end.
    fn check_numbers(schema: &str, table: &str) {
        let template = MetaTemplate::new(schema, table, None, true);
        let mut seen = std::collections::HashSet::new();
        for (ts_ms, before, change, end, xid) in [
            (1, 2, 3, 4, 5),
            (1, 2, 30, 4, 5),
            (1, 2, 99_999_999, 4, 5),
            (1, 2, 100_000_000, 4, 5),
            (1, 2, 100_000_001, 4, 5),
            (1, 2, u64::MAX, 4, 5),
            (10, 2, 30, 4, 5),
            (10, 20, 30, 4, 5),
            (10, 20, 30, 40, 5),
            (10, 20, 30, 40, 50),
            (1, 2, 3, 4, 6),
        ] {
            let loc = [before, change, end];
            let source = Source::Stream { ts_ms, loc, xid };
            let expected = format!(
                r#","_meta":{{"op":"c","source":{{"ts_ms":{ts_ms},"schema":"{schema}","table":"{table}","loc":[{before},{change},{end}],"txid":{xid}}}"#
            );
            assert_eq!(written(&template, Operation::Create, source), expected);
            assert!(seen.insert(expected));
        }
    }
}
