use bytes::BytesMut;

use super::*;
use crate::{
    AuthenticationError, BackendMessage, DecodeErrorKind, EncodeError, Fault, Format, ProcessId,
    ServerError, Severity,
    testing::{
        authentication_sasl, backend_message, copy_response, data_row, error_response,
        negotiate_protocol_version, notice_response, row_description,
    },
};

const NONCE: [u8; 24] = [7; 24];

fn config() -> SessionConfig {
    let mut config = SessionConfig::new("user", NONCE);
    config.password = Some("pencil".into());
    config
}

/// Messages of a scripted server.
#[derive(Default)]
struct Server(BytesMut);

impl Server {
    fn encode(mut self, encode: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>) -> Self {
        encode(&mut self.0).unwrap();
        self
    }

    fn send(self, message: BackendMessage<'_>) -> Self {
        self.encode(|out| backend_message(out, &message))
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        self.encode(|out| {
            out.extend_from_slice(bytes);
            Ok(())
        })
    }

    fn authentication(self, code: u8, data: &[u8]) -> Self {
        let length = u8::try_from(data.len() + 8).unwrap();
        self.bytes(&[&[b'R', 0, 0, 0, length, 0, 0, 0, code], data].concat())
    }

    fn ready(self) -> Self {
        self.send(BackendMessage::ReadyForQuery(TransactionStatus::Idle))
    }

    fn copy(self, tag: u8) -> Self {
        self.encode(|out| copy_response(out, tag, Format::Text, []))
    }

    fn complete(self) -> Self {
        self.send(BackendMessage::CommandComplete("DONE")).ready()
    }

    fn error(self, severity: &str) -> Self {
        let fields = [
            (b'S', severity),
            (b'V', severity),
            (b'C', "XX000"),
            (b'M', "oops"),
        ];
        self.encode(|out| error_response(out, fields))
    }

    fn columns(self) -> Self {
        self.encode(|out| row_description(out, []))
    }

    fn row(self) -> Self {
        self.encode(|out| data_row(out, [None, Some(&b"value"[..])]))
    }

    /// Passes all messages to the session and returns the names of its events.
    fn play(self, session: &mut Session) -> Result<Vec<String>, ProtocolError> {
        let mut input = &self.0[..];
        let mut events = Vec::new();
        while let Some((size, event)) = session.handle_input(input)? {
            input = &input[size..];
            let name = format!("{event:?}");
            events.push(name.split(['(', ' ']).next().unwrap().to_owned());
        }
        assert_eq!(input.len(), 0, "the session consumes all bytes");
        Ok(events)
    }

    fn fail(self, session: &mut Session) -> ProtocolError {
        let error = self.play(session).unwrap_err();
        assert!(session.is_closed());
        assert!(!session.is_ready());
        error
    }
}

fn server() -> Server {
    Server::default()
}

/// Creates a session that is ready and has no output.
fn established() -> Session {
    let mut session = Session::new(config()).unwrap();
    let server = server()
        .authentication(0, &[])
        .bytes(b"K\0\0\0\x0c\0\0\0\x2aabcd")
        .ready();
    assert_eq!(
        server.play(&mut session).unwrap(),
        ["Authenticated", "BackendKeyData", "Ready"]
    );
    assert!(session.is_ready());
    sent(&mut session);
    session
}

fn sent(session: &mut Session) -> Vec<u8> {
    let sent = session.poll_transmit().unwrap_or_default().to_vec();
    assert_eq!(session.poll_transmit(), None);
    sent
}

fn requesting_tls() -> Session {
    let mut config = config();
    config.tls = TlsRequest::Request;
    let mut session = Session::new(config).unwrap();
    assert_eq!(sent(&mut session), [0, 0, 0, 8, 4, 210, 22, 47]);
    assert_eq!(session.needed(&[]), 1);
    session
}

#[test]
fn startup_message_names_user_database_and_parameters() {
    let mut config = config();
    config.database = Some("base".to_owned());
    config
        .parameters
        .push(("replication".to_owned(), "database".to_owned()));
    let mut session = Session::new(config).unwrap();
    let expected = b"\0\0\0\x36\0\x03\0\0user\0user\0database\0base\0replication\0database\0\0";
    assert_eq!(sent(&mut session), expected);
}

#[test]
fn start_up_parameters_with_a_zero_byte_are_refused() {
    let mut config = config();
    config
        .parameters
        .push(("application_name".to_owned(), "a\0b".to_owned()));
    let error = Session::new(config).unwrap_err();
    assert!(matches!(
        error,
        ProtocolError::Encode(EncodeError::ZeroByte(_))
    ));
    assert_eq!(error.fault(), Fault::Caller);
}

