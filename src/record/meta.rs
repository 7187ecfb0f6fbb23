//! The `_meta` member of documents, all but its variable numbers prepared.

use crate::json;

use super::Operation;

/// Where a document comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A row of a backfill: its running number in the table.
    Backfill {
        /// The number of rows of this table that came before.
        row: u64,
    },
    /// A change from the stream.
    Stream {
        /// Commit time of the transaction, in milliseconds since 1970.
        ts_ms: i64,
        /// `loc`: end of the commit before, position of this change, end of this transaction.
        loc: [u64; 3],
        /// The transaction's id.
        xid: u32,
    },
}

/// The parts of `_meta` that are the same for all documents of a table.
#[derive(Debug, Clone)]
pub struct MetaTemplate {
    /// `"schema":"s",`
    schema: Vec<u8>,
    /// `"table":"t","loc":[`
    table: Vec<u8>,
    /// `,"tag":"x"` or nothing.
    tag: Vec<u8>,
    /// Whether documents of the stream show the transaction's id.
    transaction_ids: bool,
}

impl MetaTemplate {
    /// Prepares the template of a table.
    pub fn new(schema: &str, table: &str, tag: Option<&str>, transaction_ids: bool) -> Self {
        let mut template = Self {
            schema: b"\"schema\":".to_vec(),
            table: b"\"table\":".to_vec(),
            tag: Vec::new(),
            transaction_ids,
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

    /// Writes the member up to where `before` may follow: neither that nor the closing brace.
    #[inline]
    pub fn write(&self, operation: Operation, source: Source, out: &mut Vec<u8>) {
        out.extend_from_slice(match operation {
            Operation::Create => b"\"_meta\":{\"op\":\"c\",\"source\":{".as_slice(),
            Operation::Update => b"\"_meta\":{\"op\":\"u\",\"source\":{",
            Operation::Delete => b"\"_meta\":{\"op\":\"d\",\"source\":{",
        });
        match source {
            Source::Backfill { row } => {
                out.extend_from_slice(&self.schema);
                out.extend_from_slice(b"\"snapshot\":true,");
                out.extend_from_slice(&self.table);
                out.extend_from_slice(b"-1,");
                json::write_u64(row, out);
                out.extend_from_slice(b",0]");
            }
            Source::Stream { ts_ms, loc, xid } => {
                out.extend_from_slice(b"\"ts_ms\":");
                json::write_i64(ts_ms, out);
                out.push(b',');
                out.extend_from_slice(&self.schema);
                out.extend_from_slice(&self.table);
                let [before, change, end] = loc;
                json::write_u64(before, out);
                out.push(b',');
                json::write_u64(change, out);
                out.push(b',');
                json::write_u64(end, out);
                out.push(b']');
                if self.transaction_ids {
                    out.extend_from_slice(b",\"txid\":");
                    json::write_u64(u64::from(xid), out);
                }
            }
        }
        out.extend_from_slice(&self.tag);
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(template: &MetaTemplate, operation: Operation, source: Source) -> String {
        let mut out = Vec::new();
        template.write(operation, source, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_backfilled_row_is_a_snapshot_before_all_changes() {
        let template = MetaTemplate::new("shop", "or\"ders", None, true);
        assert_eq!(
            written(&template, Operation::Create, Source::Backfill { row: 7 }),
            r#""_meta":{"op":"c","source":{"schema":"shop","snapshot":true,"table":"or\"ders","loc":[-1,7,0]}"#
        );
    }

    #[test]
    fn a_change_has_its_time_and_place_and_what_was_asked_for() {
        let source = Source::Stream {
            ts_ms: -5,
            loc: [1, 2, u64::MAX],
            xid: 9,
        };
        let template = MetaTemplate::new("s", "t", Some("eu"), true);
        assert_eq!(
            written(&template, Operation::Delete, source),
            r#""_meta":{"op":"d","source":{"ts_ms":-5,"schema":"s","table":"t","loc":[1,2,18446744073709551615],"txid":9,"tag":"eu"}"#
        );
        let template = MetaTemplate::new("s", "t", None, false);
        assert!(!written(&template, Operation::Update, source).contains("txid"));
    }
}
