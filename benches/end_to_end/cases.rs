//! Tables that are captured, and the SQL that fills them.

/// A table and the changes that are made to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Columns and constraints, as `create table` takes them.
    columns: &'static str,
    /// SQL that runs before the capture starts; `$n` is the number of changes.
    before: &'static str,
    /// SQL that makes the changes; `$n` is their number.
    changes: &'static str,
    /// Number of changes, for a run of a few seconds.
    pub(crate) default_rows: u64,
}

impl Case {
    /// Returns the qualified name of the table.
    pub(crate) fn table(&self) -> String {
        format!("public.{}", self.name)
    }

    pub(crate) fn create(&self) -> String {
        format!("create table {}({})", self.name, self.columns)
    }

    pub(crate) fn before(&self, changes: u64) -> String {
        self.before.replace("$n", &changes.to_string())
    }

    pub(crate) fn changes(&self, changes: u64) -> String {
        self.changes.replace("$n", &changes.to_string())
    }
}

const NARROW_COLUMNS: &str = "
    id bigint primary key, customer_id int, amount numeric(12,2), status text, note text,
    created_at timestamptz";

/// Rows of six columns, inserted in one transaction.
pub(crate) const NARROW: Case = Case {
    name: "narrow",
    columns: NARROW_COLUMNS,
    before: "",
    changes: "
insert into narrow
select i, i % 100000, (i % 1000000) / 100.0, (array['new', 'paid', 'shipped'])[i % 3 + 1],
    'note on order ' || i, timestamptz '2024-01-01 00:00Z' + i * interval '1.25 s'
from generate_series(1, $n) i",
    default_rows: 2_000_000,
};

/// Rows of thirty columns of many types, inserted in one transaction.
pub(crate) const WIDE: Case = Case {
    name: "wide",
    columns: "
    id bigint primary key, active bool, born_on date, c01 int, c02 int, c03 smallint, c04 bigint,
    c05 bigint, c06 text, c07 text, c08 varchar(40), c09 char(8), c10 numeric(12,2), c11 numeric,
    c12 float8, c13 float4, c14 timestamptz, c15 timestamp, c16 uuid, c17 inet, c18 jsonb, c19 json,
    c20 text[], c21 bytea, c22 bool, c23 int[], c24 text, c25 time, c26 interval,
    updated_at timestamptz",
    before: "",
    changes: "
insert into wide
select i, i % 2 = 0, date '1970-01-01' + (i % 15000)::int, i % 1000, -i, i % 30000, i * 7919::bigint,
    -i * 104729::bigint, md5(i::text), 'text of row ' || i, 'name ' || i % 5000, lpad((i % 99999)::text, 8),
    i / 100.0, i * 1.000001, i / 7.0, i / 3.0, timestamptz '2024-01-01 00:00Z' + i * interval '1.5 s',
    timestamp '2024-01-01 00:00' + i * interval '2 s', md5(i::text)::uuid,
    ('10.' || i % 250 || '.' || i % 240 || '.1')::inet,
    jsonb_build_object('number', i, 'name', 'n' || i, 'list', array[1, 2, 3]),
    ('{\"kind\": \"k' || i % 9 || '\", \"weight\": ' || i / 10.0 || '}')::json,
    array['a' || i % 10, 'b c', 'd\"e'], decode(md5(i::text), 'hex'), null, array[i % 5, 2, 3],
    'another text, a little longer, of row ' || i, time '00:00' + i * interval '1 s',
    i * interval '1 min', timestamptz '2024-06-01 00:00Z' + i * interval '1 s'
from generate_series(1, $n) i",
    default_rows: 300_000,
};

/// Rows with text and JSON of 3 KB together, inserted in one transaction.
pub(crate) const DOCUMENTS: Case = Case {
    name: "documents",
    columns: "id bigint primary key, title text, body text, attributes jsonb",
    before: "",
    // Random characters compress badly, so that the rows are as large in the table as in the
    // stream.
    changes: "
insert into documents
select i, 'Document ' || i,
    (select string_agg(md5((i * 64 + j)::text) || ' \"quoted\" ', E'\\n') from generate_series(1, 48) j),
    (select jsonb_object_agg('member ' || j, md5((i * 99 + j)::text)) from generate_series(1, 16) j)
from generate_series(1, $n) i",
    default_rows: 150_000,
};

/// Rows of six columns, inserted in transactions of ten.
pub(crate) const SMALL: Case = Case {
    name: "small",
    columns: NARROW_COLUMNS,
    before: "",
    changes: "
do $$
begin
    for t in 0 .. $n / 10 - 1 loop
        insert into small
        select i, i % 100000, (i % 1000000) / 100.0, (array['new', 'paid', 'shipped'])[i % 3 + 1],
            'note on order ' || i, timestamptz '2024-01-01 00:00Z' + i * interval '1.25 s'
        from generate_series(t * 10 + 1, t * 10 + 10) i;
        commit;
    end loop;
end
$$",
    default_rows: 500_000,
};

/// Updates of rows with a large value, most of which do not change that value.
pub(crate) const TOAST: Case = Case {
    name: "toast",
    columns: "id bigint primary key, counter bigint, status text, body text",
    before: "
alter table toast alter column body set storage external;
insert into toast
select i, 0, 'new', repeat(md5(i::text), 250) from generate_series(1, greatest($n / 50, 10)) i",
    changes: "
do $$
begin
    for t in 1 .. $n / greatest($n / 50, 10) loop
        update toast set counter = counter + 1, status = 'seen ' || t,
            body = case when (id + t) % 20 = 0 then repeat(md5((id + t)::text), 250) else body end;
        commit;
    end loop;
end
$$",
    default_rows: 400_000,
};

/// Rows that hold the time of their insertion. The table is empty before the load.
pub(crate) const TICKS: Case = Case {
    name: "ticks",
    columns: "
    id bigserial primary key, note text,
    at bigint default extract(epoch from clock_timestamp()) * 1000000",
    before: "",
    changes: "",
    default_rows: 0,
};
