//! Messages of a server, generated in memory, and the code that turns their rows into Flow frames.

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

/// Name and type OID of a column.
pub(crate) type ColumnSpec = (&'static str, u32);

/// Value of a row in text form; `None` is NULL.
pub(crate) type Value = Option<String>;

/// Messages that a server sends about the rows of one table.
pub(crate) struct Stream {
    /// The messages, framed.
    pub(crate) bytes: BytesMut,
    /// Number of rows that the messages are about.
    pub(crate) rows: usize,
    /// Plan by which the rows are written.
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

    /// Appends an update, with the old row if the replica identity is FULL. The columns in
    /// `toasted` are sent as unchanged TOAST values.
    pub(crate) fn update(&mut self, old: Option<&[Value]>, new: &[Value], toasted: &[usize]) {
        let mut values: Vec<_> = values(new).collect();
        for index in toasted {
            values[*index] = TupleData::UnchangedToast;
        }
        let old: Option<Vec<_>> = old.map(|old| self::values(old).collect());
        let old = old.as_deref().map(|old| (b'O', old));
        self.change(|out| testing::update(out, None, RELATION, old, values.iter().copied()));
    }

    /// Appends a deletion, with the whole old row or with its key only.
    pub(crate) fn delete(&mut self, row: &[Value], key_only: bool) {
        let part = if key_only { b'K' } else { b'O' };
        self.change(|out| testing::delete(out, None, RELATION, part, values(row)));
    }

    /// Appends a row of a query's result.
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

/// Session and arena that read a stream.
pub(crate) struct Reader {
    session: Session,
    arena: TupleArena,
}

impl Reader {
    /// Creates a session that has received everything before the rows.
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

    /// Parses the messages of the stream without reading their values, and returns the number of
    /// rows.
    pub(crate) fn parse(&mut self, stream: &Stream) -> usize {
        let mut rows = 0;
        let mut remaining = &stream.bytes[..];
        while let Some((size, event)) = self.session.handle_input(remaining).expect("a message") {
            remaining = &remaining[size..];
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

    /// Writes a document for each row of the stream, and returns the number of rows.
    #[inline(never)]
    pub(crate) fn write<W: Write>(&mut self, stream: &Stream, output: &mut Output<W>) -> usize {
        let (mut ts_ms, mut final_lsn, mut last) = (0, Lsn::INVALID, 0);
        let mut rows = 0;
        let mut remaining = &stream.bytes[..];
        loop {
            // Large values are borrowed in place: moving them would copy them through memory.
            let read = self.session.handle_input(remaining);
            match &read {
                Ok(Some((size, Event::CopyData(data)))) => {
                    remaining = &remaining[*size..];
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
                    remaining = &remaining[*size..];
                    let source = Source::Backfill { row: rows as u64 };
                    let change = Change::from_row(RELATION, row, &self.arena);
                    emit(stream, &change, source, output);
                }
                Ok(Some((size, _))) => {
                    remaining = &remaining[*size..];
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

/// Returns the message that a CopyData carries, and its position in the log.
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
