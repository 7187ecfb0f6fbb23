//! Tables of the micro-benchmarks, filled from a fixed seed.

use crate::stream::{ColumnSpec, Stream, Value};

const BOOL: u32 = 16;
const BYTEA: u32 = 17;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const JSON: u32 = 114;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const INET: u32 = 869;
const INT4_ARRAY: u32 = 1007;
const TEXT_ARRAY: u32 = 1009;
const DATE: u32 = 1082;
const TIME: u32 = 1083;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;
const INTERVAL: u32 = 1186;
const NUMERIC: u32 = 1700;
const UUID: u32 = 2950;
const JSONB: u32 = 3802;

/// Six columns, about 75 bytes per row.
pub(crate) const NARROW: [ColumnSpec; 6] = [
    ("id", INT8),
    ("customer_id", INT4),
    ("amount", NUMERIC),
    ("status", TEXT),
    ("note", TEXT),
    ("created_at", TIMESTAMPTZ),
];

/// Thirty columns of many types, those of the end-to-end benchmark's wide table.
pub(crate) const WIDE: [ColumnSpec; 30] = [
    ("id", INT8),
    ("active", BOOL),
    ("born_on", DATE),
    ("c01", INT4),
    ("c02", INT4),
    ("c03", INT2),
    ("c04", INT8),
    ("c05", INT8),
    ("c06", TEXT),
    ("c07", TEXT),
    ("c08", TEXT),
    ("c09", TEXT),
    ("c10", NUMERIC),
    ("c11", NUMERIC),
    ("c12", FLOAT8),
    ("c13", FLOAT4),
    ("c14", TIMESTAMPTZ),
    ("c15", TIMESTAMP),
    ("c16", UUID),
    ("c17", INET),
    ("c18", JSONB),
    ("c19", JSON),
    ("c20", TEXT_ARRAY),
    ("c21", BYTEA),
    ("c22", BOOL),
    ("c23", INT4_ARRAY),
    ("c24", TEXT),
    ("c25", TIME),
    ("c26", INTERVAL),
    ("updated_at", TIMESTAMPTZ),
];

/// Text and JSON, together about 3 KB per row.
pub(crate) const DOCUMENTS: [ColumnSpec; 4] = [
    ("id", INT8),
    ("title", TEXT),
    ("body", TEXT),
    ("attributes", JSONB),
];

/// Pseudo-random numbers from a fixed seed.
pub(crate) struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }
}

impl Random {
    /// Returns a number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).expect("64 bits") % bound
    }

    /// Returns words separated by spaces, of at most `length` bytes together and only a few less.
    pub(crate) fn words(&mut self, length: usize, words: &[&str]) -> String {
        let mut text = String::new();
        loop {
            let word = words[self.below(words.len())];
            if text.len() + word.len() + 1 > length {
                return text;
            }
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
    }
}

/// Words, few of which need an escape.
pub(crate) const WORDS: [&str; 12] = [
    "lorem",
    "ipsum",
    "dolor",
    "sit",
    "amet,",
    "delivered",
    "to",
    "customer",
    "in",
    "warehouse",
    "\"fragile\"",
    "line\nbreak",
];

const PLAIN: [&str; 8] = [
    "left", "at", "the", "door", "of", "number", "eleven", "again",
];

fn moment(random: &mut Random) -> Value {
    Some(format!(
        "2024-{:02}-{:02} {:02}:{:02}:{:02}.{:05}{}+00",
        1 + random.below(12),
        1 + random.below(28),
        random.below(24),
        random.below(60),
        random.below(60),
        random.below(100_000),
        1 + random.below(9)
    ))
}

/// Returns a row of the narrow table.
pub(crate) fn narrow_row(id: usize, random: &mut Random) -> Vec<Value> {
    let status = ["new", "paid", "shipped", "delivered", "returned"];
    let length = 12 + random.below(12);
    vec![
        Some((1_000_000 + id).to_string()),
        Some(random.below(100_000).to_string()),
        Some(format!("{}.{:02}", random.below(5_000), random.below(100))),
        Some(status[random.below(5)].to_owned()),
        Some(random.words(length, &PLAIN)),
        moment(random),
    ]
}

