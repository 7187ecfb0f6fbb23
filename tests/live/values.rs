//! Unusual keys and values: odd types of keys, huge values, other encodings.

use serde_json::{Value, json};

use crate::support::json::short;
use crate::support::postgres::{Version, value};
use crate::support::scene::{Scene, advanced, changes, documents_of, execute};

mod keys {
    use super::*;

    /// Backfills in chunks of `chunk_size` rows until at least `rows` rows are committed, then
    /// kills the capture.
    fn backfill_part(scene: &mut Scene, chunk_size: u64, rows: u64) {
        advanced(&mut scene.task, &json!({"backfill_chunk_size": chunk_size}));
        let mut session = scene.task.open();
        session.until("a part of the backfill", |session| {
            session.task.binding_state("public.t")["backfilled"].as_u64() >= Some(rows)
        });
        session.kill();
    }

    /// Completes the backfill, runs `insert`, which inserts the row 1000, and compares the
    /// documents.
    fn complete(scene: &mut Scene, insert: &str) {
        let mut session = scene.task.open_active();
        execute(&mut scene.client, insert);
        session.until_id("public.t", 1000);
        session.kill();
        scene.assert_captured("public.t", &["id"]);
    }

    /// Backfills in small chunks with a kill in between, changes rows, and compares the documents.
    fn capture_with_kill(scene: &mut Scene, key: &[&str], sql: &str) {
        backfill_part(scene, 3, 6);
        assert!(scene.task.is_backfilling());
        scene.execute("update t set n = -n where n % 4 = 0");
        let mut session = scene.task.open_active();
        execute(&mut scene.client, sql);
        session.until_document("public.t", |document| document.value["n"] == 1000);
        session.kill();
        let rows = documents_of(&scene.task, "public.t").into_iter();
        let rows = rows.filter(|document| document.is_snapshot()).count();
        assert_eq!(rows, 40, "each row once");
        scene.assert_captured("public.t", key);
    }

    #[test]
    fn keys_of_domains() {
        for (make, value) in [
            ("create domain d as int check (value > 0)", "i"),
            ("create domain d as text", "'row ' || i"),
            (
                "create domain e as varchar(20); create domain d as e not null",
                "chr(64 + i % 50) || i",
            ),
            (
                "create domain f as bigint; create domain e as f; create domain d as e",
                "i * 10000000000",
            ),
            (
                "create type c as enum ('b', 'a'); create domain d as uuid",
                "md5(i::text)::uuid",
            ),
        ] {
            let mut scene = Scene::new(&format!(
                "{make}; create table t(k d primary key, n int);
                 insert into t select {value}, i from generate_series(1, 40) i"
            ));
            scene.task.bind(&["public.t"]);
            let sql = format!(
                "update t set n = 2000 where n = 7;
                 delete from t where n = 9;
                 insert into t select {value}, 1000 from generate_series(41, 41) i"
            );
            capture_with_kill(&mut scene, &["k"], &sql);
        }
    }

    /// The server orders enum labels by their positions in the type, not by their names or OIDs.
    #[test]
    fn enum_labels_can_be_added_during_a_scan() {
        let mut scene = Scene::new(
            "create type mood as enum ('z', 'm', 'a'); create domain feeling as mood;
             create table t(k feeling, id int, n int, primary key (k, id));
             insert into t select (enum_range(null::mood))[1 + i % 3], i, i
                from generate_series(1, 40) i",
        );
        scene.task.bind(&["public.t"]);
        backfill_part(&mut scene, 3, 15);
        assert!(scene.task.is_backfilling());
        for label in [
            "'first' before 'z'",
            "'y' before 'm'",
            "'A' after 'm'",
            "'last'",
        ] {
            scene.execute(&format!("alter type mood add value {label}"));
        }
        scene.execute(
            "insert into t select (enum_range(null::mood))[1 + i % 7], 100 + i, i
                from generate_series(1, 21) i;
             update t set k = 'first' where id % 8 = 0; update t set k = 'last' where id % 8 = 1;
             delete from t where id % 8 = 2",
        );
        complete(&mut scene, "insert into t values ('y', 1000, 1000)");
    }

