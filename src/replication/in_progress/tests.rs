use std::path::Path;

use bytes::BytesMut;
use protocol::{
    BeginMessage, CommitMessage, LogicalReplicationMessage as Message, Lsn, Oid, OriginMessage,
    PgTimestamp, ReplicaIdentity, StreamAbortMessage, StreamCommitMessage, StreamStartMessage,
    TupleArena, TupleData, Xid, testing,
};

use super::spool::{Spool, SpoolOptions};
use crate::error::{ErrorKind, Result};

const TABLE: Oid = Oid(16_400);
const TIME: PgTimestamp = PgTimestamp(77);

/// Server that sends a stream, and reader of the spool's output.
struct Stream {
    spool: Spool,
    position: u64,
    /// Messages that the reader has received, as text.
    read: Vec<String>,
    /// Most bytes that were allocated at a time.
    largest: usize,
}

impl Stream {
    fn new() -> Self {
        Self::with(64 * 1024)
    }

    fn with(memory: usize) -> Self {
        let options = SpoolOptions {
            memory,
            ..SpoolOptions::default()
        };
        Self {
            spool: Spool::new(&options).unwrap(),
            position: 0,
            read: Vec::new(),
            largest: 0,
        }
    }

    /// Sends a message, and reads the messages that result from it.
    fn send(&mut self, message: &Message<'_>) -> Result<()> {
        let mut data = BytesMut::new();
        testing::logical_replication_message(&mut data, message, Spool::CONTEXT).unwrap();
        self.send_data(&data)
    }

    fn send_data(&mut self, data: &[u8]) -> Result<()> {
        self.position += 1;
        let wal_start = Lsn::from(self.position);
        let arena = TupleArena::default();
        if self.spool.is_receiving() {
            if let Some(reached) = self.spool.receive(wal_start, data)? {
                self.read.push(format!("reached {reached}"));
            }
        } else {
            let message = Message::parse(data, Spool::CONTEXT, &arena).unwrap();
            if !self.spool.handle(&message, wal_start, data)? {
                self.read.push(describe(wal_start, &message));
            }
        }
        self.largest = self.largest.max(self.spool.allocated());
        while self.spool.is_replaying() {
            let (wal_start, message) = self.spool.next_message(&arena)?;
            self.read.push(describe(wal_start, &message));
        }
        Ok(())
    }

    fn start(&mut self, xid: u32, first_segment: bool) -> Result<()> {
        let xid = Xid(xid);
        self.send(&Message::StreamStart(StreamStartMessage {
            xid,
            first_segment,
        }))
    }

    fn stop(&mut self) -> Result<()> {
        self.send(&Message::StreamStop)
    }

    fn insert(&mut self, xid: Option<u32>, value: &str) -> Result<()> {
        let mut data = BytesMut::new();
        let values = [TupleData::Text(value.as_bytes())];
        testing::insert(&mut data, xid.map(Xid), TABLE, values).unwrap();
        self.send_data(&data)
    }

    fn relation(&mut self, xid: Option<u32>, name: &str) -> Result<()> {
        let mut data = BytesMut::new();
        let identity = ReplicaIdentity::Default;
        testing::relation(&mut data, xid.map(Xid), TABLE, ("s", name), identity, []).unwrap();
        self.send_data(&data)
    }

    /// Sends a block of one transaction.
    fn block(&mut self, xid: u32, first: bool, rows: &[(u32, &str)]) {
        self.start(xid, first).unwrap();
        for (subxid, value) in rows {
            self.insert(Some(*subxid), value).unwrap();
        }
        self.stop().unwrap();
    }

    fn commit(&mut self, xid: u32) -> Result<()> {
        let commit_lsn = Lsn::from(1000 + u64::from(xid));
        self.send(&Message::StreamCommit(StreamCommitMessage {
            xid: Xid(xid),
            commit_lsn,
            end_lsn: Lsn::from(commit_lsn.as_u64() + 1),
            commit_time: TIME,
        }))
    }

