//! What a server sends, in memory, and the way of its rows from these bytes to Flow frames.

use std::io::Write;

use bytes::BytesMut;
use protocol::{
    BackendMessage, BeginMessage, CommitMessage, Event, Format, LogicalReplicationMessage, Lsn,
    Oid, ParseContext, PgTimestamp, ReplicationMessage, Session, SessionConfig, TransactionStatus,
    TupleArena, TupleData, XLogData, Xid, testing,
};
use source_postgres::flow::Output;
use source_postgres::record::{Change, MetaTemplate, Plan, PlanColumn, PlanOptions, Source};
use source_postgres::value::TypeRegistry;

const RELATION: Oid = Oid(16_402);
const COMMIT_LSN: u64 = 0x1_7A00_0000;
const XID: u32 = 1_234_567;

/// A column: its name and its type.
pub(crate) type ColumnSpec = (&'static str, u32);

/// A value of a row, in its text form.
pub(crate) type Value = Option<String>;

/// Messages of a server about the rows of one table.
pub(crate) struct Stream {
    /// The frames.
    pub(crate) bytes: BytesMut,
    /// How many rows they are about.
    pub(crate) rows: usize,
    /// How the rows are written.
    pub(crate) plan: Plan,
    opening: BytesMut,
    command: &'static str,
    lsn: u64,
}

impl Stream {
    /// Starts a transaction of a replication stream.
    pub(crate) fn replication(columns: &[ColumnSpec]) -> Self {
        let mut stream = Self::new(columns, "START_REPLICATION", |out| {
            testing::copy_response(out, b'W', Format::Text, [])
        });
        stream.message(&LogicalReplicationMessage::Begin(BeginMessage {
            final_lsn: Lsn::from(COMMIT_LSN),
            commit_time: PgTimestamp::from_unix_micros(1_715_941_425_123_456),
            xid: Xid::from(XID),
        }));
        stream
    }

    /// Starts the result of a query.
    pub(crate) fn query(columns: &[ColumnSpec]) -> Self {
        Self::new(columns, "SELECT", |out| testing::row_description(out, []))
    }

    fn new(
        columns: &[ColumnSpec],
        command: &'static str,
        opening: impl Fn(&mut BytesMut) -> Result<(), protocol::EncodeError>,
    ) -> Self {
        let columns: Vec<_> = columns
            .iter()
            .enumerate()
            .map(|(index, (name, type_oid))| PlanColumn {
                name: (*name).to_owned(),
                type_oid: Oid::from(*type_oid),
                index,
                is_key: index == 0,
            })
            .collect();
        let meta = MetaTemplate::new("public", "table", None, false);
        let types = TypeRegistry::default();
        let mut bytes = BytesMut::new();
        opening(&mut bytes).expect("an answer");
        Self {
            plan: Plan::new(&columns, meta, &types, &PlanOptions::default()),
            opening: bytes,
            bytes: BytesMut::new(),
            rows: 0,
            command,
            lsn: COMMIT_LSN - 0x800_0000,
        }
    }

    /// Appends the insertion of a row.
    pub(crate) fn insert(&mut self, row: &[Value]) {
        self.change(|out| testing::insert(out, None, RELATION, values(row)));
    }

    /// Appends an update, with the row before it if the replica identity is FULL. A value that
    /// is as before is not sent again where `toasted` says so.
    pub(crate) fn update(&mut self, old: Option<&[Value]>, new: &[Value], toasted: &[usize]) {
        let mut values: Vec<_> = values(new).collect();
        for index in toasted {
            values[*index] = TupleData::UnchangedToast;
        }
        let old: Option<Vec<_>> = old.map(|old| self::values(old).collect());
        let old = old.as_deref().map(|old| (b'O', old));
        self.change(|out| testing::update(out, None, RELATION, old, values.iter().copied()));
    }

    /// Appends a deletion: all of the row, or what is left of it if only the key is known.
    pub(crate) fn delete(&mut self, row: &[Value], key_only: bool) {
        let part = if key_only { b'K' } else { b'O' };
        self.change(|out| testing::delete(out, None, RELATION, part, values(row)));
    }

    /// Appends a row of a result.
    pub(crate) fn data_row(&mut self, row: &[Value]) {
        let values = row.iter().map(|value| value.as_deref().map(str::as_bytes));
        testing::data_row(&mut self.bytes, values).expect("a row");
        self.rows += 1;
    }

    /// Ends the transaction.
    pub(crate) fn commit(&mut self) {
        self.message(&LogicalReplicationMessage::Commit(CommitMessage {
            commit_lsn: Lsn::from(COMMIT_LSN),
            end_lsn: Lsn::from(COMMIT_LSN + 0x30),
            commit_time: PgTimestamp::from_unix_micros(1_715_941_425_123_456),
        }));
    }

    fn message(&mut self, message: &LogicalReplicationMessage<'_>) {
        self.copy_data(|out| {
            testing::logical_replication_message(out, message, ParseContext::new(1))
        });
    }

    fn change(&mut self, encode: impl Fn(&mut BytesMut) -> Result<(), protocol::EncodeError>) {
        self.rows += 1;
        self.copy_data(encode);
    }

    fn copy_data(&mut self, encode: impl Fn(&mut BytesMut) -> Result<(), protocol::EncodeError>) {
        self.lsn += 0x88;
        let mut data = BytesMut::new();
        encode(&mut data).expect("a message");
        let mut content = BytesMut::new();
        let piece = ReplicationMessage::XLogData(XLogData {
            wal_start: Lsn::from(self.lsn),
            wal_end: Lsn::from(self.lsn),
            server_clock: PgTimestamp::from_unix_micros(1_715_941_425_200_000),
            data: &data,
        });
        testing::replication_message(&mut content, &piece);
        testing::backend_message(&mut self.bytes, &BackendMessage::CopyData(&content))
            .expect("a frame");
    }
}

fn values(row: &[Value]) -> impl Iterator<Item = TupleData<'_>> {
    row.iter().map(|value| match value {
        Some(text) => TupleData::Text(text.as_bytes()),
        None => TupleData::Null,
    })
}