    /// The position of the scan is stored as the text of the label.
    #[test]
    fn renaming_the_enum_label_at_the_position_of_a_scan_stops_the_capture() {
        let mut scene = Scene::new(
            "create type mood as enum ('z', 'm');
             create table t(k mood, id int, n int, primary key (k, id));
             insert into t select case when i <= 20 then 'z' else 'm' end::mood, i, i
                from generate_series(1, 40) i",
        );
        scene.task.bind(&["public.t"]);
        backfill_part(&mut scene, 3, 6);
        assert!(scene.task.is_backfilling());
        scene.execute(
            "alter type mood rename value 'm' to 'M'; alter type mood rename value 'z' to 'Z'",
        );
        let words = ["public.t", "22P02", "backfill counter"];
        scene.task.run().assert_failed(&words);
        scene.task.binding_mut("public.t").backfill = 1;
        scene.task.publish();
        complete(&mut scene, "insert into t values ('M', 1000, 1000)");
    }

    /// A key with WITHOUT OVERLAPS has a GiST index. With a nondeterministic collation different
    /// texts can be the same key.
    #[test]
    fn keys_without_overlaps_and_with_nondeterministic_collations() {
        let mut scene = Scene::on(
            Version(18),
            "create extension btree_gist;
             create collation fold (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             create table t(id int, valid int4range, n int, primary key (id, valid without overlaps));
             create table u(k text collate fold primary key, n int);
             create table w(k varchar(9) collate fold, j int, n int, primary key (k, j));
             insert into t select i / 4, int4range(i, i + 1), i from generate_series(1, 40) i;
             insert into u select (array['a', 'B', 'é', 'É'])[1 + i % 4] || i, i
                from generate_series(1, 40) i;
             insert into w select chr(64 + i % 3 + 32 * (i % 2)), i, i from generate_series(1, 40) i",
        );
        let tables = [
            ("public.t", &["id", "valid"][..]),
            ("public.u", &["k"]),
            ("public.w", &["k", "j"]),
        ];
        scene.task.bind(&tables.map(|(table, _)| table));
        advanced(&mut scene.task, &json!({"backfill_chunk_size": 3}));
        for part in 1..=6 {
            let mut session = scene.task.open();
            session.until("a part of the backfill", |session| {
                let rows = |(table, _): &(&str, _)| {
                    session.task.binding_state(table)["backfilled"].as_u64()
                };
                tables.iter().filter_map(rows).sum::<u64>() >= part * 9
            });
            session.kill();
            assert!(scene.task.is_backfilling());
            scene.execute(
                "update t set n = n + 100 where n % 4 = 1; delete from t where n % 7 = 5;
                 update t set valid = int4range(lower(valid) + 1000, null) where n % 13 = 3;
                 update u set n = n + 100 where n % 4 = 1; delete from u where n % 7 = 3;
                 update w set n = n + 100 where n % 5 = 2; delete from w where n % 9 = 3;
                 update w set k = case when k = upper(k collate \"C\") then lower(k) else upper(k) end
                    where n % 11 = 5",
            );
        }
        let mut session = scene.task.open_active();
        execute(&mut scene.client, "insert into u values ('last', 1000)");
        session.until_document("public.u", |document| document.value["n"] == 1000);
        session.kill();
        for (table, key) in tables {
            scene.assert_captured(table, key);
        }
    }

    #[test]
    fn key_columns_that_can_be_null() {
        let mut scene = Scene::new(
            "create table t(id int primary key, a int, b text, n int);
             alter table t replica identity full;
             insert into t select i, nullif(i / 8, 2), case when i % 8 > 2 then 'b' || i % 8 end, i
                from generate_series(1, 40) i where i % 8 > 1 or i < 8;
             insert into t select 100 + i, 50 + i, null, i
                from generate_series(1, 40 - (select count(*)::int from t)) i",
        );
        scene.task.bind(&["public.t"]);
        let binding = scene.task.binding_mut("public.t");
        binding.key = vec!["/a".to_owned(), "/b".to_owned(), "/id".to_owned()];
        scene.task.publish();
        capture_with_kill(
            &mut scene,
            &["a", "b", "id"],
            "update t set a = null where id = 5; update t set b = 'x' where b is null;
             delete from t where a is null and id % 2 = 0;
             insert into t values (999, null, null, 1000)",
        );
    }

    #[test]
    fn key_columns_whose_names_differ_only_in_case() {
        let mut scene = Scene::new(
            r#"create table t("ID" int, id text, "Id" int, n int, primary key ("ID", "Id"));
             insert into t select i / 3, 'row', i, i from generate_series(1, 40) i"#,
        );
        scene.task.bind(&["public.t"]);
        capture_with_kill(
            &mut scene,
            &["ID", "Id"],
            r#"update t set "ID" = 99 where "Id" = 4; update t set id = 'new' where "Id" = 5;
             insert into t values (0, 'last', 0, 1000)"#,
        );
    }

    /// Zeros of different scales are the same key to the server and to the scan. Documents keep the
    /// text of the row.
    #[test]
    fn numeric_zeros_of_different_scales_are_one_key() {
        for mode in ["Precise", "Normal"] {
            let mut scene = Scene::new(
                "create table t(k numeric, id int, n int, primary key (k, id));
                 insert into t values (-1.50, 1, 1), (0, 2, 2), (0.0, 3, 3), (0.00, 4, 4),
                    (0.000, 5, 5), (0, 6, 6), (1.0, 7, 7), (1.00, 8, 8)",
            );
            scene.task.bind(&["public.t"]);
            scene.task.binding_mut("public.t").resource["mode"] = json!(mode);
            backfill_part(&mut scene, 1, 3);
            scene.execute("update t set n = n * 10");
            let mut session = scene.task.open_active();
            execute(
                &mut scene.client,
                "update t set k = 0.0000 where id = 2; delete from t where id = 4",
            );
            session.until_document("public.t", |row| row.op() == "d" && row.value["id"] == 4);
            session.kill();
            let documents = documents_of(&scene.task, "public.t").into_iter();
            let reduced = crate::support::reduce::reduce(documents, &["id"]);
            let found: Vec<Value> = reduced.into_values().map(Value::Object).collect();
            let row = |k: &str, id: i64| json!({"k": k, "id": id, "n": id * 10});
            let expected = [
                row("-1.50", 1),
                row("0.0000", 2),
                row("0.0", 3),
                row("0.000", 5),
                row("0", 6),
                row("1.0", 7),
                row("1.00", 8),
            ];
            assert_eq!(found, expected, "{mode}");
        }
    }
}

mod huge {
    use super::*;

    /// Largest size in bytes of a value that is captured whole.
    const LIMIT: usize = 8 << 20;

    /// Form in which a value is captured.
    #[derive(Debug, Clone, Copy)]
    enum Outcome {
        /// The server's text, truncated at the limit to whole characters.
        Cut,
        /// The server's text.
        Whole,
        /// Base64 with this number of characters.
        Base64(usize),
        /// The placeholder for JSON of this size.
        Placeholder(usize),
        /// An array whose first item is a string of this number of bytes; the others are short.
        FirstItem(usize),
    }

    use Outcome::{Base64, Cut, FirstItem, Placeholder, Whole};

    /// Types, each with an expression for a value at or beyond the limit, and its outcome.
    const VALUES: &[(&str, &str, Outcome)] = &[
        ("text", "repeat('x', 8388608)", Whole),
        ("varchar", "repeat('x', 8388609)", Cut),
        ("text", "repeat('é', 4194304) || '.'", Cut),
        ("text", "'x' || repeat('日', 3000000)", Cut),
        ("text", "'xxx' || repeat('🎉', 2500000)", Cut),
        ("text", "repeat(E'\\x01\"\\\\', 3000000)", Cut),
        ("char(8388610)", "repeat('é', 3)", Cut),
        ("citext", "repeat('é', 4194305)", Cut),
        ("long_text", "repeat('é', 4194305)", Cut),
        ("xml", "('<a>' || repeat('é', 4194305) || '</a>')::xml", Cut),
        ("hstore", "hstore('a', repeat('é', 4194305))", Cut),
        ("pair", "row(1, repeat('é', 4194305))::pair", Cut),
        ("mood[]", "array_fill('sad'::mood, array[2500000])", Cut),
        (
            "jsonpath",
            "('$.\"' || repeat('é', 4194305) || '\"')::jsonpath",
            Cut,
        ),
        (
            "ltree",
            "(repeat(repeat('x', 250) || '.', 34000) || 'y')::ltree",
            Cut,
        ),
        ("textrange", "textrange(repeat('é', 4194305), null)", Cut),
        (
            "int4multirange",
            "(select range_agg(int4range(i * 10, i * 10 + 5)) from generate_series(1, 600000) i)",
            Whole,
        ),
        ("bit(8388610)", "repeat('1', 8388610)::bit(8388610)", Whole),
        (
            "citext[]",
            "array[repeat('é', 4194305), 'short']",
            FirstItem(8_388_608),
        ),
        (
            "xml[]",
            "array[('<a>' || repeat('é', 4194305) || '</a>')::xml, 'short'::xml]",
            FirstItem(8_388_607),
        ),
        (
            "long_texts",
            "array[repeat('é', 4194305), 'short']",
            FirstItem(8_388_608),
        ),
        ("pair[]", "array[row(1, repeat('é', 4194305))::pair]", Cut),
        ("varbit", "repeat('1', 8388610)::varbit", Whole),
        (
            "numeric[]",
            "array[repeat('1', 130000)::numeric]",
            FirstItem(130_000),
        ),
        (
            "path",
            "('(' || repeat('(1,2),', 1500000) || '(1,2))')::path",
            Whole,
        ),
        (
            "bytea",
            "decode(repeat('ab', 8388608), 'hex')",
            Base64(11_184_812),
        ),
        (
            "bytea",
            "decode(repeat('ab', 8388609), 'hex')",
            Base64(11_184_812),
        ),
        (
            "bytea",
            "decode(repeat('ab', 8388607), 'hex')",
            Base64(11_184_812),
        ),
        (
            "long_bytea",
            "decode(repeat('ab', 9000000), 'hex')",
            Base64(11_184_812),
        ),
        (
            "bytea[]",
            "array[decode(repeat('ab', 9000000), 'hex')]",
            FirstItem(11_184_812),
        ),
        (
            "text[]",
            "array[repeat('é', 4194305), 'short']",
            FirstItem(8_388_608),
        ),
        (
            "text[]",
            "array['x' || repeat('é', 4194304)]",
            FirstItem(8_388_607),
        ),
        (
            "json[]",
            "array[to_json('x' || repeat('é', 4194304)), '{}']",
            FirstItem(8_388_607),
        ),
        (
            "jsonb[]",
            "array[to_jsonb(repeat('é', 4194305)), '{}']",
            FirstItem(8_388_608),
        ),
        ("json", "to_json(repeat('é', 4194303))", Whole),
        (
            "json",
            "to_json(repeat('é', 4194303) || '.')",
            Placeholder(8_388_609),
        ),
        (
            "json",
            "(repeat(' ', 8388607) || '{}')::json",
            Placeholder(8_388_609),
        ),
        (
            "jsonb",
            "to_jsonb(repeat('j', 8388607))",
            Placeholder(8_388_609),
        ),
        (
            "long_json",
            "to_jsonb(repeat('j', 8388607))",
            Placeholder(8_388_609),
        ),
    ];

    /// Panics if a value was not captured in the expected form.
    fn check_one(number: usize, text: &str, found: &Value) {
        let (name, made, outcome) = VALUES[number];
        let found_text = found.as_str().unwrap_or_default();
        let is_right = match outcome {
            Whole if name == "json" => {
                serde_json::from_str::<Value>(text).is_ok_and(|due| due == *found)
            }
            Whole => found_text == text,
            Cut => found_text == &text[..text.floor_char_boundary(LIMIT)],
            Base64(length) => found_text.len() == length,
            Placeholder(size) => *found == json!({"flow_truncated": true, "original_size": size}),
            FirstItem(length) => {
                found[0].as_str().map(str::len) == Some(length) && {
                    let others = found
                        .as_array()
                        .map_or(&[][..], Vec::as_slice)
                        .iter()
                        .skip(1);
                    others
                        .into_iter()
                        .all(|item| *item == "short" || *item == json!({}))
                }
            }
        };
        assert!(
            is_right,
            "{name} {made}: {outcome:?}, found {}",
            short(found)
        );
    }

    #[test]
    fn each_kind_of_value_beyond_the_limit_is_truncated_as_documented() {
        let rows = VALUES.iter().enumerate();
        let columns: String = rows
            .clone()
            .map(|(i, (name, ..))| format!(", c{i} {name}"))
            .collect();
        let inserts: Vec<String> = rows
            .map(|(i, (_, made, _))| format!("insert into t(id, c{i}) values ({i}, {made})"))
            .collect();
        let mut scene = Scene::new(&format!(
            "create extension citext; create extension hstore;
             create extension ltree; create type textrange as range (subtype = text);
             create domain long_texts as text[];
             create type mood as enum ('sad'); create type pair as (a int, b text);
             create domain long_text as text; create domain long_bytea as bytea;
             create domain long_json as jsonb;
             create table t(id int primary key{columns});
             alter table t replica identity full; {}",
            inserts.join(";")
        ));
        scene.task.bind(&["public.t"]);
        let mut session = scene.task.open_active();
        // Some of them are also streamed, with before-images.
        execute(
            &mut scene.client,
            "update t set id = id where id % 5 = 0; insert into t values (-1)",
        );
        session.until_id("public.t", -1);
        session.kill();
        let mut checked = 0;
        for document in documents_of(&scene.task, "public.t") {
            let id = document.value["id"].as_i64().expect("a number");
            let Ok(number) = usize::try_from(id) else {
                break;
            };
            let text = value(
                &mut scene.client,
                &format!("select format('%s', c{number}) from t where id = {id}"),
            );
            let before = &document.value["_meta"]["before"];
            for image in [&document.value, before]
                .into_iter()
                .filter(|image| !image.is_null())
            {
                check_one(number, &text, &image[format!("c{number}")]);
                checked += 1;
            }
        }
        assert_eq!(checked, VALUES.len() + 2 * VALUES.len().div_ceil(5));
    }

    #[test]
    fn a_row_of_many_megabytes_takes_a_small_multiple_of_its_size_in_memory() {
        let columns = ["a", "b", "c", "d", "e"];
        let mut scene = Scene::new(&format!(
            "create table t(id int primary key, {});
             insert into t select i, {} from generate_series(1, 2) i",
            columns.map(|name| format!("{name} text")).join(", "),
            columns
                .map(|name| format!("repeat('{name}', 8000000)"))
                .join(", "),
        ));
        scene.task.bind(&["public.t"]);
        let mut session = scene.task.open_active();
        execute(&mut scene.client, "update t set id = id + 10");
        session.until_id("public.t", 12);
        let peak = session.connector.peak_memory();
        session.kill();
        scene.assert_captured("public.t", &["id"]);
        assert!(peak < 400_000, "{peak} kB");
    }
}

mod encodings {
    use super::*;

    const WORDS: &str = "insert into t values";

    #[test]
    fn a_latin1_database_is_captured_as_utf_8() {
        let mut scene = Scene::encoded(
            "LATIN1",
            &format!(
                "create table t(\"clé\" text primary key, mots text[]); {WORDS} ('é', '{{ü}}'), ('ß', null)"
            ),
        );
        scene.task.bind(&["public.t"]);
        let mut session = scene.task.open_active();
        execute(&mut scene.client, &format!("{WORDS} ('ÿ', '{{£}}')"));
        session.until_document("public.t", |document| document.value["clé"] == "ÿ");
        session.kill();
        scene.assert_captured("public.t", &["clé"]);
    }

    #[test]
    fn sql_ascii_text_is_captured_if_it_is_valid_utf_8() {
        let table = "create table t(id int primary key, word text)";
        let mut scene = Scene::encoded("SQL_ASCII", &format!("{table}; {WORDS} (1, 'é')"));
        scene.task.bind(&["public.t"]);
        let mut session = scene.task.open_active();
        execute(&mut scene.client, &format!("{WORDS} (2, 'ü')"));
        session.until_id("public.t", 2);
        let found = changes(documents_of(session.task, "public.t"));
        let expected = [json!({"id": 1, "word": "é"}), json!({"id": 2, "word": "ü"})];
        assert_eq!(found, expected.map(|row| ("c", row)));
        execute(&mut scene.client, &format!(r"{WORDS} (3, E'\xe9')"));
        session.finish().assert_failed(&["22021"]);

        // Invalid UTF-8 in a backfill.
        scene.task.binding_mut("public.t").backfill = 1;
        scene.task.publish();
        scene.task.run().assert_failed(&["public.t", "22021"]);
    }
}
