//! Encodes random messages, parses them, and compares.
//!
//! `PROTOCOL_TESTS_SECONDS` is the time for each test, in seconds (default 1).
//! `PROTOCOL_TESTS_SEED` repeats a failure.

#![cfg(feature = "testing")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "only tests may read the clock and the environment"
)]

use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use protocol::{
    BackendMessage, Column, FieldDescription, Format, LogicalReplicationMessage as Logical, Oid,
    OldTuple, ParseContext, ReplicaIdentity, TupleArena, TupleData, Xid, testing,
};

/// Xorshift generator, which is random enough for this purpose.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn u32(&mut self) -> u32 {
        u32::try_from(self.next() >> 32).unwrap()
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 0
    }

    fn list<T>(&mut self, end: u64, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(end)).map(|_| make(self)).collect()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let end = if self.below(20) == 0 { 5000 } else { 20 };
        self.list(end, |random| random.next().to_le_bytes()[0])
    }

    fn name(&mut self) -> String {
        let characters = ['a', 'Z', '_', '"', ' ', 'ä', '字', '\u{1f418}', '\u{1}'];
        self.list(12, |random| {
            characters[usize::try_from(random.below(9)).unwrap()]
        })
        .into_iter()
        .collect()
    }
}

/// Value of a row that owns its bytes.
enum Value {
    Null,
    UnchangedToast,
    Text(Vec<u8>),
    Binary(Vec<u8>),
}

impl Value {
    fn new(random: &mut Random) -> Self {
        match random.below(5) {
            0 => Self::Null,
            1 => Self::UnchangedToast,
            2 => Self::Binary(random.bytes()),
            _ => Self::Text(random.bytes()),
        }
    }

    fn borrowed(&self) -> TupleData<'_> {
        match self {
            Self::Null => TupleData::Null,
            Self::UnchangedToast => TupleData::UnchangedToast,
            Self::Text(value) => TupleData::Text(value),
            Self::Binary(value) => TupleData::Binary(value),
        }
    }
}

fn check(mut property: impl FnMut(&mut Random)) {
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seconds = variable("PROTOCOL_TESTS_SECONDS").unwrap_or(1);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let first = variable("PROTOCOL_TESTS_SEED").unwrap_or(u64::try_from(now).unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    for seed in first.. {
        // Shown if the test fails.
        println!("PROTOCOL_TESTS_SEED={seed}");
        // The state must not be zero, and differs widely for consecutive seeds.
        property(&mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
        if Instant::now() > end {
            break;
        }
    }
}

#[test]
fn encoded_rows_parse_to_the_same_values() {
    check(|random| {
        let values = random.list(40, |random| random.flag().then(|| random.bytes()));
        let mut out = BytesMut::new();
        testing::data_row(&mut out, values.iter().map(Option::as_deref)).unwrap();
        let Ok(BackendMessage::DataRow(row)) = BackendMessage::parse(out[0], &out[5..]) else {
            panic!("no row");
        };
        assert_eq!(row.len(), values.len());
        assert!(row.iter().eq(values.iter().map(Option::as_deref)));
    });
}

#[test]
fn encoded_row_descriptions_parse_to_the_same_columns() {
    check(|random| {
        let names = random.list(30, Random::name);
        let columns: Vec<_> = names
            .iter()
            .map(|name| FieldDescription {
                name,
                table: Oid(random.u32()),
                column: i16::from_be_bytes([0, random.bytes().len().to_le_bytes()[0]]),
                type_oid: Oid(random.u32()),
                type_size: -1,
                type_modifier: random.u32().cast_signed(),
                format: if random.flag() {
                    Format::Text
                } else {
                    Format::Binary
                },
            })
            .collect();
        let mut out = BytesMut::new();
        testing::row_description(&mut out, columns.iter().copied()).unwrap();
        let message = BackendMessage::parse(out[0], &out[5..]);
        let Ok(BackendMessage::RowDescription(description)) = message else {
            panic!("no description");
        };
        assert!(description.iter().eq(columns));
    });
}

#[test]
fn encoded_changes_parse_to_the_same_rows() {
    check(|random| {
        let mut context = ParseContext::new(4);
        context.in_stream_block = random.flag();
        let xid = context.in_stream_block.then(|| Xid(random.u32()));
        let relation = Oid(random.u32());
        let [old, new] = [(), ()].map(|()| random.list(40, Value::new));
        let [old, new] =
            [&old, &new].map(|values| values.iter().map(Value::borrowed).collect::<Vec<_>>());
        let part = if random.flag() { b'K' } else { b'O' };
        let is_old = |found: OldTuple<'_>| {
            matches!(found, OldTuple::Key(_)) == (part == b'K')
                && found.tuple().iter().eq(old.iter().copied())
        };

        let arena = TupleArena::default();
        let mut out = BytesMut::new();
        match random.below(3) {
            0 => {
                testing::insert(&mut out, xid, relation, new.iter().copied()).unwrap();
                let Ok(Logical::Insert(message)) = Logical::parse(&out, context, &arena) else {
                    panic!("no insert");
                };
                assert_eq!((message.xid, message.relation), (xid, relation));
                assert!(message.new.iter().eq(new));
            }
            1 => {
                let before = random.flag().then_some((part, &old[..]));
                testing::update(&mut out, xid, relation, before, new.iter().copied()).unwrap();
                let Ok(Logical::Update(message)) = Logical::parse(&out, context, &arena) else {
                    panic!("no update");
                };
                assert_eq!((message.xid, message.relation), (xid, relation));
                assert!(message.old.map(is_old).unwrap_or(before.is_none()));
                assert!(message.new.iter().eq(new));
            }
            _ => {
                testing::delete(&mut out, xid, relation, part, old.iter().copied()).unwrap();
                let Ok(Logical::Delete(message)) = Logical::parse(&out, context, &arena) else {
                    panic!("no delete");
                };
                assert_eq!((message.xid, message.relation), (xid, relation));
                assert!(is_old(message.old));
            }
        }
    });
}

#[test]
fn encoded_relations_parse_to_the_same_columns() {
    check(|random| {
        let context = ParseContext::new(1);
        let names = random.list(40, Random::name);
        let columns: Vec<_> = names
            .iter()
            .map(|name| Column {
                is_key: random.flag(),
                name,
                type_oid: Oid(random.u32()),
                type_modifier: random.u32().cast_signed(),
            })
            .collect();
        let (namespace, name) = (random.name(), random.name());
        let identity = [b'd', b'n', b'f', b'i'][usize::try_from(random.below(4)).unwrap()];
        let identity = ReplicaIdentity::from_code(identity).unwrap();
        let oid = Oid(random.u32());
        let mut out = BytesMut::new();
        let full_name = (&namespace[..], &name[..]);
        testing::relation(
            &mut out,
            None,
            oid,
            full_name,
            identity,
            columns.iter().copied(),
        )
        .unwrap();
        let arena = TupleArena::default();
        let Ok(Logical::Relation(message)) = Logical::parse(&out, context, &arena) else {
            panic!("no relation");
        };
        assert_eq!((message.namespace, message.name), full_name);
        assert_eq!(
            (message.relation, message.replica_identity),
            (oid, identity)
        );
        assert_eq!(message.columns().len(), columns.len());
        assert!(message.columns().eq(columns));
    });
}
