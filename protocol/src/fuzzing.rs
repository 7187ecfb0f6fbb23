//! Entry points for the fuzz targets. They panic if a property does not hold.

use bytes::BytesMut;

use crate::{
    BackendMessage, Format, Limits, LogicalReplicationMessage, ParseContext, ReplicationMessage,
    Session, SessionConfig, TupleArena, auth, frame,
    frame::Frame,
    testing::{backend_message as encode, logical_replication_message},
};

/// Splits off frames until the input is exhausted or invalid.
pub fn frame(data: &[u8]) {
    // Small limits, so that short inputs exceed them.
    let limits = Limits {
        control: 32,
        description: 64,
        report: 128,
        data: 1 << 30,
    };
    let mut input = data;
    loop {
        let missing = frame::missing(input, &limits);
        match Frame::split(input, &limits) {
            Ok(Some(frame)) => {
                assert_eq!(missing, 0);
                let Some(rest) = input.get(frame.size()..) else {
                    return;
                };
                assert_eq!(rest.len() + frame.body.len() + frame::HEADER, input.len());
                input = rest;
            }
            Ok(None) => {
                assert!(missing > 0);
                return;
            }
            Err(_) => return,
        }
    }
}

/// Parses the input as one message, encodes the message again, and compares. Then plays the input
/// to a session as the bytes of a server, whole and byte by byte, and compares the results.
pub fn backend_message(data: &[u8]) {
    if let Some((&tag, body)) = data.split_first()
        && let Ok(message) = BackendMessage::parse(tag, body)
    {
        let mut out = BytesMut::new();
        encode(&mut out, &message).unwrap_or_else(|error| unreachable!("{error}"));
        let frame = Frame::split(&out, &Limits::default());
        // The input may exceed the smaller limits: the frame is refused then.
        if let Ok(Some(frame)) = frame {
            assert_eq!(BackendMessage::parse(frame.tag, frame.body), Ok(message));
        }
        let _ = format!("{message:?}");
    }
    let whole = play_session(data, data.len().max(1));
    let bytewise = play_session(data, 1);
    assert_eq!(whole, bytewise);
}

/// Plays the input to a session in chunks. Returns the events and the output of the session.
fn play_session(data: &[u8], chunk_size: usize) -> (Vec<String>, BytesMut) {
    let mut config = SessionConfig::new("user", [7; 24]);
    config.password = Some("pencil".into());
    config.allow_cleartext = true;
    let mut events = Vec::new();
    let sent = BytesMut::new();
    let Ok(mut session) = Session::new(config) else {
        return (events, sent);
    };
    let mut buffer = Vec::new();
    for chunk in data.chunks(chunk_size) {
        buffer.extend_from_slice(chunk);
        let mut consumed = 0;
        while let Some(input) = buffer.get(consumed..) {
            match session.handle_input(input) {
                Ok(Some((size, event))) => {
                    assert!(size > 0);
                    consumed += size;
                    events.push(format!("{event:?}"));
                    // Requests of every kind, some of which the state may not allow.
                    if session.is_ready() {
                        let _ = match events.len() % 3 {
                            0 => session.query("a query"),
                            1 => session
                                .parse("", "a query", &[])
                                .and_then(|()| session.describe_statement(""))
                                .and_then(|()| session.bind("", "", &[], Format::Text)),
                            _ => session.describe_portal(""),
                        };
                        let _ = session.execute("", 0);
                        let _ = session.close_portal("");
                        let _ = session.sync();
                    } else if session.is_copy_both() {
                        let _ = session.copy_done();
                    }
                }
                Ok(None) => {
                    assert!(session.is_closed() || session.needed(input) > 0);
                    break;
                }
                Err(error) => {
                    events.push(error.to_string());
                    return (events, drain(session, sent));
                }
            }
        }
        buffer.drain(..consumed);
    }
    let sent = drain(session, sent);
    (events, sent)
}

fn drain(mut session: Session, mut sent: BytesMut) -> BytesMut {
    while let Some(bytes) = session.poll_transmit() {
        sent.extend_from_slice(&bytes);
    }
    sent
}

/// Plays the input to a SCRAM client as the server's two messages, separated by a zero byte.
pub fn scram(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == 0);
    auth::fuzz(
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
}

/// Parses the input as the content of a CopyData. Then parses it as a message of `pgoutput`, in the
/// context that the first byte encodes.
pub fn pgoutput(data: &[u8]) {
    let _ = ReplicationMessage::parse(data).map(|message| format!("{message:?}"));
    let Some((context, data)) = context(data) else {
        return;
    };
    let arena = TupleArena::default();
    let Ok(message) = LogicalReplicationMessage::parse(data, context, &arena) else {
        return;
    };
    let _ = format!("{message:?}");
    let tuples = match message {
        LogicalReplicationMessage::Insert(insert) => [None, Some(insert.new)],
        LogicalReplicationMessage::Update(update) => {
            [update.old.map(|old| old.tuple()), Some(update.new)]
        }
        LogicalReplicationMessage::Delete(delete) => [Some(delete.old.tuple()), None],
        _ => [None, None],
    };
    for tuple in tuples.into_iter().flatten() {
        assert_eq!(tuple.iter().count(), tuple.len());
    }
    if let LogicalReplicationMessage::Relation(relation) = message {
        assert_eq!(relation.columns().count(), relation.len());
    }
}

/// Parses a message of `pgoutput`, encodes it, parses the result, and compares the two messages.
pub fn pgoutput_round_trip(data: &[u8]) {
    let Some((context, data)) = context(data) else {
        return;
    };
    let arena = TupleArena::default();
    let Ok(message) = LogicalReplicationMessage::parse(data, context, &arena) else {
        return;
    };
    let mut out = BytesMut::new();
    logical_replication_message(&mut out, &message, context)
        .unwrap_or_else(|error| unreachable!("{error}"));
    assert_eq!(
        LogicalReplicationMessage::parse(&out, context, &arena),
        Ok(message)
    );
}

fn context(data: &[u8]) -> Option<(ParseContext, &[u8])> {
    let (&first, rest) = data.split_first()?;
    let context = ParseContext {
        protocol_version: first & 7,
        in_stream_block: first & 8 != 0,
        parallel_streaming: first & 16 != 0,
    };
    Some((context, rest))
}