/// What reads a stream.
pub(crate) struct Reader {
    session: Session,
    arena: TupleArena,
}

impl Reader {
    /// Makes a session that is where the stream starts.
    pub(crate) fn new(stream: &Stream) -> Self {
        let mut session = Session::new(SessionConfig::new("user", [7; 24])).expect("a session");
        // AuthenticationOk.
        let mut start = BytesMut::from(&[b'R', 0, 0, 0, 8, 0, 0, 0, 0][..]);
        let ready = BackendMessage::ReadyForQuery(TransactionStatus::Idle);
        testing::backend_message(&mut start, &ready).expect("a frame");
        feed(&mut session, &start);
        session.query(stream.command).expect("an idle session");
        feed(&mut session, &stream.opening);
        Self {
            session,
            arena: TupleArena::default(),
        }
    }

    /// Goes through the stream without looking into its messages' values.
    pub(crate) fn parse(&mut self, stream: &Stream) -> usize {
        let mut rows = 0;
        let mut rest = &stream.bytes[..];
        while let Some((size, event)) = self.session.handle_input(rest).expect("a message") {
            rest = &rest[size..];
            rows += usize::from(match message(&event, &self.arena) {
                Some((_, message)) => !matches!(
                    message,
                    LogicalReplicationMessage::Begin(_) | LogicalReplicationMessage::Commit(_)
                ),
                None => true,
            });
            self.arena.reset();
        }
        rows
    }

    /// Writes a document for each row of the stream.
    #[inline(never)]
    pub(crate) fn write<W: Write>(&mut self, stream: &Stream, output: &mut Output<W>) -> usize {
        let (mut ts_ms, mut final_lsn, mut last) = (0, Lsn::INVALID, 0);
        let mut rows = 0;
        let mut rest = &stream.bytes[..];
        loop {
            // What is large is looked at where it is: moved, it takes the way over memory.
            let read = self.session.handle_input(rest);
            match &read {
                Ok(Some((size, Event::CopyData(data)))) => {
                    rest = &rest[*size..];
                    let Ok(ReplicationMessage::XLogData(piece)) = &ReplicationMessage::parse(data)
                    else {
                        continue;
                    };
                    let message = &LogicalReplicationMessage::parse(
                        piece.data,
                        ParseContext::new(1),
                        &self.arena,
                    );
                    let Ok(message) = message else {
                        panic!("a message of pgoutput is malformed");
                    };
                    if let LogicalReplicationMessage::Begin(begin) = message {
                        (ts_ms, final_lsn) = (begin.commit_time.unix_millis(), begin.final_lsn);
                    }
                    let change = &Change::from_message(message, &self.arena);
                    let Some(change) = change else {
                        continue;
                    };
                    last = piece.wal_start.as_u64().max(last + 1);
                    let source = Source::Stream {
                        ts_ms,
                        loc: [COMMIT_LSN - 0x900_0000, last, final_lsn.as_u64()],
                        xid: XID,
                    };
                    emit(stream, change, source, output);
                }
                Ok(Some((size, Event::DataRow(row)))) => {
                    rest = &rest[*size..];
                    let source = Source::Backfill { row: rows as u64 };
                    let change = Change::from_row(RELATION, row, &self.arena);
                    emit(stream, &change, source, output);
                }
                Ok(Some((size, _))) => {
                    rest = &rest[*size..];
                    continue;
                }
                Ok(None) => return rows,
                Err(error) => panic!("the stream cannot be read: {error}"),
            }
            rows += 1;
            self.arena.reset();
        }
    }
}

#[inline(always)]
fn emit<W: Write>(stream: &Stream, change: &Change<'_>, source: Source, output: &mut Output<W>) {
    let mark = output.begin_captured(1);
    let written = stream.plan.write(change, source, output.buffer());
    written.expect("a document");
    output.end_captured(mark).expect("a frame");
}

/// Returns what a CopyData carries, and where it stands.
#[inline]
fn message<'a>(
    event: &Event<'a>,
    arena: &'a TupleArena,
) -> Option<(Lsn, LogicalReplicationMessage<'a>)> {
    let Event::CopyData(data) = event else {
        return None;
    };
    match ReplicationMessage::parse(data).expect("a replication message") {
        ReplicationMessage::XLogData(data) => Some((
            data.wal_start,
            LogicalReplicationMessage::parse(data.data, ParseContext::new(1), arena)
                .expect("a message of pgoutput"),
        )),
        _ => None,
    }
}

fn feed(session: &mut Session, mut bytes: &[u8]) {
    while let Some((size, _)) = session.handle_input(bytes).expect("a message") {
        bytes = &bytes[size..];
    }
}
