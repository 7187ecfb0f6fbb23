//! Tables with the values to be compared, and the server's values for them.

use std::collections::BTreeMap;

use postgres::Client;

use super::compare::Mode;
use super::types::{Arrays, TYPES, Type, USER_TYPES};
use crate::support::exact::Exact;
use crate::support::postgres::{Version, query, value};
use crate::support::scene::{Scene, execute};

/// A captured table.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    pub(super) rows: usize,
}

/// A column of a type or of its arrays.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) of: &'static Type,
    /// Whether its values are arrays made of the type's values.
    pub(super) is_made_array: bool,
    /// Number of different values.
    values: usize,
}

/// Expected JSON of a value.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) json: Exact,
    /// The server's text, `None` for a null value.
    pub(super) shown: Option<String>,
}

impl Type {
    pub(super) fn declared_as(&self) -> &'static str {
        match self.declared {
            "" => self.name,
            declared => declared,
        }
    }

    pub(super) fn is_in(&self, version: Version) -> bool {
        (self.since..=self.until).contains(&version.0)
    }

    /// Returns the fixed values that a version supports.
    fn edges_in(&self, version: Version) -> impl Iterator<Item = &'static str> {
        self.edges
            .iter()
            .filter_map(move |edge| match edge.split_once(": ") {
                Some((since, edge))
                    if since.len() == 2 && since.bytes().all(|b| b.is_ascii_digit()) =>
                {
                    (version.0 >= since.parse().expect("digits")).then_some(edge)
                }
                _ => Some(*edge),
            })
    }
}

/// Domains over arrays whose elements are domains or arrays.
const IN_ARRAYS: &[&str] = &["d_positives", "d_ints_of"];

/// Number of columns of a table. The arrays of a type follow the type.
const COLUMNS: usize = 14;

/// Creates types, values and tables.
pub(super) fn fill(
    scene: &mut Scene,
    version: Version,
    mode: Mode,
    random: usize,
    seed: usize,
) -> Vec<Group> {
    let client = &mut connect(scene);
    prepare(client, version, seed);
    let mut groups: Vec<Group> = Vec::new();
    for of in TYPES.iter().filter(|of| of.is_in(version)) {
        // With nested arrays these are nested too, which the oracle does not support.
        if mode == Mode::Nested && IN_ARRAYS.contains(&of.name) {
            continue;
        }
        let values = make_values(client, of, version, random);
        let arrays = make_arrays(client, &values, version, random);
        for column in [Some(values), arrays].into_iter().flatten() {
            match groups
                .last_mut()
                .filter(|group| group.columns.len() < COLUMNS)
            {
                Some(group) => group.columns.push(column),
                None => groups.push(Group {
                    name: format!("g{}", groups.len()),
                    columns: vec![column],
                    rows: 0,
                }),
            }
        }
    }
    groups.iter_mut().for_each(|group| group.make(client));
    groups
}

/// Creates types and functions.
pub(super) fn prepare(client: &mut Client, version: Version, seed: usize) {
    execute(client, USER_TYPES);
    if version >= Version(11) {
        execute(
            client,
            "create domain d_pair as pair; create domain d_positives as d_int[]",
        );
    }
    if version >= Version(14) {
        execute(client, "create domain d_spans as int4multirange");
    }
    execute(client, include_str!("generate.sql"));
    execute(client, include_str!("oracle.sql"));
    let seed = f64::from(u32::try_from(seed).expect("32 bits")) + 1.0;
    execute(
        client,
        &format!(
            "create table marker(id int primary key); create schema pool;
             select setseed({})",
            1.0 / seed
        ),
    );
}

/// Connects with the settings that give values the text that the oracle needs.
pub(super) fn connect(scene: &Scene) -> Client {
    let mut client = scene.connect();
    execute(
        &mut client,
        "set client_encoding = 'UTF8'; set datestyle = 'ISO, MDY'; set intervalstyle = postgres;
         set bytea_output = hex; set extra_float_digits = 3; set standard_conforming_strings = on;
         set xmloption = content",
    );
    client
}

/// Fills a table with values of a type.
pub(super) fn make_values(
    client: &mut Client,
    of: &'static Type,
    version: Version,
    random: usize,
) -> Column {
    let (name, declared) = (of.name, of.declared_as());
    let pool = format!("pool.\"{name}\"");
    execute(
        client,
        &format!("create unlogged table {pool}(n serial, v {declared})"),
    );
    for edge in of.edges_in(version) {
        execute(
            client,
            &format!("insert into {pool}(v) select ({edge})::{declared}"),
        );
    }
    if !of.random.is_empty() {
        execute(
            client,
            &format!(
                "insert into {pool}(v) select ({})::{declared} from generate_series(1, {random})",
                of.random
            ),
        );
    }
    Column::new(client, name.to_owned(), of, false)
}

