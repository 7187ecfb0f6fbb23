//! Combinations of settings: every pair of them, on and off.

use postgres::Client;
use serde_json::{Value, json};

use super::differential::validity::Schemas;
use crate::support::exact::Exact;
use crate::support::postgres::{query, value};
use crate::support::scene::{Scene, advanced, documents_of, execute};
use crate::support::task::{Document, Run};

/// Settings of a capture that are on.
#[derive(Debug, Clone, Copy)]
struct Combination {
    history: bool,
    tag: bool,
    transaction_ids: bool,
    full_identity: bool,
    partitions: bool,
    inference: bool,
    sourced: bool,
}

/// Eight combinations in which every two of the seven settings have all four pairs of values (the
/// orthogonal array L8).
const COMBINATIONS: [[u8; 7]; 8] = [
    [0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 1, 1, 1, 1],
    [0, 1, 1, 0, 0, 1, 1],
    [0, 1, 1, 1, 1, 0, 0],
    [1, 0, 1, 0, 1, 0, 1],
    [1, 0, 1, 1, 0, 1, 0],
    [1, 1, 0, 0, 1, 1, 0],
    [1, 1, 0, 1, 0, 0, 1],
];

const TXID: &str = "/_meta/source/txid";

impl Combination {
    fn new(row: [u8; 7]) -> Self {
        let [
            history,
            tag,
            transaction_ids,
            full_identity,
            partitions,
            inference,
            sourced,
        ] = row.map(|on| on == 1);
        Self {
            history,
            tag,
            transaction_ids,
            full_identity,
            partitions,
            inference,
            sourced,
        }
    }

