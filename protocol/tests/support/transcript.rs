//! Transcripts of sessions, as text to read and compare.

use std::{error::Error, fmt::Write};

use protocol::{
    DeleteMessage, Event, InsertMessage, LogicalReplicationMessage as Logical, Oid, OldTuple,
    ReplicationMessage, Report, Tuple, TupleData, UpdateMessage, Xid,
};

/// Transcript of a session, with one line for each event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Transcript {
    pub(crate) text: String,
}

impl Transcript {
    pub(crate) fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::DataRow(row) => {
                self.line("DataRow", row.iter().map(bytes_or_null));
            }
            Event::CopyData(data) if !matches!(data.first(), Some(b'w' | b'k')) => {
                self.line("CopyData", [escaped(data)]);
            }
            Event::CopyData(_) => {}
            Event::RowDescription(fields) => {
                self.line(
                    "RowDescription",
                    fields.iter().map(|field| format!("{field:?}")),
                );
            }
            Event::Error(report) => self.report("Error", report),
            Event::Notice(report) => self.report("Notice", report),
            Event::CopyOut(response) | Event::CopyIn(response) | Event::CopyBoth(response) => {
                let name = format!("{event:?}");
                let name = name.split('(').next().unwrap();
                let columns: Vec<_> = response.columns().collect();
                self.line(name, [format!("{:?} {columns:?}", response.format)]);
            }
            other => self.line(&format!("{other:?}"), []),
        }
    }

    pub(crate) fn replication(&mut self, message: &ReplicationMessage<'_>) {
        match message {
            ReplicationMessage::XLogData(xlog_data) => {
                let (start, end) = (xlog_data.wal_start, xlog_data.wal_end);
                let clock = xlog_data.server_clock.as_micros();
                write!(self.text, "XLogData {start} {end} {clock} ").unwrap();
            }
            other => self.line(&format!("{other:?}"), []),
        }
    }

    /// Adds an error of the client's script.
    pub(crate) fn failure(&mut self, error: &dyn Error) {
        self.line(&format!("failed: {error}"), []);
    }

    /// Adds data that arrived after the client had ended the stream.
    pub(crate) fn trailing(&mut self, data: &[u8]) {
        if let Some(tag) = data.first().filter(|tag| matches!(tag, b'w' | b'k')) {
            self.line(&format!("trailing '{}'", tag.escape_ascii()), []);
        }
    }

    /// Completes the line of the XLogData with its message.
    pub(crate) fn logical(&mut self, message: &Logical<'_>) {
        match message {
            Logical::Insert(InsertMessage { xid, relation, new }) => {
                self.row("Insert", *xid, *relation, [("new", Some(*new))]);
            }
            Logical::Update(UpdateMessage {
                xid,
                relation,
                old,
                new,
            }) => {
                let parts = [before(old.as_ref()), ("new", Some(*new))];
                self.row("Update", *xid, *relation, parts);
            }
            Logical::Delete(DeleteMessage { xid, relation, old }) => {
                self.row("Delete", *xid, *relation, [before(Some(old))]);
            }
            Logical::Message(message) => {
                self.line(&format!("{message:?}"), [escaped(message.content)]);
            }
            other => self.line(&format!("{other:?}"), []),
        }
    }

    fn row<'a>(
        &mut self,
        name: &str,
        xid: Option<Xid>,
        relation: Oid,
        parts: impl IntoIterator<Item = (&'static str, Option<Tuple<'a>>)>,
    ) {
        write!(self.text, "{name} {relation}").unwrap();
        if let Some(xid) = xid {
            write!(self.text, " xid {xid}").unwrap();
        }
        for (part, tuple) in parts {
            let Some(tuple) = tuple else { continue };
            write!(self.text, " {part}").unwrap();
            for value in tuple {
                match value {
                    TupleData::Null => self.text.push_str(" | null"),
                    TupleData::UnchangedToast => self.text.push_str(" | unchanged"),
                    TupleData::Text(value) => write!(self.text, " | t{}", escaped(value)).unwrap(),
                    TupleData::Binary(value) => {
                        write!(self.text, " | b{}", escaped(value)).unwrap();
                    }
                }
            }
        }
        self.text.push('\n');
    }

    fn report(&mut self, name: &str, report: &Report<'_>) {
        let fields = report
            .fields()
            .map(|(kind, text)| format!("{}={}", char::from(kind), escaped(text)))
            .collect::<Vec<_>>();
        self.line(name, fields);
    }

    fn line(&mut self, name: &str, parts: impl IntoIterator<Item = String>) {
        self.text.push_str(name);
        for part in parts {
            write!(self.text, " | {part}").unwrap();
        }
        self.text.push('\n');
    }
}

fn before<'a>(old: Option<&OldTuple<'a>>) -> (&'static str, Option<Tuple<'a>>) {
    match old {
        Some(OldTuple::Key(tuple)) => ("key", Some(*tuple)),
        Some(OldTuple::Full(tuple)) => ("old", Some(*tuple)),
        None => ("", None),
    }
}

fn bytes_or_null(value: Option<&[u8]>) -> String {
    value.map_or_else(|| "null".to_owned(), escaped)
}

/// Returns a value with escapes. A long value is truncated: its bytes are in the recording.
fn escaped(value: &[u8]) -> String {
    if value.len() > 200 {
        format!(
            "\"{}\"... {} bytes",
            value[..40].escape_ascii(),
            value.len()
        )
    } else {
        format!("\"{}\"", value.escape_ascii())
    }
}
