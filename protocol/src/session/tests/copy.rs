//! Tests of COPY and of replication streams.

use super::*;

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
