//! Scenarios of the sessions that were recorded from real servers.
//!
//! A scenario depends only on the messages of the server, so playing it against the recorded bytes
//! of the server must reproduce the recorded bytes of the client.

use std::error::Error;

use bytes::BytesMut;
use protocol::{
    Event, Format, HotStandbyFeedback, LogicalReplicationMessage as Logical, Lsn, Oid,
    ParseContext, PgTimestamp, ProtocolError, ProtocolVersion, ReplicationMessage, Session,
    SessionConfig, StandbyStatusUpdate, TlsRequest, TupleArena, Xid, command,
};

use super::transcript::Transcript;

/// Action of the client when the server is ready.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Query(String),
    Extended(Vec<Request>),
    /// START_REPLICATION, which the client ends after a number of completed transactions.
    Replicate {
        command: String,
        context: ParseContext,
        transactions: usize,
    },
}

/// Message of the extended query protocol.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Parse(&'static str, &'static str, Vec<Oid>),
    Bind(
        &'static str,
        &'static str,
        Vec<Option<&'static str>>,
        Format,
    ),
    DescribePortal(&'static str),
    DescribeStatement(&'static str),
    Execute(&'static str, u32),
    ClosePortal(&'static str),
    CloseStatement(&'static str),
    Flush,
    Sync,
}

/// Client's part in a COPY FROM STDIN.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CopyIn {
    Data(&'static [u8]),
    Fail(&'static str),
}

/// Scenario of a recorded session.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Major version of the server.
    pub(crate) server: u32,
    /// Whether the connection uses a Unix socket rather than TCP.
    pub(crate) unix_socket: bool,
    pub(crate) config: SessionConfig,
    /// Hash of the server's certificate, for channel binding.
    pub(crate) server_end_point: Option<Vec<u8>>,
    pub(crate) copy_in: CopyIn,
    /// Whether each transaction of a stream is acknowledged, with a request for a keepalive.
    pub(crate) acknowledge: bool,
    pub(crate) actions: Vec<Action>,
}

/// Nonce in all recordings.
pub(crate) const NONCE: [u8; 24] = *b"a nonce of 24 fixed byte";

fn scenario(name: &'static str, server: u32, user: &str) -> Scenario {
    let mut config = SessionConfig::new(user, NONCE);
    config.database = Some("postgres".to_owned());
    config
        .parameters
        .push(("application_name".to_owned(), "recorder".to_owned()));
    Scenario {
        name,
        server,
        unix_socket: false,
        config,
        server_end_point: None,
        copy_in: CopyIn::Data(b""),
        acknowledge: false,
        actions: Vec::new(),
    }
}

impl Scenario {
    fn password(mut self, password: &str) -> Self {
        self.config.password = Some(password.into());
        self
    }

    fn tls(mut self) -> Self {
        self.config.tls = TlsRequest::Request;
        self
    }

    fn query(mut self, sql: &str) -> Self {
        self.actions.push(Action::Query(sql.to_owned()));
        self
    }

    fn extended(mut self, requests: impl IntoIterator<Item = Request>) -> Self {
        self.actions
            .push(Action::Extended(requests.into_iter().collect()));
        self
    }

    fn copy_in(mut self, copy_in: CopyIn) -> Self {
        self.copy_in = copy_in;
        self
    }

    fn replication(mut self) -> Self {
        self.config
            .parameters
            .push(("replication".to_owned(), "database".to_owned()));
        self
    }

    fn stream(
        self,
        slot: &str,
        context: ParseContext,
        options: &[(&str, &str)],
        transactions: usize,
    ) -> Self {
        let version = context.protocol_version.to_string();
        let mut all = vec![
            ("proto_version", version.as_str()),
            ("publication_names", "\"recorded\""),
        ];
        all.extend_from_slice(options);
        let command = command::start_replication(slot, Lsn::INVALID, &all);
        let mut this = self.replication();
        this.actions.push(Action::Replicate {
            command,
            context,
            transactions,
        });
        this
    }
}

/// Returns all scenarios. The hash is that of the recorded server's certificate.
pub(crate) fn all(server_end_point: Vec<u8>) -> Vec<Scenario> {
    let mut all = startups(server_end_point);
    all.extend(queries());
    all.extend(copies());
    all.extend(streams());
    all
}

fn startups(server_end_point: Vec<u8>) -> Vec<Scenario> {
    let mut plus = scenario("startup_scram_plus", 15, "scram_user")
        .password("pencil")
        .tls();
    plus.server_end_point = Some(server_end_point);
    let mut refused = scenario("startup_tls_refused_by_unix_socket", 15, "postgres").tls();
    refused.unix_socket = true;
    let mut database = scenario("startup_unknown_database", 15, "postgres");
    database.config.database = Some("no such database".to_owned());
    let mut parameter = scenario("startup_invalid_parameter", 15, "postgres");
    parameter
        .config
        .parameters
        .push(("statement_timeout".to_owned(), "soon".to_owned()));
    let mut clear = scenario("startup_cleartext", 15, "clear_user").password("pencil");
    clear.config.allow_cleartext = true;
    let mut negotiated = scenario("startup_version_negotiated_down", 15, "postgres");
    negotiated.config.protocol_version = ProtocolVersion::V3_2;
    negotiated
        .config
        .parameters
        .push(("_pq_.fruit".to_owned(), "apple".to_owned()));
    let mut newest = scenario("startup_protocol_3_2_long_key", 18, "postgres");
    newest.config.protocol_version = ProtocolVersion::V3_2;
    vec![
        scenario("startup_trust", 15, "postgres"),
        clear,
        scenario("startup_md5", 15, "md5_user").password("pencil"),
        scenario("startup_scram", 15, "scram_user").password("pencil"),
        // SASLprep removes the soft hyphen and decomposes the ligature.
        scenario("startup_scram_saslprep", 15, "prep_user").password("p\u{ad}encil \u{fb01}\u{aa}"),
        plus,
        scenario("startup_scram_tls_without_binding", 15, "scram_user")
            .password("pencil")
            .tls(),
        refused,
        scenario("startup_wrong_password", 15, "scram_user").password("crayon"),
        scenario("startup_rejected_by_hba", 15, "rejected_user"),
        database,
        parameter,
        negotiated,
        newest,
    ]
}

fn queries() -> Vec<Scenario> {
    use Request::{
        Bind, ClosePortal, CloseStatement, DescribePortal, DescribeStatement, Execute, Flush,
        Parse, Sync,
    };
    vec![
        scenario("simple_query", 15, "postgres")
            .query(
                "SELECT 1 AS one, NULL::text AS nothing, '' AS empty, 'h\u{e4}' AS text, \
                 '{1,2}'::int[] AS list, relname FROM pg_class WHERE oid = 1259",
            )
            .query("SELECT i FROM generate_series(1, 3) i; SELECT 'second'; BEGIN")
            .query("SELECT FROM generate_series(1, 2)")
            .query("ROLLBACK")
            .query("")
            .query("SET application_name = 'renamed'")
            .query("LISTEN channel; NOTIFY channel, 'payload'")
            .query("SELECT 1 WHERE false"),
        scenario("simple_query_errors_and_notices", 15, "postgres")
            .query("SELECT no_such_column FROM pg_class")
            .query("BEGIN; INSERT INTO strict VALUES (1, 'a'); INSERT INTO strict VALUES (1, 'b')")
            .query("SELECT 1")
            .query("ROLLBACK")
            .query("INSERT INTO strict VALUES (2, NULL)")
            .query(
                "DO $$ BEGIN RAISE NOTICE 'look' USING HINT = 'a hint', DETAIL = 'a detail', \
                 ERRCODE = 'ABCDE', COLUMN = 'c', CONSTRAINT = 'k', DATATYPE = 'd', TABLE = 't', \
                 SCHEMA = 's'; END $$",
            )
            .query("DO $$ BEGIN EXECUTE 'SELECT 1/0'; END $$")
            .query("SELECT 1; SELECT 1/0; SELECT 2"),
        scenario("ended_by_the_server", 15, "postgres")
            .query("SELECT pg_terminate_backend(pg_backend_pid())"),
        scenario("extended_query", 15, "postgres")
            .extended([
                Parse("s", "SELECT $1::int + 1, $2::text", vec![Oid(23), Oid(0)]),
                DescribeStatement("s"),
                Bind("", "s", vec![Some("41"), None], Format::Text),
                DescribePortal(""),
                Execute("", 0),
                Sync,
            ])
            .extended([
                Bind("p", "s", vec![Some("-1"), Some("text")], Format::Binary),
                DescribePortal("p"),
                Execute("p", 0),
                ClosePortal("p"),
                CloseStatement("s"),
                Flush,
                Sync,
            ])
            .extended([
                Parse("", "SELECT i FROM generate_series(1, 5) i", vec![]),
                Bind("", "", vec![], Format::Text),
                Execute("", 2),
                Execute("", 2),
                Execute("", 2),
                Sync,
            ])
            .extended([
                Parse("", "CREATE TEMP TABLE scratch (a int)", vec![]),
                DescribeStatement(""),
                Bind("", "", vec![], Format::Text),
                DescribePortal(""),
                Execute("", 0),
                Parse("", "", vec![]),
                Bind("", "", vec![], Format::Text),
                Execute("", 0),
                Sync,
            ]),
        // Three sequences are sent at once, of which the second fails.
        scenario("extended_query_pipelined", 15, "postgres").extended([
            Parse("", "SELECT 'first'", vec![]),
            Bind("", "", vec![], Format::Text),
            Execute("", 0),
            Sync,
            Parse("", "SELECT 1/$1::int", vec![]),
            Bind("", "", vec![Some("0")], Format::Text),
            Execute("", 0),
            ClosePortal(""),
            Sync,
            Parse("", "SELECT 'third'", vec![]),
            Bind("", "", vec![], Format::Text),
            Execute("", 0),
            Sync,
        ]),
    ]
}

fn copies() -> Vec<Scenario> {
    use Request::{Bind, Execute, Flush, Parse, Sync};
    vec![
        scenario("copy_out", 15, "postgres")
            .query("COPY (SELECT i, 'row ' || i, NULL FROM generate_series(1, 3) i) TO STDOUT")
            .query("COPY (SELECT 1, 'x'::text) TO STDOUT (FORMAT binary)")
            .query("COPY (SELECT 1 / (2 - i) FROM generate_series(1, 3) i) TO STDOUT")
            .extended([
                Parse("", "COPY (VALUES (1), (2)) TO STDOUT", vec![]),
                Bind("", "", vec![], Format::Text),
                Execute("", 0),
                Sync,
            ]),
        scenario("copy_in", 15, "postgres")
            .copy_in(CopyIn::Data(b"10\tten\n11\televen\n"))
            .query("BEGIN; COPY strict FROM STDIN; SELECT count(*) FROM strict")
            .query("ROLLBACK")
            .extended([
                Parse("", "COPY strict FROM STDIN", vec![]),
                Bind("", "", vec![], Format::Text),
                Execute("", 0),
                Flush,
            ])
            .query("DELETE FROM strict WHERE a IN (10, 11)"),
        scenario("copy_in_refused_by_the_server", 15, "postgres")
            .copy_in(CopyIn::Data(b"not a number\n"))
            .query("COPY strict FROM STDIN"),
        scenario("copy_in_failed_by_the_client", 15, "postgres")
            .copy_in(CopyIn::Fail("changed my mind"))
            .query("COPY strict FROM STDIN"),
    ]
}

fn streams() -> Vec<Scenario> {
    let version = ParseContext::new;
    let mut parallel = version(4);
    parallel.parallel_streaming = true;
    let streaming = ("streaming", "on");
    let mut acknowledged =
        scenario("stream_acknowledged", 15, "postgres").stream("messages", version(1), &[], 2);
    acknowledged.acknowledge = true;
    vec![
        scenario("replication_commands", 15, "postgres")
            .replication()
            .query(command::identify_system())
            .query(&command::create_replication_slot(
                "made",
                &Default::default(),
            ))
            .query(&command::drop_replication_slot("made", true))
            .query(&command::drop_replication_slot("made", false))
            .query("SHOW server_version_num"),
        scenario("stream_text", 15, "postgres").stream("text", version(1), &[], 9),
        scenario("stream_binary", 15, "postgres").stream(
            "binary",
            version(1),
            &[("binary", "true")],
            9,
        ),
        scenario("stream_messages_and_origin", 15, "postgres").stream(
            "messages",
            version(1),
            &[("messages", "true")],
            4,
        ),
        acknowledged,
        scenario("stream_in_progress_v2", 15, "postgres").stream(
            "progress2",
            version(2),
            &[streaming, ("messages", "true")],
            4,
        ),
        scenario("stream_two_phase_v3", 15, "postgres").stream(
            "prepared",
            version(3),
            &[streaming, ("two_phase", "true")],
            5,
        ),
        scenario("stream_parallel_v4", 18, "postgres").stream(
            "progress4",
            parallel,
            &[("streaming", "parallel")],
            3,
        ),
        scenario("stream_of_a_missing_slot", 15, "postgres").stream("nowhere", version(1), &[], 1),
        scenario("stream_failed_by_the_server", 15, "postgres")
            .replication()
            .stream_missing_publication("unpublished"),
    ]
}

impl Scenario {
    /// Streams from a publication that does not exist, which the server detects at a change.
    fn stream_missing_publication(mut self, slot: &str) -> Self {
        let options = [("proto_version", "1"), ("publication_names", "missing")];
        let command = command::start_replication(slot, Lsn::INVALID, &options);
        let context = ParseContext::new(1);
        self.actions.push(Action::Replicate {
            command,
            context,
            transactions: 1,
        });
        self
    }
}

/// Client that plays a scenario and writes a transcript.
#[derive(Debug)]
pub(crate) struct Player {
    pub(crate) session: Session,
    pub(crate) transcript: Transcript,
    scenario: Scenario,
    next: usize,
    stream: Option<(ParseContext, usize)>,
}

impl Player {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let session = Session::new(scenario.config.clone()).expect("a session starts");
        Self {
            session,
            transcript: Transcript::default(),
            scenario,
            next: 0,
            stream: None,
        }
    }

    /// Handles all complete messages of the input. Returns the number of consumed bytes.
    pub(crate) fn play(&mut self, input: &[u8]) -> Result<usize, ProtocolError> {
        let mut consumed = 0;
        while let Some((size, event)) = self.session.handle_input(&input[consumed..])? {
            consumed += size;
            // A recorded session never fails here, a mutated one may.
            if let Err(error) = self.react(event) {
                self.transcript.failure(&*error);
            }
            if consumed == input.len() {
                break;
            }
        }
        Ok(consumed)
    }

    fn react(&mut self, event: Event<'_>) -> Result<(), Box<dyn Error>> {
        self.transcript.event(&event);
        match event {
            Event::TlsAccepted => {
                let hash = self.scenario.server_end_point.clone();
                self.session.handle_tls_established(hash)?;
            }
            Event::TlsRefused => {
                self.session.handle_tls_declined()?;
            }
            Event::Ready(_) if self.session.is_ready() => self.act()?,
            Event::CopyIn(_) => {
                match self.scenario.copy_in {
                    CopyIn::Data(data) => {
                        self.session.copy_data(data)?;
                        self.session.copy_done()?;
                    }
                    CopyIn::Fail(reason) => {
                        self.session.copy_fail(reason)?;
                    }
                }
                // The extended query protocol needs a Sync now. In a simple query the call fails.
                let _ = self.session.sync();
            }
            Event::CopyData(data) => self.stream(data)?,
            _ => {}
        }
        Ok(())
    }

    fn act(&mut self) -> Result<(), ProtocolError> {
        let action = self.scenario.actions.get(self.next).cloned();
        self.next += 1;
        let session = &mut self.session;
        match action {
            None => session.terminate(),
            Some(Action::Query(sql)) => session.query(&sql),
            Some(Action::Replicate {
                command,
                context,
                transactions,
            }) => {
                self.stream = Some((context, transactions));
                session.query(&command)
            }
            Some(Action::Extended(requests)) => {
                requests.iter().try_for_each(|request| match request {
                    Request::Parse(name, sql, types) => session.parse(name, sql, types),
                    Request::Bind(portal, name, values, format) => {
                        let values: Vec<_> = values
                            .iter()
                            .map(|value| value.map(str::as_bytes))
                            .collect();
                        session.bind(portal, name, &values, *format)
                    }
                    Request::DescribePortal(name) => session.describe_portal(name),
                    Request::DescribeStatement(name) => session.describe_statement(name),
                    Request::Execute(name, rows) => session.execute(name, *rows),
                    Request::ClosePortal(name) => session.close_portal(name),
                    Request::CloseStatement(name) => session.close_statement(name),
                    Request::Flush => session.flush(),
                    Request::Sync => session.sync(),
                })
            }
        }
    }

    fn stream(&mut self, data: &[u8]) -> Result<(), Box<dyn Error>> {
        let Some((context, _)) = &mut self.stream else {
            self.transcript.trailing(data);
            return Ok(());
        };
        let message = ReplicationMessage::parse(data)?;
        self.transcript.replication(&message);
        match message {
            ReplicationMessage::PrimaryKeepalive(keepalive) if keepalive.reply_requested => {
                // This fails if the client's half is closed already.
                let _ = self.update(keepalive.wal_end, Lsn::INVALID);
            }
            ReplicationMessage::XLogData(xlog_data) => {
                let arena = TupleArena::default();
                let message = Logical::parse(xlog_data.data, *context, &arena)?;
                self.transcript.logical(&message);
                match message {
                    Logical::StreamStart(_) => context.in_stream_block = true,
                    Logical::StreamStop => context.in_stream_block = false,
                    _ => {}
                }
                let ends = match message {
                    Logical::Commit(_)
                    | Logical::Prepare(_)
                    | Logical::StreamCommit(_)
                    | Logical::StreamPrepare(_)
                    | Logical::CommitPrepared(_)
                    | Logical::RollbackPrepared(_) => true,
                    Logical::StreamAbort(abort) => abort.xid == abort.subxid,
                    _ => false,
                };
                if ends && self.scenario.acknowledge {
                    self.update(xlog_data.wal_end, xlog_data.wal_end)?;
                }
                if ends && let Some((_, transactions)) = &mut self.stream {
                    *transactions -= 1;
                    if *transactions == 0 {
                        self.stream = None;
                        self.session.copy_done()?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn update(&mut self, write_lsn: Lsn, flush_lsn: Lsn) -> Result<(), ProtocolError> {
        let acknowledge = self.scenario.acknowledge;
        let update = StandbyStatusUpdate {
            write_lsn,
            flush_lsn,
            apply_lsn: flush_lsn,
            clock: PgTimestamp(0),
            reply_requested: acknowledge,
        };
        let mut content = BytesMut::new();
        update.encode(&mut content);
        self.session.copy_data(&content)?;
        if acknowledge {
            let feedback = HotStandbyFeedback {
                clock: PgTimestamp(0),
                xmin: Xid::INVALID,
                xmin_epoch: 0,
                catalog_xmin: Xid::INVALID,
                catalog_xmin_epoch: 0,
            };
            content.clear();
            feedback.encode(&mut content);
            self.session.copy_data(&content)?;
        }
        Ok(())
    }
}