    fn abort(&mut self, xid: u32, subxid: u32) -> Result<()> {
        self.send(&Message::StreamAbort(StreamAbortMessage {
            xid: Xid(xid),
            subxid: Xid(subxid),
            abort: None,
        }))
    }

    /// Sends a small transaction after its commit.
    fn whole(&mut self, send: impl FnOnce(&mut Self)) {
        self.send(&Message::Begin(BeginMessage {
            final_lsn: Lsn::from(5),
            commit_time: TIME,
            xid: Xid(3),
        }))
        .unwrap();
        send(self);
        self.send(&Message::Commit(CommitMessage {
            commit_lsn: Lsn::from(5),
            end_lsn: Lsn::from(6),
            commit_time: TIME,
        }))
        .unwrap();
    }

    /// Returns the messages that were read since the last call, without their positions.
    fn words(&mut self) -> String {
        let words: Vec<_> = self.read.drain(..).collect();
        words
            .iter()
            .filter(|word| !word.starts_with("reached"))
            .map(|word| word.split_once('@').map_or(word.as_str(), |(word, _)| word))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn describe(wal_start: Lsn, message: &Message<'_>) -> String {
    let what = match message {
        Message::Begin(begin) => {
            let time = if begin.commit_time == TIME {
                ""
            } else {
                "-then"
            };
            format!("begin-{}-{}{time}", begin.xid, begin.final_lsn.as_u64())
        }
        Message::Commit(commit) => {
            let time = if commit.commit_time == TIME {
                ""
            } else {
                "-then"
            };
            let end = match commit.end_lsn.distance(commit.commit_lsn) {
                1 => "",
                _ => "-there",
            };
            format!("commit-{}{time}{end}", commit.commit_lsn.as_u64())
        }
        Message::Insert(insert) => match insert.new.iter().next() {
            Some(TupleData::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            _ => "something".to_owned(),
        },
        Message::Relation(relation) => format!("is-{}", relation.name),
        Message::Origin(origin) => format!("from-{}", origin.name),
        _ => "something".to_owned(),
    };
    format!("{what}@{}", wal_start.as_u64())
}

#[test]
fn transactions_are_replayed_whole_in_commit_order() {
    let mut stream = Stream::new();
    stream.block(10, true, &[(10, "a1"), (10, "a2")]);
    stream.block(20, true, &[(20, "b1")]);
    stream.whole(|stream| stream.insert(None, "whole").unwrap());
    stream.block(10, false, &[(10, "a3")]);
    stream.commit(20).unwrap();
    stream.block(10, false, &[(10, "a4")]);
    assert_eq!(
        stream.words(),
        "begin-3-5 whole commit-5 begin-20-1020 b1 commit-1020"
    );
    stream.commit(10).unwrap();
    assert_eq!(stream.words(), "begin-10-1010 a1 a2 a3 a4 commit-1010");
}

#[test]
fn messages_have_their_positions_and_stream_blocks_report_the_highest() {
    let mut stream = Stream::new();
    stream.block(10, true, &[(10, "a"), (10, "b")]);
    assert_eq!(stream.read, ["reached 0/3"]);
    stream.read.clear();
    stream.commit(10).unwrap();
    assert_eq!(
        stream.read,
        ["begin-10-1010@5", "a@2", "b@3", "commit-1010@5"]
    );
}

#[test]
fn rolled_back_changes_are_not_replayed() {
    let mut stream = Stream::new();
    stream.block(10, true, &[(10, "a"), (11, "b"), (12, "c"), (10, "d")]);
    stream.abort(10, 12).unwrap();
    stream.block(10, false, &[(13, "e"), (14, "f"), (11, "g"), (13, "h")]);
    stream.abort(10, 14).unwrap();
    stream.abort(10, 13).unwrap();
    stream.block(20, true, &[(20, "never")]);
    stream.abort(20, 20).unwrap();
    stream.commit(10).unwrap();
    assert_eq!(stream.words(), "begin-10-1010 a b d g commit-1010");
    // Rollbacks are tolerated of which no transaction or subtransaction was sent.
    stream.abort(30, 30).unwrap();
    stream.abort(30, 31).unwrap();
    assert!(stream.commit(20).is_err(), "it was rolled back");
}

#[test]
fn a_transaction_without_rows_still_commits() {
    let mut stream = Stream::new();
    stream.block(10, true, &[]);
    stream.commit(10).unwrap();
    stream.block(20, true, &[(21, "void")]);
    stream.abort(20, 21).unwrap();
    stream.commit(20).unwrap();
    assert_eq!(
        stream.words(),
        "begin-10-1010 commit-1010 begin-20-1020 commit-1020"
    );
}

#[test]
fn descriptions_of_rolled_back_subtransactions_are_replayed_in_order() {
    let mut stream = Stream::new();
    stream.start(10, true).unwrap();
    stream.relation(Some(10), "one").unwrap();
    stream.insert(Some(10), "a").unwrap();
    // An identical description, as the server sends after each rollback of a subtransaction.
    stream.relation(Some(10), "one").unwrap();
    stream.relation(Some(11), "two").unwrap();
    stream.insert(Some(11), "b").unwrap();
    stream.stop().unwrap();
    stream.abort(10, 11).unwrap();
    stream.start(10, false).unwrap();
    stream.insert(Some(10), "c").unwrap();
    stream.stop().unwrap();
    stream.commit(10).unwrap();
    assert_eq!(
        stream.words(),
        "begin-10-1010 is-one a is-two c commit-1010"
    );
    // Descriptions in a transaction that is rolled back are not replayed.
    stream.start(20, true).unwrap();
    stream.relation(Some(20), "never").unwrap();
    stream.stop().unwrap();
    stream.abort(20, 20).unwrap();
    assert_eq!(stream.words(), "");
}

#[test]
fn the_relation_description_that_was_sent_last_is_valid_after_a_replay() {
    let mut stream = Stream::new();
    stream.start(10, true).unwrap();
    stream.relation(Some(11), "old").unwrap();
    stream.insert(Some(11), "a").unwrap();
    stream.stop().unwrap();
    stream.abort(10, 11).unwrap();
    // The rollback has released the lock of the table, so its definition can change.
    stream.whole(|stream| stream.relation(None, "new").unwrap());
    stream.words();
    stream.commit(10).unwrap();
    assert_eq!(stream.words(), "begin-10-1010 is-old is-new commit-1010");

    // Both descriptions in transactions in progress.
    stream.start(20, true).unwrap();
    stream.relation(Some(21), "old").unwrap();
    stream.stop().unwrap();
    stream.start(30, true).unwrap();
    stream.relation(Some(30), "new").unwrap();
    stream.stop().unwrap();
    stream.commit(30).unwrap();
    stream.commit(20).unwrap();
    assert_eq!(
        stream.words(),
        "begin-30-1030 is-new commit-1030 begin-20-1020 is-old is-new commit-1020"
    );

    // An older description is not replayed.
    stream.start(40, true).unwrap();
    stream.stop().unwrap();
    stream.whole(|stream| stream.relation(None, "old").unwrap());
    stream.start(40, false).unwrap();
    stream.relation(Some(40), "new").unwrap();
    stream.stop().unwrap();
    stream.words();
    stream.commit(40).unwrap();
    assert_eq!(stream.words(), "begin-40-1040 is-new commit-1040");
}

#[test]
fn the_origin_is_replayed_once() {
    let mut stream = Stream::new();
    let origin = Message::Origin(OriginMessage {
        commit_lsn: Lsn::INVALID,
        name: "elsewhere",
    });
    for first in [true, false] {
        stream.start(10, first).unwrap();
        stream.send(&origin).unwrap();
        stream.insert(Some(10), "a").unwrap();
        stream.stop().unwrap();
    }
    stream.commit(10).unwrap();
    assert_eq!(
        stream.words(),
        "begin-10-1010 from-elsewhere a a commit-1010"
    );
}

#[test]
fn messages_in_an_impossible_order_are_refused() {
    type Send = fn(&mut Stream) -> Result<()>;
    let violations: [(&str, Send); 9] = [
        ("a later block of an unknown transaction", |s| {
            s.start(10, false)
        }),
        ("two first blocks of a transaction", |s| {
            s.block(10, true, &[]);
            s.start(10, true)
        }),
        ("a block within a block", |s| {
            s.start(10, true)?;
            s.start(20, true)
        }),
        ("StreamStop outside a block", Stream::stop),
        ("a commit within a block", |s| {
            s.start(10, true)?;
            s.commit(10)
        }),
        ("a rollback within a block", |s| {
            s.start(10, true)?;
            s.abort(10, 10)
        }),
        ("a commit of an unknown transaction", |s| s.commit(10)),
        ("a block within a transaction that is sent whole", |s| {
            s.send(&Message::Begin(BeginMessage {
                final_lsn: Lsn::from(5),
                commit_time: TIME,
                xid: Xid(3),
            }))?;
            s.start(10, true)
        }),
        ("an empty message", |s| {
            s.start(10, true)?;
            s.send_data(b"")
        }),
    ];
    for (what, send) in violations {
        let error = send(&mut Stream::new()).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Protocol, "{what}");
    }
}

#[test]
fn messages_beyond_the_memory_limit_are_replayed_from_disk() {
    const MEMORY: usize = 16 * 1024;
    let mut stream = Stream::with(MEMORY);
    let huge = "h".repeat(3 * MEMORY);
    // Sizes around those of blocks, and one row that is larger than the memory limit.
    let row = |xid: u32, i: usize| format!("{xid}-{i}-{}", "x".repeat(i * 37 % 700));
    for i in 0..200 {
        for xid in [10, 20, 30] {
            stream.block(xid, i == 0, &[(xid, &row(xid, i))]);
            if (xid, i) == (20, 100) {
                stream.block(xid, false, &[(xid, &huge)]);
            }
        }
    }
    assert!(
        stream.largest <= MEMORY,
        "{} of {MEMORY} bytes",
        stream.largest
    );
    stream.abort(30, 30).unwrap();
    stream.words();
    for xid in [20, 10] {
        stream.commit(xid).unwrap();
        let mut expected = vec![format!("begin-{xid}-{}", 1000 + xid)];
        for i in 0..200 {
            expected.push(row(xid, i));
            if (xid, i) == (20, 100) {
                expected.push(huge.clone());
            }
        }
        expected.push(format!("commit-{}", 1000 + xid));
        assert!(stream.words() == expected.join(" "), "{xid}");
    }
    assert!(stream.spool.allocated() <= MEMORY);
}

/// Sends consecutive messages, each preceded by a byte with its length, up to the first that is
/// refused. Returns the number of accepted messages.
fn send_all(mut remaining: &[u8]) -> usize {
    let mut stream = Stream::with(2048);
    let mut accepted = 0;
    let arena = TupleArena::default();
    while let Some((&length, after)) = remaining.split_first() {
        let (data, after) = after.split_at(after.len().min(usize::from(length)));
        remaining = after;
        let refused = if stream.spool.is_receiving() {
            false
        } else {
            Message::parse(data, Spool::CONTEXT, &arena).is_err()
        };
        if refused || stream.send_data(data).is_err() {
            break;
        }
        accepted += 1;
    }
    accepted
}

#[test]
fn fuzzing_seeds_and_damaged_seeds_are_accepted_or_refused() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/spool");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        // Each byte is changed, and the seed is cut off at each byte.
        assert!(send_all(&data) > 0 || path.ends_with("a_commit_of_nothing"));
        for index in 0..data.len() {
            let mut wrong = data.clone();
            wrong[index] ^= 0x41;
            send_all(&wrong);
            send_all(&data[..index]);
        }
        files += 1;
    }
    assert!(files >= 9);
}

#[test]
fn an_unwritable_folder_is_refused_at_once() {
    let options = SpoolOptions {
        folder: Path::new("/proc/nowhere").to_owned(),
        ..SpoolOptions::default()
    };
    let error = Spool::new(&options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Spool);
    assert!(error.is_retryable());
}