#[test]
fn tls_is_requested_and_accepted() {
    let mut session = requesting_tls();
    assert_eq!(
        session.handle_input(b"S"),
        Ok(Some((1, Event::TlsAccepted)))
    );
    assert_eq!(session.handle_input(b""), Ok(None));
    assert_eq!(sent(&mut session), b"");
    assert!(session.handle_tls_declined().is_err());
    session.handle_tls_established(None).unwrap();
    assert_eq!(sent(&mut session), b"\0\0\0\x13\0\x03\0\0user\0user\0\0");
    assert!(session.handle_tls_established(None).is_err());
    let events = server()
        .authentication(0, &[])
        .ready()
        .play(&mut session)
        .unwrap();
    assert_eq!(events, ["Authenticated", "Ready"]);
}

#[test]
fn tls_is_requested_and_refused() {
    let mut session = requesting_tls();
    assert_eq!(session.handle_input(b"N"), Ok(Some((1, Event::TlsRefused))));
    assert_eq!(sent(&mut session), b"");
    assert!(session.handle_tls_established(None).is_err());
    session.handle_tls_declined().unwrap();
    assert_eq!(sent(&mut session), b"\0\0\0\x13\0\x03\0\0user\0user\0\0");
}

#[test]
fn bytes_before_the_tls_handshake_are_an_error() {
    for answer in [b"SR", b"NR"] {
        let mut session = requesting_tls();
        assert_eq!(
            session.handle_input(answer),
            Err(ProtocolError::BytesBeforeTls)
        );
        assert!(session.is_closed());
    }
    let mut session = requesting_tls();
    session.handle_input(b"S").unwrap();
    assert_eq!(
        session.handle_input(b"R"),
        Err(ProtocolError::BytesBeforeTls)
    );
    assert!(session.handle_tls_established(None).is_err());
}

#[test]
fn other_answers_to_ssl_request_are_errors() {
    let mut session = requesting_tls();
    let error = session.handle_input(b"E\0\0\0\x0aerror").unwrap_err();
    assert_eq!(error, ProtocolError::TlsAnswer(b'E'));
    assert!(error.to_string().contains("with an error"));
    assert_eq!(
        requesting_tls().handle_input(b"G"),
        Err(ProtocolError::TlsAnswer(b'G'))
    );
}

#[test]
fn a_clear_text_password_needs_tls_or_permission() {
    let refused = AuthenticationError::ClearTextRefused.into();
    let mut session = Session::new(config()).unwrap();
    assert_eq!(server().authentication(3, &[]).fail(&mut session), refused);

    let mut config = config();
    config.allow_cleartext = true;
    let mut session = Session::new(config).unwrap();
    sent(&mut session);
    server().authentication(3, &[]).play(&mut session).unwrap();
    assert_eq!(sent(&mut session), b"p\0\0\0\x0bpencil\0");

    let mut session = requesting_tls();
    session.handle_input(b"S").unwrap();
    session.handle_tls_established(None).unwrap();
    sent(&mut session);
    server().authentication(3, &[]).play(&mut session).unwrap();
    assert_eq!(sent(&mut session), b"p\0\0\0\x0bpencil\0");

    let mut session = requesting_tls();
    session.handle_input(b"N").unwrap();
    session.handle_tls_declined().unwrap();
    assert_eq!(server().authentication(3, &[]).fail(&mut session), refused);
}

#[test]
fn a_missing_password_is_reported_for_every_method() {
    for code in [3, 5, 10] {
        for password in [None, Some("".into())] {
            let mut config = config();
            config.password = password;
            config.allow_cleartext = true;
            let mut session = Session::new(config).unwrap();
            let data: &[u8] = match code {
                3 => b"",
                5 => b"salt",
                _ => b"SCRAM-SHA-256\0\0",
            };
            let error = server().authentication(code, data).fail(&mut session);
            assert_eq!(error, AuthenticationError::PasswordMissing.into());
            assert_eq!(error.fault(), Fault::Configuration);
        }
    }
}

#[test]
fn unsupported_methods_are_refused_by_name() {
    for (code, data, name) in [
        (2, &b""[..], "Kerberos V5"),
        (4, b"ab", "crypt"),
        (6, b"", "SCM credential"),
        (7, b"", "GSSAPI"),
        (9, b"", "SSPI"),
        (10, b"OAUTHBEARER\0\0", "OAUTHBEARER"),
        (10, b"A\0B\0\0", "A, B"),
    ] {
        let mut session = Session::new(config()).unwrap();
        let error = server().authentication(code, data).fail(&mut session);
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(error.fault(), Fault::Configuration);
    }
}

