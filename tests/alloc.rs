//! Counts of memory allocations: in the steady state a row causes none, from the bytes of its frame
//! to the frame of its document.
//!
//! This is a test binary of its own because it replaces the global allocator. Allocations are
//! counted per thread, so the tests can run in parallel.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::BytesMut;
use protocol::{
    LogicalReplicationMessage, Lsn, Oid, PgTimestamp, StreamCommitMessage, StreamStartMessage,
    TupleArena, TupleData, Xid, testing,
};
use source_postgres::flow::{Codec, Output};
use source_postgres::replication::{Spool, SpoolOptions};

#[path = "../benches/stream.rs"]
mod stream;

use stream::{ColumnSpec, Reader, Stream, Value};

/// Allocator that counts the allocations of each thread.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count_one() {
    // Fails while the thread ends, when allocations are no longer counted.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed unchanged to the system allocator. The counter has no destructor, so
// it neither allocates nor unwinds.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: the caller upholds the contract of the method, which is that of the system
        // allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_one();
        // SAFETY: as above, and `pointer` was returned by the system allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above, and `pointer` was returned by the system allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Columns with the types that tables usually have, the key first: name, type OID and two values.
const COLUMNS: [(&str, u32, &str, &str); 27] = [
    ("id", 20, "1", "9223372036854775807"),
    ("bool", 16, "t", "f"),
    ("bpchar", 1042, "ab   ", ""),
    ("bytea", 17, "\\x00ff10", "\\x"),
    ("char", 18, "x", "\\351"),
    ("date", 1082, "2024-02-29", "0044-03-15 BC"),
    ("float4", 700, "1.5", "NaN"),
    ("float8", 701, "0.1234567890123456", "-1e-300"),
    ("inet", 869, "10.0.0.1", "2001:db8::1/64"),
    ("int2", 21, "-1", "0"),
    ("int4", 23, "2147483647", "12"),
    (
        "interval",
        1186,
        "1 year 2 mons 3 days 04:05:06",
        "-00:00:01",
    ),
    (
        "json",
        114,
        r#"{"a": [1, 2.50, "x\ny"], "b": null}"#,
        " true ",
    ),
    (
        "jsonb",
        3802,
        r#"{"a": {"b": ["\ud83d\ude00", "é"]}}"#,
        "[]",
    ),
    ("macaddr", 829, "08:00:2b:01:02:03", "08:00:2b:01:02:03"),
    ("numeric", 1700, "12345678901234567890.1230", "NaN"),
    ("int4range", 3904, "[1,10)", "empty"),
    ("int4s", 1007, "{1,2,NULL}", "{}"),
    ("texts", 1009, r#"{plain,"with \"quotes\"",NULL}"#, "{}"),
    ("text", 25, "plain text", "größe\tand 🎉 \"quotes\"\n"),
    ("long", 25, LONG, "short again"),
    ("time", 1083, "23:59:59.5", "24:00:00"),
    ("timestamp", 1114, "2024-02-29 12:34:56.789", "infinity"),
    (
        "timestamptz",
        1184,
        "2024-02-29 12:34:56.789012+00",
        "2024-02-29 12:34:56+05:45",
    ),
    (
        "uuid",
        2950,
        "4bf0e1a5-0000-4000-8000-0123456789ab",
        "4bf0e1a5-0000-4000-8000-0123456789ab",
    ),
    ("varchar", 1043, "Ünï", "\\backslash\\"),
    // A type that the connector does not know, such as an enum.
    ("other", 99_999, "happy", "sad"),
];

/// A text that is longer than any SIMD register, with characters to escape.
const LONG: &str = "Lorem ipsum dolor sit amet, consectetur \"adipiscing\" elit, sed do eiusmod \
    tempor incididunt ut labore et dolore magna aliqua.\nUt enim ad minim veniam, quis nostrud \
    exercitation ullamco laboris nisi ut aliquip ex ea commodo consequat: größer, 日本, 🎉.";

const ROWS: usize = 500;

fn columns() -> [ColumnSpec; COLUMNS.len()] {
    COLUMNS.map(|(name, type_oid, ..)| (name, type_oid))
}

/// Returns a row in which some values are null.
fn row(number: usize) -> Vec<Value> {
    COLUMNS
        .iter()
        .enumerate()
        .map(|(index, (.., first, second))| {
            let text = if (number + index).is_multiple_of(2) {
                first
            } else {
                second
            };
            let is_null = index > 0 && (number + index).is_multiple_of(7);
            (!is_null).then(|| (*text).to_owned())
        })
        .collect()
}

fn key_only(row: &[Value]) -> Vec<Value> {
    row.iter()
        .enumerate()
        .map(|(index, value)| value.clone().filter(|_| index == 0))
        .collect()
}

/// Reads a stream twice in both codecs. The second pass must not allocate.
fn check(stream: &Stream) {
    for codec in [Codec::Proto, Codec::Json] {
        let mut reader = Reader::new(stream);
        assert_eq!(reader.parse(stream), stream.rows);
        let mut output = Output::new(Counter::default(), codec);
        let mut pass = || {
            let before = COUNT.get();
            assert_eq!(reader.write(stream, &mut output), stream.rows);
            output.flush().unwrap();
            COUNT.get() - before
        };
        // The buffers grow to their final size, and the counter is shown to work.
        assert!(pass() > 0);
        assert_eq!(pass(), 0, "allocations in {} rows, {codec:?}", stream.rows);
    }
}

/// Output that only counts bytes, so that the buffers are emptied as with real output.
#[derive(Default)]
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn inserts_allocate_nothing() {
    let mut stream = Stream::replication(&columns());
    for number in 0..ROWS {
        stream.insert(&row(number));
    }
    stream.commit();
    check(&stream);
}

#[test]
fn updates_allocate_nothing() {
    let mut stream = Stream::replication(&columns());
    for number in 0..ROWS {
        let (old, new) = (row(number), row(number + 1));
        // Unchanged TOAST values are not sent: they are taken from the old row.
        let toasted = [12, 13, 20];
        stream.update(
            Some(&old),
            &new,
            if number.is_multiple_of(2) {
                &toasted
            } else {
                &[]
            },
        );
        stream.update(None, &new, &[]);
    }
    stream.commit();
    check(&stream);
}

#[test]
fn deletions_allocate_nothing() {
    let mut stream = Stream::replication(&columns());
    for number in 0..ROWS {
        let row = row(number);
        stream.delete(&row, false);
        stream.delete(&key_only(&row), true);
    }
    stream.commit();
    check(&stream);
}

#[test]
fn documents_of_two_alternating_bindings_allocate_nothing() {
    for codec in [Codec::Proto, Codec::Json] {
        let mut output = Output::new(Counter::default(), codec);
        let mut pass = || {
            let before = COUNT.get();
            for number in 0..ROWS {
                let mark = output.begin_captured(if number.is_multiple_of(2) { 7 } else { 300 });
                output.buffer().extend_from_slice(b"{}");
                output.end_captured(mark).unwrap();
            }
            output.flush().unwrap();
            COUNT.get() - before
        };
        assert!(pass() > 0);
        assert_eq!(pass(), 0, "allocations in {ROWS} documents, {codec:?}");
    }
}

/// Spooling a transaction in progress takes a few allocations, whatever the number of its rows.
#[test]
fn spooled_rows_allocate_nothing() {
    const FEW: u64 = 10;
    let mut row = BytesMut::new();
    let values = [TupleData::Text(&[b'v'; 80])];
    testing::insert(&mut row, Some(Xid(7)), Oid(16_400), values).expect("a row");
    let mut spool = Spool::new(&SpoolOptions::default()).expect("a temporary folder");
    let mut arena = TupleArena::default();
    let mut keep = |rows: usize| {
        let before = COUNT.get();
        let start = StreamStartMessage {
            xid: Xid(7),
            first_segment: true,
        };
        let commit = StreamCommitMessage {
            xid: Xid(7),
            commit_lsn: Lsn::from(2),
            end_lsn: Lsn::from(3),
            commit_time: PgTimestamp::from_unix_micros(0),
        };
        let lsn = Lsn::from(1);
        spool
            .handle(&LogicalReplicationMessage::StreamStart(start), lsn, b"")
            .expect("a start");
        for _ in 0..rows {
            spool.receive(lsn, &row).expect("the row is spooled");
        }
        spool.receive(lsn, b"E").expect("the end of the block");
        spool
            .handle(&LogicalReplicationMessage::StreamCommit(commit), lsn, b"")
            .expect("a commit");
        let mut replayed = 0;
        while spool.is_replaying() {
            arena.reset();
            spool.next_message(&arena).expect("a spooled message");
            replayed += 1;
        }
        assert_eq!(replayed, rows + 2);
        COUNT.get() - before
    };
    // The spool reuses its blocks of memory for the next transaction.
    keep(30_000);
    for rows in [1_000, 10_000, 20_000] {
        let count = keep(rows);
        assert!(count <= FEW, "{count} allocations for {rows} rows");
    }
}

#[test]
fn rows_of_a_backfill_allocate_nothing() {
    let mut stream = Stream::query(&columns());
    for number in 0..ROWS {
        stream.data_row(&row(number));
    }
    check(&stream);
}