/// Returns a row of the wide table, with values like those of the end-to-end benchmark.
pub(crate) fn wide_row(id: usize, random: &mut Random) -> Vec<Value> {
    let clock = |seconds: usize| {
        let (minutes, second) = (seconds / 60, seconds % 60);
        format!("{:02}:{:02}:{second:02}", minutes / 60, minutes % 60)
    };
    let number = 1 + random.below(300_000);
    // The shortest digits that identify the number, as the server writes them.
    let float =
        |divisor: u32| f64::from(u32::try_from(number).expect("small")) / f64::from(divisor);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to the nearest number is intended"
    )]
    let single = float(3) as f32;
    let hash = format!(
        "{:016x}{:016x}",
        random.below(1 << 53),
        random.below(1 << 53)
    );
    let (head, tail) = hash.split_at(20);
    let uuid = [&head[..8], &head[8..12], &head[12..16], &head[16..], tail].join("-");
    let moment = |seconds| format!("2024-01-{:02} {}", 1 + id % 28, clock(seconds % 86_400));
    [
        (1_000_000 + id).to_string(),
        ["f", "t"][id % 2].to_owned(),
        format!("{}-{:02}-{:02}", 1970 + id % 41, 1 + id % 12, 1 + id % 28),
        (number % 1_000).to_string(),
        format!("-{number}"),
        (number % 30_000).to_string(),
        (number * 7_919).to_string(),
        format!("-{}", number * 104_729),
        hash.clone(),
        format!("text of row {number}"),
        format!("name {}", number % 5_000),
        format!("{:8}", number % 99_999),
        format!("{}.{:02}", number / 100, number % 100),
        format!("{number}.{number:06}"),
        float(7).to_string(),
        single.to_string(),
        format!("{}.5+00", moment(number)),
        moment(2 * number),
        uuid,
        format!("10.{}.{}.1", number % 250, number % 240),
        format!("{{\"list\": [1, 2, 3], \"name\": \"n{number}\", \"number\": {number}}}"),
        format!(
            "{{\"kind\": \"k{}\", \"weight\": {}}}",
            number % 9,
            float(10)
        ),
        format!("{{a{},\"b c\",\"d\\\"e\"}}", number % 10),
        format!("\\x{hash}"),
        String::new(),
        format!("{{{},2,3}}", number % 5),
        format!("another text, a little longer, of row {number}"),
        clock(number % 86_400),
        clock(60 * number),
        format!("{}+00", moment(number)),
    ]
    .into_iter()
    // Column c22, the second boolean, is NULL.
    .map(|value| Some(value).filter(|value| !value.is_empty()))
    .collect()
}

/// Returns a row of the table of documents.
pub(crate) fn document_row(id: usize, random: &mut Random) -> Vec<Value> {
    let attributes = (0..8)
        .map(|member| format!("\"member{member}\": \"{}\"", random.words(100, &PLAIN)))
        .collect::<Vec<_>>()
        .join(", ");
    vec![
        Some((1_000_000 + id).to_string()),
        Some(random.words(40, &PLAIN)),
        Some(random.words(2_000, &WORDS)),
        Some(format!("{{{attributes}}}")),
    ]
}

/// Returns a transaction that inserts rows.
pub(crate) fn inserts(
    columns: &[ColumnSpec],
    rows: usize,
    row: fn(usize, &mut Random) -> Vec<Value>,
) -> Stream {
    inserts_from(&mut Random::default(), columns, rows, row)
}

/// Returns a transaction that inserts rows made from the given random numbers.
pub(crate) fn inserts_from(
    random: &mut Random,
    columns: &[ColumnSpec],
    rows: usize,
    row: fn(usize, &mut Random) -> Vec<Value>,
) -> Stream {
    let mut stream = Stream::replication(columns);
    for id in 0..rows {
        stream.insert(&row(id, random));
    }
    stream.commit();
    stream
}

/// Returns a transaction that updates rows whose replica identity is FULL.
pub(crate) fn updates(rows: usize) -> Stream {
    let mut random = Random::default();
    let mut stream = Stream::replication(&NARROW);
    for id in 0..rows {
        let old = narrow_row(id, &mut random);
        let mut new = old.clone();
        new[3] = Some("returned".to_owned());
        stream.update(Some(&old), &new, &[]);
    }
    stream.commit();
    stream
}

/// Returns a transaction that deletes rows whose replica identity is FULL.
pub(crate) fn deletions(rows: usize) -> Stream {
    let mut random = Random::default();
    let mut stream = Stream::replication(&NARROW);
    for id in 0..rows {
        stream.delete(&narrow_row(id, &mut random), false);
    }
    stream.commit();
    stream
}

/// Returns the rows of a query, as a backfill receives them.
pub(crate) fn data_rows(
    columns: &[ColumnSpec],
    rows: usize,
    row: fn(usize, &mut Random) -> Vec<Value>,
) -> Stream {
    let mut random = Random::default();
    let mut stream = Stream::query(columns);
    for id in 0..rows {
        stream.data_row(&row(id, &mut random));
    }
    stream
}