#[test]
fn required_methods_and_channel_binding_are_enforced() {
    const OK: (u8, &[u8]) = (0, b"");
    const CLEAR: (u8, &[u8]) = (3, b"");
    const MD5: (u8, &[u8]) = (5, b"salt");
    const SCRAM: (u8, &[u8]) = (10, b"SCRAM-SHA-256\0\0");
    const BOTH: (u8, &[u8]) = (10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
    let tls = |change: &dyn Fn(&mut SessionConfig)| {
        let mut config = config();
        config.tls = TlsRequest::Direct;
        change(&mut config);
        let mut session = Session::new(config).unwrap();
        assert_eq!(sent(&mut session), b"", "the TLS handshake comes first");
        session.handle_tls_established(Some(vec![1; 32])).unwrap();
        sent(&mut session);
        session
    };
    let bound = |config: &mut SessionConfig| config.channel_binding = BindingPolicy::Require;
    for (code, data) in [OK, CLEAR, MD5, SCRAM] {
        let error = server().authentication(code, data).fail(&mut tls(&bound));
        assert_eq!(error, AuthenticationError::ChannelBindingMissing.into());
    }
    let mut session = tls(&bound);
    server()
        .authentication(BOTH.0, BOTH.1)
        .play(&mut session)
        .unwrap();
    let first = b"SCRAM-SHA-256-PLUS\0";
    assert!(
        sent(&mut session)
            .windows(first.len())
            .any(|part| part == first)
    );
    let unbound = |config: &mut SessionConfig| config.channel_binding = BindingPolicy::Disable;
    let mut session = tls(&unbound);
    server()
        .authentication(BOTH.0, BOTH.1)
        .play(&mut session)
        .unwrap();
    assert!(sent(&mut session).windows(3).any(|part| part == b"n,,"));

    let scram = |config: &mut SessionConfig| {
        config.allowed_methods = AllowedMethods::parse("scram-sha-256").unwrap();
    };
    for ((code, data), name) in [(OK, "none"), (CLEAR, "password"), (MD5, "md5")] {
        let error = server().authentication(code, data).fail(&mut tls(&scram));
        assert_eq!(error, AuthenticationError::MethodNotAllowed(name).into());
    }
    server()
        .authentication(BOTH.0, BOTH.1)
        .play(&mut tls(&scram))
        .unwrap();
}

#[test]
fn an_offer_of_channel_binding_without_tls_is_refused() {
    let mut session = Session::new(config()).unwrap();
    let offer = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];
    let error = server()
        .encode(|out| authentication_sasl(out, offer))
        .fail(&mut session);
    assert_eq!(error, AuthenticationError::ChannelBindingWithoutTls.into());
}

#[test]
fn the_first_scram_message_states_the_clients_channel_binding() {
    const BOTH: &[&str] = &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];
    const PLAIN: &[&str] = &["SCRAM-SHA-256"];
    let hash = || Some(vec![1; 32]);
    for (hash, offer, mechanism, header) in [
        (
            hash(),
            BOTH,
            "SCRAM-SHA-256-PLUS",
            "p=tls-server-end-point,,n=,r=",
        ),
        (hash(), PLAIN, "SCRAM-SHA-256", "y,,n=,r="),
        (None, BOTH, "SCRAM-SHA-256", "n,,n=,r="),
        (None, PLAIN, "SCRAM-SHA-256", "n,,n=,r="),
    ] {
        let mut session = requesting_tls();
        session.handle_input(b"S").unwrap();
        session.handle_tls_established(hash).unwrap();
        sent(&mut session);
        let offer = offer.iter().copied();
        server()
            .encode(|out| authentication_sasl(out, offer))
            .play(&mut session)
            .unwrap();
        let sent = sent(&mut session);
        let sent = String::from_utf8_lossy(&sent);
        assert!(
            sent.contains(&format!("{mechanism}\0")) && sent.contains(header),
            "{sent:?}"
        );
    }
}

#[test]
fn success_before_the_servers_signature_is_refused() {
    let unproven = AuthenticationError::ServerNotVerified.into();
    let offer = || server().encode(|out| authentication_sasl(out, ["SCRAM-SHA-256"]));
    let mut session = Session::new(config()).unwrap();
    assert_eq!(offer().authentication(0, &[]).fail(&mut session), unproven);

    let mut session = Session::new(config()).unwrap();
    let first = b"r=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHmore,s=c2FsdA==,i=4";
    let server = offer().authentication(11, first).authentication(0, &[]);
    assert_eq!(server.fail(&mut session), unproven);
}