/// Fills a table with arrays of a type's values, if there are arrays of it.
fn make_arrays(
    client: &mut Client,
    of_values: &Column,
    version: Version,
    random: usize,
) -> Option<Column> {
    let (of, values) = (of_values.of, of_values.values);
    let (name, declared) = (of.name, of.declared_as());
    // PostgreSQL 10 has no arrays of domains. Before version 14 vectors count as arrays, so that
    // there are no arrays of them.
    let is_domain = declared.starts_with("d_") || name == "lo";
    if of.arrays == Arrays::No
        || version < Version(11) && is_domain
        || version < Version(14) && declared.ends_with("vector")
    {
        return None;
    }
    let pool = format!("pool.\"{name}\"");
    let array = format!("{name}[]");
    let arrays = format!("pool.\"{array}\"");
    let shapes = [
        "'{}'",
        "array[a]",
        "array[a, null, b]",
        "array[null]",
        "array[array[a, b], array[null, c]]",
        "array[array[array[a], array[b]], array[array[c], array[null]]]",
        "array_fill(a, array[1, 1, 1, 1, 1, 2])",
        "array_fill(a, array[2], array[-1])",
        "array_fill(b, array[2, 3], array[0, 5])",
        "array[a, b, c, a, b, c, a, b, c, a, b, c]",
        "array(select v from {pool} order by n limit 40)",
    ];
    execute(
        client,
        &format!("create unlogged table {arrays}(n serial, v {declared}[])"),
    );
    for (number, shape) in shapes.iter().enumerate() {
        let shape = shape.replace("{pool}", &pool);
        // Each value occurs in arrays of each shape.
        let made = format!(
            "insert into {arrays}(v) select ({shape})::{declared}[] from generate_series({number}, greatest({number}, {values}), 5) i
             cross join lateral (select
                (select v from {pool} where n = i % {values} + 1),
                (select v from {pool} where n = (i + 1) % {values} + 1),
                (select v from {pool} where n = (i + 7) % {values} + 1)) as s(a, b, c)
             limit greatest(1, {random} / 5)"
        );
        execute(client, &made);
    }
    Some(Column::new(client, array, of, true))
}

impl Group {
    /// Creates the table. Its first row has only null values; the columns of the others go through
    /// their values in turn.
    fn make(&mut self, client: &mut Client) {
        self.rows = 1 + self
            .columns
            .iter()
            .map(|column| column.values)
            .max()
            .unwrap_or(0);
        let name = &self.name;
        let list = |item: &dyn Fn(&Column) -> String| -> String {
            self.columns
                .iter()
                .map(|column| format!(",\n{}", item(column)))
                .collect()
        };
        let columns = list(&|column| format!("{} {}", column.quoted(), column.declared()));
        let values = list(&|column| {
            format!(
                "(select v from pool.{} where n = (i - 1) % {} + 1 and i > 0)",
                column.quoted(),
                column.values
            )
        });
        execute(
            client,
            &format!(
                "create table {name}(id int primary key{columns});
                 alter table {name} replica identity full;
                 insert into {name} select i{values} from generate_series(0, {} - 1) i",
                self.rows
            ),
        );
    }

    /// Queries the expected values of each row, by id.
    pub(super) fn expected(&self, client: &mut Client, mode: Mode) -> BTreeMap<i64, Vec<Due>> {
        let items: String = self
            .columns
            .iter()
            .map(|column| {
                let v = column.quoted();
                format!(
                    ", case when num_nulls({v}) = 0 then {} end, case when num_nulls({v}) = 0 then {} end",
                    column.shown(),
                    column.due(mode)
                )
            })
            .collect();
        let rows = query(
            client,
            &format!("select id{items} from {} order by id", self.name),
        );
        rows.into_iter()
            .map(|row| {
                let due = row[1..].chunks(2).map(|pair| match pair[1].as_str() {
                    "NULL" => Due {
                        json: Exact::Null,
                        shown: None,
                    },
                    json => Due {
                        json: Exact::parse(json),
                        shown: Some(pair[0].clone()),
                    },
                });
                (row[0].parse().expect("a number"), due.collect())
            })
            .collect()
    }
}

impl Column {
    fn new(client: &mut Client, name: String, of: &'static Type, is_made_array: bool) -> Self {
        let values = value(client, &format!("select count(*) from pool.\"{name}\""));
        let values = values.parse().expect("a number");
        Self {
            name,
            of,
            is_made_array,
            values,
        }
    }

    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.name)
    }

    fn declared(&self) -> String {
        let declared = self.of.declared_as();
        if self.is_made_array {
            format!("{declared}[]")
        } else {
            declared.to_owned()
        }
    }

    /// Returns whether the values are arrays.
    pub(super) fn is_array(&self) -> bool {
        self.is_made_array || self.of.is_array
    }

    /// Returns whether the values are captured as JSON arrays or as objects with dimensions and
    /// elements.
    pub(super) fn has_json_arrays(&self, mode: Mode) -> bool {
        self.of.is_array
            || self.is_made_array && (self.of.arrays == Arrays::Json || mode == Mode::Nested)
    }

    fn shown(&self) -> String {
        if self.is_made_array && self.name == "char[]" {
            // Before version 16 the text of a byte beyond ASCII is not valid.
            return format!("{}::int[]::text", self.quoted());
        }
        let shown = if self.is_made_array {
            "format('%s', {v})"
        } else {
            self.of.shown
        };
        shown.replace("{v}", &self.quoted())
    }

    /// Returns the SQL for the expected JSON; for arrays, an object with dimensions and elements.
    fn due(&self, mode: Mode) -> String {
        let v = self.quoted();
        let json = match (self.of.json_off, mode) {
            (Some(off), Mode::Objects) => off,
            _ => self.of.json,
        };
        if self.has_json_arrays(mode) {
            let element = json.replace("{v}", "e");
            return format!(
                "json_build_object(
                    'dimensions', (select json_agg(array_length({v}, d)) from generate_series(1, array_ndims({v})) d),
                    'elements', (select json_agg(case when num_nulls(e) = 0 then {element} end order by o)
                        from (select e, row_number() over () as o from (select unnest({v}) as e) s) u))"
            );
        }
        if self.is_made_array {
            return format!("to_json(format('%s', {v}))");
        }
        json.replace("{v}", &v)
    }
}
