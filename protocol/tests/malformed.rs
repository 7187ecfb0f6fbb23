//! Damages every message in the recordings of real servers: a truncated or extended message is an
//! error, a changed one is an error or another message, and none causes a panic.

#![cfg(feature = "testing")]

use std::{collections::HashSet, fs, path::PathBuf};

use bytes::BytesMut;
use protocol::{
    BackendMessage, LogicalReplicationMessage as Logical, ParseContext, ReplicationMessage,
    TupleArena, testing,
};

/// Returns all distinct messages in the recordings.
fn frames() -> Vec<(u8, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut seen = HashSet::new();
    let mut frames = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_none_or(|extension| extension != "server")
        {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        // The response to SSLRequest has no frame.
        let answered = bytes.starts_with(b"SR") || bytes.starts_with(b"NR");
        let mut input = &bytes[usize::from(answered)..];
        while let Some((header, rest)) = input.split_first_chunk::<5>() {
            let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
            let (body, next) = rest.split_at(usize::try_from(length).unwrap() - 4);
            input = next;
            if seen.insert((header[0], body.to_vec())) {
                frames.push((header[0], body.to_vec()));
            }
        }
    }
    assert!(frames.len() > 1000);
    frames
}

/// Returns the messages of `pgoutput` in the recordings, each with a context in which it parses.
fn logical_messages() -> Vec<(ParseContext, Vec<u8>)> {
    let mut messages = Vec::new();
    let mut kinds = HashSet::new();
    let arena = TupleArena::default();
    for (tag, body) in frames() {
        if tag != b'd' {
            continue;
        }
        let Ok(ReplicationMessage::XLogData(xlog_data)) = ReplicationMessage::parse(&body) else {
            continue;
        };
        for in_stream_block in [false, true] {
            for parallel_streaming in [false, true] {
                let context = ParseContext {
                    protocol_version: 4,
                    in_stream_block,
                    parallel_streaming,
                };
                let Ok(message) = Logical::parse(xlog_data.data, context, &arena) else {
                    continue;
                };
                // One message of each kind and length in each context is enough.
                let kind = (
                    xlog_data.data[0],
                    in_stream_block,
                    parallel_streaming,
                    xlog_data.data.len(),
                );
                if kinds.insert(kind) {
                    let mut out = BytesMut::new();
                    testing::logical_replication_message(&mut out, &message, context).unwrap();
                    assert_eq!(out, xlog_data.data, "encoding reproduces the message");
                    messages.push((context, xlog_data.data.to_vec()));
                }
            }
        }
    }
    let tags: HashSet<_> = messages.iter().map(|(_, data)| data[0]).collect();
    assert_eq!(tags.len(), 19, "every kind of message was recorded");
    messages
}

/// Returns copies of the data, each with one byte changed.
fn mutations(data: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let step = data.len().div_ceil(300).max(1);
    (0..data.len()).step_by(step).flat_map(move |at| {
        [0x01, 0x02, 0x10, 0x40, 0x80, 0xff].map(|change| {
            let mut data = data.to_vec();
            data[at] ^= change;
            data
        })
    })
}

/// Returns whether a message may end anywhere, because its content has no length of its own.
fn is_open_ended(tag: u8, body: &[u8]) -> bool {
    match tag {
        b'd' => true,
        // SASLContinue and SASLFinal.
        b'R' => matches!(body, [0, 0, 0, 11 | 12, ..]),
        _ => false,
    }
}

#[test]
fn backend_messages_parse_completely_or_fail() {
    for (tag, body) in frames() {
        let message = BackendMessage::parse(tag, &body).unwrap();
        let mut out = BytesMut::new();
        testing::backend_message(&mut out, &message).unwrap();
        assert_eq!(out[0], tag);
        assert_eq!(out[5..], body, "encoding reproduces the message");
        if body.len() > 2000 {
            continue;
        }
        if !is_open_ended(tag, &body) {
            for end in 0..body.len() {
                // In protocol 3.2 a secret key may have any length of at least 4 bytes.
                if tag == b'K' && end >= 8 {
                    continue;
                }
                let result = BackendMessage::parse(tag, &body[..end]);
                let error = result.expect_err("a truncated message");
                assert!(error.offset() <= end);
            }
            let longer = [&body[..], &[0]].concat();
            assert!(tag == b'K' || BackendMessage::parse(tag, &longer).is_err());
        }
        for mutated in mutations(&body) {
            let _ = BackendMessage::parse(tag, &mutated).map(|message| format!("{message:?}"));
        }
    }
}

#[test]
fn bodies_with_other_tags_do_not_panic() {
    for (_, body) in frames().iter().step_by(10) {
        for tag in 0..=u8::MAX {
            let _ = BackendMessage::parse(tag, body).map(|message| format!("{message:?}"));
        }
    }
}

