//! Tests of the start of a session: TLS, authentication, parameters.

use super::*;

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