#[test]
fn authentication_messages_out_of_order_are_errors() {
    let first = b"r=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHmore,s=c2FsdA==,i=4";
    for steps in [
        server().authentication(11, first),
        server().authentication(12, b"v=AAAA"),
        server().authentication(8, b"data"),
        server()
            .authentication(5, b"salt")
            .authentication(5, b"salt"),
        server()
            .authentication(5, b"salt")
            .authentication(10, b"SCRAM-SHA-256\0\0"),
        server()
            .authentication(10, b"SCRAM-SHA-256\0\0")
            .authentication(12, b"v=AAAA"),
        server()
            .authentication(10, b"SCRAM-SHA-256\0\0")
            .authentication(3, b""),
        server().authentication(0, &[]).authentication(0, &[]),
        server().ready(),
        server().row(),
        server().bytes(b"K\0\0\0\x0c\0\0\0\x2aabcd"),
        server().authentication(0, &[]).row(),
        server().authentication(0, &[]).complete(),
    ] {
        let mut session = Session::new(config()).unwrap();
        let error = steps.fail(&mut session);
        assert!(
            matches!(error, ProtocolError::UnexpectedMessage { .. }),
            "{error}"
        );
        assert_eq!(error.fault(), Fault::Peer);
    }
}

#[test]
fn an_error_before_the_session_is_established_ends_it() {
    for (server, events) in [
        (server().error("FATAL"), &["Error"][..]),
        // The severity does not matter.
        (
            server().authentication(0, &[]).error("ERROR"),
            &["Authenticated", "Error"],
        ),
    ] {
        let mut session = Session::new(config()).unwrap();
        assert_eq!(server.play(&mut session).unwrap(), events);
        assert!(session.is_closed());
        assert_eq!(session.handle_input(b""), Ok(None));
        assert!(session.handle_input(b"Z").is_err());
        assert!(session.query("SELECT 1").is_err());
    }
}

#[test]
fn the_version_is_negotiated_down_and_not_up() {
    let mut negotiated = config();
    negotiated.protocol_version = ProtocolVersion::V3_2;
    for (asked, version, accepted) in [
        (&negotiated, 3 << 16, true),
        (&negotiated, 3 << 16 | 2, true),
        (&negotiated, 1, true),
        (&negotiated, 3 << 16 | 3, false),
        (&negotiated, 4 << 16, false),
        (&config(), 3 << 16, true),
        (&config(), 3 << 16 | 2, false),
    ] {
        let mut session = Session::new(asked.clone()).unwrap();
        let server = server().encode(|out| negotiate_protocol_version(out, version, ["_pq_.x"]));
        match server.play(&mut session) {
            Ok(events) => {
                assert!(accepted);
                assert_eq!(events, ["NegotiateProtocolVersion"]);
            }
            Err(error) => {
                assert!(!accepted);
                assert_eq!(error, ProtocolError::Version { found: version });
            }
        }
    }
}

#[test]
fn before_authentication_messages_are_limited_to_64_kib() {
    for tag in *b"EDdTNR" {
        let mut session = Session::new(config()).unwrap();
        let header = [tag, 0, 1, 0, 1];
        assert_eq!(session.needed(&header), 0);
        let error = server().bytes(&header).fail(&mut session);
        assert!(
            matches!(error, ProtocolError::FrameTooLong { limit: 65_536, .. }),
            "{error}"
        );
    }
}

#[test]
fn needed_returns_the_bytes_missing_from_the_message() {
    let mut session = established();
    session.query("SELECT 1").unwrap();
    server().columns().play(&mut session).unwrap();
    assert_eq!(session.needed(b""), 5);
    assert_eq!(session.needed(b"D\0\0"), 2);
    assert_eq!(session.needed(b"D\x3f\xff\xff\xff"), 0x3fff_fffb);
    assert_eq!(session.needed(b"D\x3f\xff\xff\xff12345"), 0x3fff_fff6);
    assert_eq!(session.handle_input(b"D\x3f\xff\xff\xff12345"), Ok(None));
    let error = session.handle_input(b"D\x40\0\0\x01").unwrap_err();
    assert!(matches!(
        error,
        ProtocolError::FrameTooLong {
            limit: 0x4000_0000,
            ..
        }
    ));
}

#[test]
fn parameters_are_stored_up_to_a_limit() {
    let mut session = established();
    fn status<'a>(name: &'a str, value: &'a str) -> BackendMessage<'a> {
        BackendMessage::ParameterStatus { name, value }
    }
    server()
        .send(status("a", "1"))
        .send(status("a", "2"))
        .play(&mut session)
        .unwrap();
    assert_eq!(session.parameter("a"), Some("2"));
    assert_eq!(session.parameter("b"), None);
    for number in 1..MAX_PARAMETERS {
        let name = number.to_string();
        server().send(status(&name, "")).play(&mut session).unwrap();
    }
    server().send(status("a", "3")).play(&mut session).unwrap();
    let error = server().send(status("one more", "")).fail(&mut session);
    assert_eq!(error, ProtocolError::TooManyParameters);
}

