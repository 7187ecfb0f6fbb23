//! Tests of queries, and of calls and messages in the wrong state.

use super::*;

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