    /// Returns the table that is bound.
    fn table(self) -> &'static str {
        if self.partitions { "t_1" } else { "t" }
    }

    /// Captures the insertion of a row, an update, an update of its key, and its deletion.
    fn capture(self) -> (Scene, Run, String) {
        let mut scene = Scene::new(
            "create table t(id int primary key, n int) partition by range (id);
             create table t_1 partition of t for values from (0) to (1000);
             insert into t values (1, 1)",
        );
        let identity = if self.full_identity {
            "full"
        } else {
            "default"
        };
        scene.execute(&format!(
            "alter table t replica identity {identity}; alter table t_1 replica identity {identity};
             alter publication flow_publication set (publish_via_partition_root = {})",
            !self.partitions
        ));
        scene.task.config["historyMode"] = json!(self.history);
        let mut flags = Vec::new();
        if !self.inference {
            flags.push("no_use_schema_inference");
        }
        if !self.sourced {
            flags.push("no_emit_sourced_schemas");
        }
        advanced(
            &mut scene.task,
            &json!({"capture_as_partitions": self.partitions, "feature_flags": flags.join(", ")}),
        );
        if self.tag {
            advanced(&mut scene.task, &json!({"source_tag": "a \"tag\""}));
        }
        let table = format!("public.{}", self.table());
        scene.task.bind(&[&table]);
        if self.transaction_ids {
            scene
                .task
                .binding_mut(&table)
                .projections
                .push(TXID.to_owned());
        }
        let mut session = scene.task.open_active();
        let sql = "begin; insert into t values (2, 2); update t set n = 3 where id = 2;
            update t set id = 4 where id = 2; delete from t where id = 4;
            select txid_current() % 4294967296; commit";
        let xid = query(&mut scene.client, sql).concat().concat();
        session.until_document(&table, |document| {
            document.op() == "d" && document.value["id"] == 4
        });
        let run = session.kill();
        (scene, run, xid)
    }

    fn check_schemas(self, discovered: &Value, sourced: &[(usize, Value)]) {
        let meta = &discovered["allOf"][0]["properties"]["_meta"];
        let source = &meta["properties"]["source"];
        let reduce = json!({"strategy": "lastWriteWins", "associative": false});
        assert_eq!(
            source["reduce"],
            if self.history { reduce } else { Value::Null }
        );
        assert_eq!(source["properties"]["tag"].is_object(), self.tag);
        assert_eq!(
            discovered["x-infer-schema"],
            if self.inference {
                json!(true)
            } else {
                Value::Null
            }
        );
        assert_eq!(sourced.len(), usize::from(self.sourced));
        for (_, schema) in sourced {
            let source = &schema["allOf"][0]["properties"]["_meta"]["properties"]["source"];
            assert_eq!(source["reduce"], Value::Null);
            assert_eq!(source["properties"]["tag"].is_object(), self.tag);
        }
    }

    fn check_document(self, document: &Document, xid: &str) {
        let whole = Exact::parse(&document.text);
        let meta = whole.member("_meta").expect("the member is present");
        let names = |value: &Exact| match value {
            Exact::Object(members) => members
                .iter()
                .map(|(name, _)| name.clone())
                .collect::<Vec<_>>(),
            other => panic!("not an object: {other}"),
        };
        let is_change = !document.is_snapshot();
        let members = |list: &[(&'static str, bool)]| -> Vec<&'static str> {
            list.iter()
                .filter(|(_, there)| *there)
                .map(|(name, _)| *name)
                .collect()
        };
        let source = meta.member("source").expect("the member is present");
        let expected = members(&[
            ("ts_ms", is_change),
            ("schema", true),
            ("snapshot", !is_change),
            ("table", true),
            ("loc", true),
            ("txid", is_change && self.transaction_ids),
            ("tag", self.tag),
        ]);
        assert_eq!(names(source), expected, "{self:?} {}", document.text);
        let has_before = document.op() == "u" && (self.full_identity || document.value["id"] == 4);
        let expected = members(&[("op", true), ("source", true), ("before", has_before)]);
        assert_eq!(names(meta), expected, "{self:?} {}", document.text);
        let source = &document.value["_meta"]["source"];
        assert_eq!(source["table"], self.table());
        if self.tag {
            assert_eq!(source["tag"], "a \"tag\"");
        }
        if is_change && self.transaction_ids {
            assert_eq!(source["txid"].to_string(), xid);
        }
        let before = &document.value["_meta"]["before"];
        let expected = match (
            document.op(),
            document.value["id"].as_i64(),
            self.full_identity,
        ) {
            ("u", Some(2), true) => json!({"id": 2, "n": 2}),
            ("u", Some(4), true) => json!({"id": 2, "n": 3}),
            ("u", Some(4), false) => json!({"id": 2}),
            _ => Value::Null,
        };
        assert_eq!(*before, expected, "{self:?}");
        let n = &document.value["n"];
        assert_eq!(
            n.is_null(),
            document.op() == "d" && !self.full_identity,
            "{self:?}"
        );
    }
}

#[test]
fn every_pair_of_settings_works_together() {
    for row in COMBINATIONS {
        let combination = Combination::new(row);
        let (mut scene, run, xid) = combination.capture();
        let discovered = scene.task.bindings[0].schema.clone();
        combination.check_schemas(&discovered, &run.sourced_schemas);
        let table = format!("public.{}", combination.table());
        let documents = documents_of(&scene.task, &table);
        let ops: Vec<&str> = documents.iter().map(|document| document.op()).collect();
        assert_eq!(ops, ["c", "c", "u", "d", "u", "d"], "{combination:?}");
        let schemas = run
            .sourced_schemas
            .first()
            .map(|(_, sourced)| Schemas::new(&discovered, sourced));
        for document in documents {
            combination.check_document(document, &xid);
            // A document that has only the key lacks required properties of the sourced schema.
            let is_partial = |image: &Value| image.is_object() && image["n"].is_null();
            let is_partial =
                is_partial(&document.value) || is_partial(&document.value["_meta"]["before"]);
            if let (Some(schemas), false) = (&schemas, is_partial) {
                assert_eq!(schemas.problems(document), [], "{combination:?}");
            }
        }
        scene.assert_captured(&table, &["id"]);
        let remaining = value(&mut scene.client, "select count(*) from t");
        assert_eq!(remaining, "1");
    }
}

/// All combinations of the flags that decide how values are written.
#[test]
fn every_combination_of_value_flags_works() {
    for bits in 0..16_u8 {
        let on = |bit: u8| bits & 1 << bit != 0;
        let flag = |name: &str, on: bool| format!("{}{name}", if on { "" } else { "no_" });
        let flags = [
            flag("date_as_date", on(0)),
            flag("time_as_time", on(1)),
            flag("flatten_arrays", on(2)),
            flag("multidimensional_arrays", on(3)),
        ];
        let mut scene = Scene::new(
            "create table t(id int primary key, d date, t time, a date[]);
             insert into t values (1, '2001-01-01', '01:00', '{{2001-01-01},{2002-02-02}}')",
        );
        advanced(&mut scene.task, &json!({"feature_flags": flags.join(",")}));
        scene.task.bind(&["public.t"]);
        let session = scene.task.open_active();
        let run = session.kill();
        let date = |text: &str| {
            if on(0) {
                json!(text)
            } else {
                json!(format!("{text}T00:00:00Z"))
            }
        };
        let (one, two) = (date("2001-01-01"), date("2002-02-02"));
        let array = match (on(3), on(2)) {
            (true, _) => json!([[one], [two]]),
            (false, true) => json!([one, two]),
            (false, false) => json!({"dimensions": [2, 1], "elements": [one, two]}),
        };
        let time = if on(1) {
            json!("01:00:00Z")
        } else {
            json!(3_600_000_000_u64)
        };
        let documents = documents_of(&scene.task, "public.t");
        let found = &documents[0].value;
        assert_eq!(
            [&found["d"], &found["t"], &found["a"]],
            [&one, &time, &array],
            "{flags:?}"
        );
        let schemas = Schemas::new(&scene.task.bindings[0].schema, &run.sourced_schemas[0].1);
        assert_eq!(schemas.problems(documents[0]), [], "{flags:?}");
    }
}

const ROWS: &str = "create table t(id int primary key); insert into t values (1)";

/// Returns the `catalog_xmin` of the slot, which identifies its creation as long as nothing was
/// acknowledged.
fn catalog_xmin(client: &mut Client) -> String {
    value(client, "select catalog_xmin from pg_replication_slots")
}

#[test]
fn with_no_create_replication_slot_the_slot_must_exist_and_is_kept() {
    let mut scene = Scene::new(ROWS);
    scene.task.bind(&["public.t"]);
    let flags = json!({"feature_flags": "no_create_replication_slot"});
    advanced(&mut scene.task, &flags);
    scene.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots");
    scene.task.run().assert_failed(&["flow_slot"]);
    scene.execute("select pg_create_logical_replication_slot('flow_slot', 'pgoutput')");
    let before = catalog_xmin(&mut scene.client);
    // A slot that is created again would have a later catalog_xmin.
    scene.execute("select txid_current()");
    let mut session = scene.task.open();
    session.acknowledge = false;
    session.until_checkpoints(2);
    assert_eq!(catalog_xmin(&mut scene.client), before);
    session.until_active();
    execute(&mut scene.client, "insert into t values (2)");
    session.until_id("public.t", 2);
    session.kill();
    scene.assert_captured("public.t", &["id"]);
}

#[test]
fn the_start_position_can_be_set_for_the_first_start_or_for_every_start() {
    let mut scene = Scene::new(ROWS);
    scene.task.bind(&["public.t"]);
    let mut session = scene.task.open_active();
    session.acknowledge = false;
    let start = value(&mut scene.client, "select pg_current_wal_insert_lsn()");
    execute(&mut scene.client, "insert into t values (2)");
    session.until_id("public.t", 2);
    session.kill();
    let rows = |scene: &Scene| documents_of(&scene.task, "public.t").len();
    // With force_reset_cursor, changes after the position are captured again, although the state is
    // beyond it.
    advanced(
        &mut scene.task,
        &json!({"feature_flags": format!("force_reset_cursor={start}")}),
    );
    let before = rows(&scene);
    scene.task.forget_locs();
    let mut session = scene.task.open();
    session.until("the row again", |session| session.run.documents.len() == 1);
    session.kill();
    assert_eq!(rows(&scene), before + 1);
    // initial_backfill_cursor only applies if the state has no position.
    advanced(
        &mut scene.task,
        &json!({"feature_flags": format!("initial_backfill_cursor={start}")}),
    );
    let mut session = scene.task.open();
    execute(&mut scene.client, "insert into t values (3)");
    session.until_id("public.t", 3);
    let run = session.kill();
    assert_eq!(run.documents.len(), 1);
}

#[test]
fn checks_of_prerequisites_can_be_skipped() {
    for flag in ["skip_prerequisites", "skip_table_prerequisites"] {
        let mut scene = Scene::new(&format!("{ROWS}; create table u(id int primary key)"));
        scene.execute(
            "drop publication flow_publication; create publication flow_publication for table t",
        );
        advanced(
            &mut scene.task,
            &json!({"discover_unpublished_tables": true, "feature_flags": flag}),
        );
        scene.task.config["discoveryFilters"] = json!({"discover_unpublished_tables": true});
        scene.task.config["advanced"]
            .as_object_mut()
            .expect("an object")
            .remove("discover_unpublished_tables");
        if flag == "skip_prerequisites" {
            scene.execute(
                "create table flow_watermarks(slot text primary key, watermark text);
                alter publication flow_publication add table flow_watermarks",
            );
        }
        scene.task.bind(&["public.t", "public.u"]);
        let mut session = scene.task.open_active();
        execute(
            &mut scene.client,
            "insert into u values (1); insert into t values (2)",
        );
        session.until_id("public.t", 2);
        session.kill();
        // The table stays unpublished, and its changes are missing without a warning.
        let published = "select count(*) from pg_publication_tables where tablename = 'u'";
        assert_eq!(value(&mut scene.client, published), "0", "{flag}");
        assert!(documents_of(&scene.task, "public.u").is_empty());
    }
}