#[test]
fn the_cancel_request_carries_process_and_secret() {
    let session = established();
    assert_eq!(session.process_id(), Some(ProcessId(42)));
    let request = session.cancel_key().unwrap().cancel_request();
    assert_eq!(&request[..], b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x2aabcd");

    let mut session = Session::new(config()).unwrap();
    let secret = [9; 256];
    let data = [&[b'K', 0, 0, 1, 8, 0, 0, 0, 1], &secret[..]].concat();
    server()
        .authentication(0, &[])
        .bytes(&data)
        .play(&mut session)
        .unwrap();
    let request = session.cancel_key().unwrap().cancel_request();
    assert_eq!(request.len(), 268);
    assert!(request.starts_with(&[0, 0, 1, 12]));

    for length in [3_u8, 1] {
        let mut session = Session::new(config()).unwrap();
        let data = [
            &[b'K', 0, 0, 0, length + 8, 0, 0, 0, 1],
            &secret[..length.into()],
        ]
        .concat();
        let error = server()
            .authentication(0, &[])
            .bytes(&data)
            .fail(&mut session);
        assert!(matches!(error, ProtocolError::Decode(_)), "{error}");
    }
}

#[test]
fn unsolicited_messages_are_errors() {
    for messages in [
        server().row(),
        server().columns(),
        server().complete(),
        server().ready(),
        server().copy(b'W'),
        server().send(BackendMessage::CopyData(b"x")),
        server().send(BackendMessage::ParseComplete),
        server().authentication(0, &[]),
        server().bytes(b"K\0\0\0\x0c\0\0\0\x2aabcd"),
        server().send(BackendMessage::FunctionCallResponse(None)),
        server().encode(|out| negotiate_protocol_version(out, 3 << 16, [])),
    ] {
        let error = messages.fail(&mut established());
        assert!(
            matches!(error, ProtocolError::UnexpectedMessage { .. }),
            "{error}"
        );
    }
    let error = server().bytes(b"?\0\0\0\x04").fail(&mut established());
    let ProtocolError::Decode(error) = error else {
        panic!("{error}")
    };
    assert_eq!(error.kind(), DecodeErrorKind::UnknownTag(b'?'));
}

#[test]
fn rows_without_a_row_description_are_errors() {
    let mut session = established();
    session.query("SELECT 1").unwrap();
    assert_eq!(sent(&mut session), b"Q\0\0\0\x0dSELECT 1\0");
    assert!(!session.is_ready());
    let events = server()
        .columns()
        .row()
        .row()
        .complete()
        .play(&mut session)
        .unwrap();
    assert_eq!(
        events,
        [
            "RowDescription",
            "DataRow",
            "DataRow",
            "CommandComplete",
            "Ready"
        ]
    );
    assert!(session.is_ready());

    session.query("SELECT 1").unwrap();
    server().row().fail(&mut session);

    let mut session = established();
    session.query("SELECT 1; UPDATE t SET a = 1").unwrap();
    let messages = server()
        .columns()
        .send(BackendMessage::CommandComplete("SELECT 0"))
        .row();
    messages.fail(&mut session);
}

#[test]
fn notices_parameters_and_notifications_are_accepted_at_any_time() {
    let mut session = established();
    session.query("SELECT 1").unwrap();
    let notice = [(b'S', "NOTICE"), (b'C', "00000"), (b'M', "look")];
    let events = server()
        .columns()
        .row()
        .encode(|out| notice_response(out, notice))
        .send(BackendMessage::ParameterStatus {
            name: "TimeZone",
            value: "UTC",
        })
        .bytes(b"A\0\0\0\x0c\0\0\0\x01a\0b\0")
        .row()
        .complete()
        .play(&mut session)
        .unwrap();
    assert_eq!(
        events,
        [
            "RowDescription",
            "DataRow",
            "Notice",
            "ParameterStatus",
            "Notification",
            "DataRow",
            "CommandComplete",
            "Ready"
        ]
    );
}

#[test]
fn after_an_error_a_simple_query_only_ends() {
    let mut session = established();
    session.query("SELECT 1/0").unwrap();
    let events = server()
        .columns()
        .error("ERROR")
        .ready()
        .play(&mut session)
        .unwrap();
    assert_eq!(events, ["RowDescription", "Error", "Ready"]);
    session.query("SELECT 1/0").unwrap();
    server().columns().error("ERROR").row().fail(&mut session);
}

#[test]
fn only_a_fatal_error_closes_the_session() {
    let mut session = established();
    assert_eq!(
        server().error("ERROR").play(&mut session).unwrap(),
        ["Error"]
    );
    assert!(session.is_ready());
    for severity in ["FATAL", "PANIC"] {
        let mut session = established();
        session.query("SELECT 1").unwrap();
        assert_eq!(
            server().error(severity).play(&mut session).unwrap(),
            ["Error"]
        );
        assert!(session.is_closed() && !session.is_ready());
        assert!(session.terminate().is_err());
    }
}

#[test]
fn extended_queries_are_answered_in_order() {
    let mut session = established();
    session.parse("", "SELECT 1", &[]).unwrap();
    session.describe_statement("").unwrap();
    session
        .bind("", "", &[Some(b"1"), None], Format::Binary)
        .unwrap();
    session.execute("", 10).unwrap();
    session.sync().unwrap();
    let expected = [
        &b"P\0\0\0\x10\0SELECT 1\0\0\0"[..],
        b"D\0\0\0\x06S\0",
        b"B\0\0\0\x17\0\0\0\0\0\x02\0\0\0\x011\xff\xff\xff\xff\0\x01\0\x01",
        b"E\0\0\0\x09\0\0\0\0\x0a",
        b"S\0\0\0\x04",
    ];
    assert_eq!(sent(&mut session), expected.concat());
    assert!(session.query("SELECT 1").is_err());

    let answers = server()
        .send(BackendMessage::ParseComplete)
        .bytes(b"t\0\0\0\x06\0\0")
        .columns()
        .send(BackendMessage::BindComplete)
        .row()
        .send(BackendMessage::PortalSuspended)
        .ready();
    let events = answers.play(&mut session).unwrap();
    assert_eq!(events.len(), 7);
    assert!(session.is_ready());
}

#[test]
fn answers_out_of_order_are_errors() {
    for answer in [
        server().send(BackendMessage::BindComplete),
        server().columns(),
        server().row(),
        server().ready(),
        server().send(BackendMessage::ParseComplete).columns(),
        server()
            .send(BackendMessage::ParseComplete)
            .send(BackendMessage::NoData),
        server()
            .send(BackendMessage::ParseComplete)
            .bytes(b"t\0\0\0\x06\0\0t\0\0\0\x06\0\0"),
        server().send(BackendMessage::ParseComplete).copy(b'W'),
    ] {
        let mut session = established();
        session.parse("", "SELECT 1", &[]).unwrap();
        session.describe_statement("").unwrap();
        session.sync().unwrap();
        let error = answer.fail(&mut session);
        assert!(
            matches!(error, ProtocolError::UnexpectedMessage { .. }),
            "{error}"
        );
    }
}

#[test]
fn each_sync_is_answered_and_the_session_is_ready_after_the_last() {
    let mut session = established();
    for _ in 0..2 {
        session.execute("", 0).unwrap();
        session.sync().unwrap();
    }
    assert!(!session.is_ready());
    server().row().complete().play(&mut session).unwrap();
    assert!(!session.is_ready());
    server().row().complete().play(&mut session).unwrap();
    assert!(session.is_ready());
}

#[test]
fn after_an_error_everything_up_to_the_next_sync_is_skipped() {
    // With a Sync that is queued before the error.
    let mut session = established();
    session.parse("", "nonsense", &[]).unwrap();
    session.execute("", 0).unwrap();
    session.sync().unwrap();
    session.execute("", 0).unwrap();
    session.sync().unwrap();
    let events = server()
        .error("ERROR")
        .ready()
        .complete()
        .play(&mut session)
        .unwrap();
    assert_eq!(events, ["Error", "Ready", "CommandComplete", "Ready"]);

    // With a Sync that is queued after the error: the server skips the requests before it.
    session.parse("", "nonsense", &[]).unwrap();
    session.flush().unwrap();
    server().error("ERROR").play(&mut session).unwrap();
    assert!(!session.is_ready());
    assert!(session.query("SELECT 1").is_err());
    session.execute("", 0).unwrap();
    session.sync().unwrap();
    session.execute("", 0).unwrap();
    session.sync().unwrap();
    let events = server().ready().complete().play(&mut session).unwrap();
    assert_eq!(events, ["Ready", "CommandComplete", "Ready"]);
    assert!(session.is_ready());

    // Sync itself can fail, since it commits.
    session.sync().unwrap();
    assert_eq!(
        server().error("ERROR").ready().play(&mut session).unwrap(),
        ["Error", "Ready"]
    );
    assert!(session.is_ready());
}

#[test]
fn without_a_sync_the_session_is_not_ready() {
    let mut session = established();
    session.parse("", "SELECT 1", &[]).unwrap();
    session.flush().unwrap();
    server()
        .send(BackendMessage::ParseComplete)
        .play(&mut session)
        .unwrap();
    assert!(!session.is_ready());
    session.sync().unwrap();
    server().ready().play(&mut session).unwrap();
    assert!(session.is_ready());
}

fn streaming() -> Session {
    let mut session = established();
    session.query("START_REPLICATION").unwrap();
    server().copy(b'W').play(&mut session).unwrap();
    assert!(session.is_copy_both());
    sent(&mut session);
    session
}

#[test]
fn the_client_ends_a_stream_first() {
    let mut session = streaming();
    session.copy_data(b"status").unwrap();
    session.copy_done().unwrap();
    assert_eq!(sent(&mut session), b"d\0\0\0\x0astatusc\0\0\0\x04");
    assert!(session.copy_data(b"status").is_err());
    assert!(session.copy_done().is_err());
    let events = server()
        .send(BackendMessage::CopyData(b"piece"))
        .send(BackendMessage::CopyDone)
        .play(&mut session)
        .unwrap();
    assert_eq!(events, ["CopyData", "CopyDone"]);
    assert!(!session.is_copy_both());
    // The rest of a change trails.
    let messages = server()
        .send(BackendMessage::CopyData(b"piece"))
        .send(BackendMessage::CommandComplete("COPY 0"))
        .complete();
    let events = messages.play(&mut session).unwrap();
    assert_eq!(
        events,
        ["CopyData", "CommandComplete", "CommandComplete", "Ready"]
    );
    assert!(session.is_ready());
}

#[test]
fn the_server_ends_a_stream_first() {
    let mut session = streaming();
    server()
        .send(BackendMessage::CopyDone)
        .play(&mut session)
        .unwrap();
    assert!(session.is_copy_both());
    session.copy_data(b"status").unwrap();
    session.copy_done().unwrap();
    assert!(session.copy_data(b"status").is_err());
    // The end of a timeline is followed by a result that contains the next one.
    let messages = server()
        .columns()
        .row()
        .send(BackendMessage::CommandComplete(""))
        .complete();
    messages.play(&mut session).unwrap();
    assert!(session.is_ready());
}

#[test]
fn data_after_copy_done_is_an_error() {
    let mut session = streaming();
    let done = || server().send(BackendMessage::CopyDone);
    done().play(&mut session).unwrap();
    server()
        .send(BackendMessage::CopyData(b"x"))
        .fail(&mut session);

    let mut session = streaming();
    done().play(&mut session).unwrap();
    done().fail(&mut session);

    let mut session = streaming();
    session.copy_done().unwrap();
    done().play(&mut session).unwrap();
    done().fail(&mut session);

    let mut session = streaming();
    server().complete().fail(&mut session);
}

#[test]
fn a_taken_sender_continues_the_clients_half() {
    let mut session = streaming();
    let mut sender = session.take_copy_sender().unwrap();
    assert!(session.copy_data(b"status").is_err());
    assert!(session.copy_done().is_err());
    assert!(session.take_copy_sender().is_err());
    assert_eq!(session.poll_transmit(), None);

    // The halves do not depend on each other.
    let mut out = BytesMut::new();
    sender.copy_data(b"status", &mut out).unwrap();
    let data = || server().send(BackendMessage::CopyData(b"piece"));
    assert_eq!(data().play(&mut session).unwrap(), ["CopyData"]);
    sender.copy_done(&mut out).unwrap();
    assert_eq!(&out[..], b"d\0\0\0\x0astatusc\0\0\0\x04");
    let messages = data()
        .send(BackendMessage::CopyDone)
        .send(BackendMessage::CopyData(b"trailing"))
        .complete();
    let events = messages.play(&mut session).unwrap();
    assert_eq!(
        events,
        [
            "CopyData",
            "CopyDone",
            "CopyData",
            "CommandComplete",
            "Ready"
        ]
    );
    assert!(session.is_ready());
}

#[test]
fn the_sender_can_be_taken_after_the_server_has_ended_its_half() {
    let mut session = streaming();
    let done = || server().send(BackendMessage::CopyDone);
    done().play(&mut session).unwrap();
    let mut sender = session.take_copy_sender().unwrap();
    let mut out = BytesMut::new();
    sender.copy_done(&mut out).unwrap();
    assert!(!session.is_copy_both());
    server().complete().play(&mut session).unwrap();
    assert!(session.is_ready());
}

#[test]
fn a_sender_is_taken_only_from_a_copy_both_stream() {
    let mut session = established();
    let error = session.take_copy_sender().unwrap_err();
    assert_eq!(
        error.to_string(),
        "take_copy_sender is not possible while no COPY is in progress"
    );
    session.query("COPY t FROM STDIN").unwrap();
    server().copy(b'G').play(&mut session).unwrap();
    assert!(session.take_copy_sender().is_err());
    session.copy_done().unwrap();

    let mut session = streaming();
    session.copy_done().unwrap();
    assert!(session.take_copy_sender().is_err());
}

#[test]
fn an_error_ends_a_stream() {
    let mut session = streaming();
    let events = server().error("ERROR").play(&mut session).unwrap();
    assert_eq!(events, ["Error"]);
    assert!(session.copy_data(b"status").is_err());
    assert_eq!(server().ready().play(&mut session).unwrap(), ["Ready"]);
    assert!(session.is_ready());
}

#[test]
fn during_a_stream_only_copy_messages_can_be_queued() {
    let mut session = streaming();
    assert!(session.query("SELECT 1").is_err());
    assert!(session.sync().is_err());
    assert!(session.execute("", 0).is_err());
    assert!(session.copy_fail("reason").is_err());
    assert_eq!(sent(&mut session), b"");
    session.terminate().unwrap();
    assert_eq!(sent(&mut session), b"X\0\0\0\x04");
    assert!(session.is_closed());
}

#[test]
fn copy_from_stdin_has_to_be_the_last_queued_request() {
    let mut session = established();
    session.execute("", 0).unwrap();
    session.sync().unwrap();
    let error = server().copy(b'G').fail(&mut session);
    assert_eq!(error.fault(), Fault::Caller);

    let mut session = established();
    session.execute("", 0).unwrap();
    session.flush().unwrap();
    server().copy(b'G').play(&mut session).unwrap();
    assert!(session.sync().is_err());
    session.copy_data(b"1\n").unwrap();
    session.copy_done().unwrap();
    session.sync().unwrap();
    server().complete().play(&mut session).unwrap();
    assert!(session.is_ready());
}

#[test]
fn calls_in_the_wrong_state_queue_nothing() {
    let mut session = Session::new(config()).unwrap();
    sent(&mut session);
    assert!(session.query("SELECT 1").is_err());
    assert!(session.sync().is_err());
    assert!(session.copy_data(b"").is_err());
    assert_eq!(session.poll_transmit(), None);
    assert!(requesting_tls().terminate().is_err());

    let mut session = established();
    assert!(session.copy_data(b"").is_err());
    assert!(session.copy_done().is_err());
    assert!(session.copy_fail("").is_err());
    assert!(session.handle_tls_established(None).is_err());
    session.query("SELECT 1").unwrap();
    sent(&mut session);
    assert!(session.query("SELECT 1").is_err());
    assert!(session.parse("", "SELECT 1", &[]).is_err());
    let error = session.flush().unwrap_err();
    assert_eq!(
        error.to_string(),
        "flush is not possible while a simple query is in progress"
    );
    assert_eq!(session.poll_transmit(), None);
}

#[test]
fn arguments_that_cannot_be_encoded_queue_nothing() {
    let mut session = established();
    assert!(session.query("SELECT '\0'").is_err());
    assert!(session.parse("a\0", "SELECT 1", &[]).is_err());
    assert!(
        session
            .bind("", "", &vec![None; 65_536], Format::Text)
            .is_err()
    );
    assert!(session.execute("", u32::MAX).is_err());
    assert_eq!(session.poll_transmit(), None);
    assert!(session.is_ready());
    session
        .bind("", "", &vec![None; 65_535], Format::Text)
        .unwrap();
    session.execute("", 0x7fff_ffff).unwrap();
}

#[test]
fn debug_shows_no_secret() {
    let mut config = config();
    config.allow_cleartext = true;
    assert!(!format!("{config:?}").contains("pencil"));
    let mut session = Session::new(config).unwrap();
    assert!(!format!("{session:?}").contains("pencil"));
    server().authentication(3, &[]).play(&mut session).unwrap();
    assert!(!format!("{session:?}").contains("pencil"));
    let session = established();
    assert!(!format!("{session:?} {:?}", session.cancel_key()).contains("97"));
}

#[test]
fn a_server_error_outlives_the_receive_buffer() {
    let mut session = established();
    let mut input = BytesMut::new();
    let fields = [
        (b'S', "FEHLER"),
        (b'V', "ERROR"),
        (b'C', "42P01"),
        (b'M', "relation does not exist"),
        (b'H', "create it"),
        (b'P', "15"),
    ];
    error_response(&mut input, fields).unwrap();
    let error: ServerError = match session.handle_input(&input) {
        Ok(Some((_, Event::Error(report)))) => report.into_owned(),
        other => panic!("{other:?}"),
    };
    drop(input);
    assert_eq!(
        error.to_string(),
        "relation does not exist (SQLSTATE 42P01)"
    );
    assert_eq!(error.severity(), Severity::Error);
    assert_eq!(error.code().class(), "42");
    assert_eq!(error.hint().as_deref(), Some("create it"));
    assert_eq!(error.detail(), None);
    assert_eq!(error.report().position(), Some(15));
    assert_eq!(
        error.report().severity_localized().as_deref(),
        Some("FEHLER")
    );
}