#[test]
fn replication_messages_parse_completely_or_fail() {
    for (tag, body) in frames() {
        if tag != b'd' || !matches!(body[0], b'w' | b'k') {
            continue;
        }
        let message = ReplicationMessage::parse(&body).unwrap();
        let mut out = BytesMut::new();
        testing::replication_message(&mut out, &message);
        assert_eq!(out, body, "encoding reproduces the message");
        let fixed = if body[0] == b'w' { 25 } else { 18 };
        for end in 0..fixed {
            assert!(ReplicationMessage::parse(&body[..end]).is_err());
        }
        if body[0] == b'k' {
            assert!(ReplicationMessage::parse(&[&body[..], &[0]].concat()).is_err());
            assert!(ReplicationMessage::parse(&[&body[..17], &[2]].concat()).is_err());
        }
    }
    assert!(ReplicationMessage::parse(b"x").is_err());
}

#[test]
fn pgoutput_messages_parse_completely_or_fail() {
    for (context, data) in logical_messages() {
        let arena = TupleArena::default();
        for end in 0..data.len() {
            let error =
                Logical::parse(&data[..end], context, &arena).expect_err("a truncated message");
            assert!(error.offset() <= end);
        }
        let longer = [&data[..], &[0]].concat();
        assert!(Logical::parse(&longer, context, &arena).is_err());
        for mutated in mutations(&data) {
            let Ok(message) = Logical::parse(&mutated, context, &arena) else {
                continue;
            };
            let mut out = BytesMut::new();
            testing::logical_replication_message(&mut out, &message, context).unwrap();
            assert_eq!(Logical::parse(&out, context, &arena), Ok(message));
        }
    }
}

#[test]
fn messages_of_later_protocol_versions_are_errors() {
    for (mut context, data) in logical_messages() {
        let arena = TupleArena::default();
        let since = match data[0] {
            b'S' | b'E' | b'c' | b'A' => 2,
            b'b' | b'P' | b'K' | b'r' | b'p' => 3,
            _ => 1,
        };
        for version in 1..=4 {
            context.protocol_version = version;
            let result = Logical::parse(&data, context, &arena);
            assert_eq!(result.is_ok(), version >= since, "{} in {version}", data[0]);
        }
    }
}

#[test]
fn hostile_counts_and_lengths_are_errors() {
    let version = ParseContext::new(4);
    let arena = TupleArena::default();
    for data in [
        &b"I\0\0\0\x01N\xff\xff"[..],
        b"I\0\0\0\x01N\0\x01t\x7f\xff\xff\xffx",
        b"I\0\0\0\x01N\0\x01t\xff\xff\xff\xff",
        b"I\0\0\0\x01N\0\x01t\x80\0\0\0",
        b"I\0\0\0\x01N\0\x01b\x80\0\0\0",
        b"I\0\0\0\x01N\0\x01x",
        b"I\0\0\0\x01K\0\0",
        b"U\0\0\0\x01N\0\0N\0\0",
        b"U\0\0\0\x01K\0\0",
        b"U\0\0\0\x01K\0\0O\0\0N\0\0",
        b"D\0\0\0\x01N\0\0",
        b"T\xff\xff\xff\xff\0\0\0\0\x01",
        b"T\x40\0\0\0\0\0\0\0\x01",
        b"T\0\0\0\x02\0\0\0\0\x01",
        b"R\0\0\0\x01\0t\0d\xff\xff\x01a\0\0\0\0\x17\xff\xff\xff\xff",
        b"R\0\0\0\x01\0t\0x\0\0",
        b"R\0\0\0\x01\xff\0t\0d\0\0",
        b"M\x02\0\0\0\0\0\0\0\x01p\0\0\0\0\0",
        b"M\0\0\0\0\0\0\0\0\x01p\0\xff\xff\xff\xff",
        b"C\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01",
        b"S\0\0\0\x01\x02",
        b"",
        b"?",
    ] {
        assert!(
            Logical::parse(data, version, &arena).is_err(),
            "{}",
            data.escape_ascii()
        );
    }
    for (tag, body) in [
        (b'D', &b"\xff\xff"[..]),
        (b'D', b"\0\x01\x7f\xff\xff\xff"),
        (b'D', b"\0\x01\xff\xff\xff\xfe"),
        (b'D', b"\0\0\0"),
        (b'T', b"\xff\xffa\0"),
        (b't', b"\xff\xff\0\0\0\x17"),
        (b'v', b"\0\x03\0\0\xff\xff\xff\xffa\0"),
        (b'H', b"\0\xff\xff\0\0"),
        (b'H', b"\x02\0\0"),
        (b'H', b"\0\0\x01\0\x02"),
        (b'R', b"\0\0\0\x0aSCRAM-SHA-256\0"),
        (b'R', b"\0\0\0\x0d"),
        (b'Z', b"X"),
        (b'E', b"\0"),
        (b'E', b"SERROR\0C42P0\0Mtext\0\0"),
        (b'E', b"SERROR\0C42 01\0Mtext\0\0"),
        (b'E', b"SERROR\0C42P01\0\0"),
        (b'S', b"name\0\xff\0"),
        (b'V', b"\0\0\0\x02x"),
    ] {
        let found = BackendMessage::parse(tag, body);
        assert!(found.is_err(), "{}: {found:?}", body.escape_ascii());
    }
}
