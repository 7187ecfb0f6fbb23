//! Modes of capturing a table: replica identities, privileges, filters, partitions, several tables.

use postgres::Client;
use serde_json::{Value, json};

use crate::support::postgres::{query, value};
use crate::support::scene::{Scene, advanced, changes, documents_of, execute};
use crate::support::task::{Document, Task};

/// Returns the ids of the documents of a table that satisfy a condition.
fn ids(task: &Task, table: &str, of: impl Fn(&Document) -> bool) -> Vec<i64> {
    let documents = documents_of(task, table).into_iter();
    documents
        .filter(|document| of(document))
        .filter_map(|document| document.value["id"].as_i64())
        .collect()
}

mod identity {
    use super::*;

    const BY_CODE: &str = "create table t(id int primary key, code text not null, n int);
        create unique index by_code on t(code);
        create table other(id int primary key);
        alter table t replica identity using index by_code;
        insert into t values (1, 'a', 1), (2, 'b', 2)";
    const REMEDY: &str = "ALTER TABLE \"public\".\"t\" REPLICA IDENTITY DEFAULT;";

    #[test]
    fn an_identity_without_the_key_causes_a_warning_and_inserts_are_captured() {
        let mut scene = Scene::new(BY_CODE);
        scene.task.bind(&["public.t", "public.other"]);
        let mut session = scene.task.open_active();
        let warning = session.until_logged("REPLICA IDENTITY DEFAULT");
        assert_eq!(warning.level, "warning");
        assert!(warning.message.contains(REMEDY), "{}", warning.message);
        execute(&mut scene.client, "insert into t values (3, 'c', 3)");
        session.until_id("public.t", 3);
        session.kill();
        scene.assert_captured("public.t", &["id"]);
    }

    /// The change stays in the stream because the other table is still captured; after the new
    /// backfill it is skipped.
    #[test]
    fn with_an_identity_without_the_key_an_update_stops_the_capture_until_a_remedy_and_a_backfill()
    {
        for change in [
            "update t set n = 5 where id = 1",
            "delete from t where id = 2",
        ] {
            let mut scene = Scene::new(BY_CODE);
            scene.task.bind(&["public.t", "public.other"]);
            let session = scene.task.open_active();
            execute(&mut scene.client, change);
            let words = [
                r#"ALTER TABLE \"public\".\"t\" REPLICA IDENTITY DEFAULT;"#,
                "backfill",
            ];
            session.finish().assert_failed(&words);
            scene.task.run().assert_failed(&words);

            scene.execute(REMEDY);
            scene.task.run().assert_failed(&["backfill"]);
            scene.task.binding_mut("public.t").backfill = 1;
            scene.task.publish();
            let mut session = scene.task.open_active();
            execute(
                &mut scene.client,
                "update t set n = 6; insert into other values (1)",
            );
            session.until_id("public.other", 1);
            session.kill();
            // The collection is empty when the new backfill starts.
            let first = scene
                .task
                .documents
                .iter()
                .rposition(|row| row.value["code"] == "a" && row.is_snapshot());
            scene.task.documents.drain(..first.unwrap_or(0));
            scene.assert_captured("public.t", &["id"]);
        }
    }

    #[test]
    fn identity_nothing_causes_a_warning_and_inserts_are_captured() {
        let mut scene = Scene::new(
            "create table t(id int primary key, n int);
             create table keyless(n int);
             alter table t replica identity nothing",
        );
        scene.task.bind(&["public.t", "public.keyless"]);
        let mut session = scene.task.open_active();
        let warning = session.until_logged(r#"\"t\" REPLICA IDENTITY"#);
        assert_eq!(warning.level, "warning");
        execute(
            &mut scene.client,
            "insert into keyless values (1); insert into t values (1, 1)",
        );
        session.until_id("public.t", 1);
        session.kill();
        scene.assert_captured("public.t", &["id"]);
        scene.assert_captured("public.keyless", &[]);
        let refused = scene.client.batch_execute("update t set n = 2");
        assert!(refused.is_err(), "the server accepts the update");
        scene.execute("alter table t replica identity default; update t set n = 2");
        let mut session = scene.task.open();
        session.until_document("public.t", |document| document.value["n"] == 2);
    }
}

mod rights {
    use super::*;

    const TABLES: &str = "create schema shop;
        create table shop.t(id int primary key, n int);
        create table shop.u(id int primary key);
        insert into shop.t values (1, 1);
        create role poor login";

    /// Returns the statements that a message tells the user to run.
    fn statements(text: &str) -> Vec<String> {
        let starts = ["CREATE ", "ALTER ", "GRANT ", "SELECT pg_"];
        let mut found = Vec::new();
        for part in text.split(';') {
            let start = starts.iter().filter_map(|word| part.find(word)).min();
            found.extend(start.map(|start| part[start..].to_owned()));
        }
        found
    }

    /// Drops a role and its privileges, because roles remain on the shared server.
    fn drop_role(client: &mut Client, role: &str) {
        execute(
            client,
            &format!(
                "reassign owned by {role} to postgres; drop owned by {role}; drop role {role}"
            ),
        );
    }

    /// Publishes the task, and captures a backfill and changes of `shop.t`.
    fn capture(scene: &mut Scene) {
        scene.task.publish();
        let mut session = scene.task.open_active();
        execute(
            &mut scene.client,
            "insert into shop.t select max(id) + 1, 0 from shop.t; update shop.t set n = n + 1",
        );
        session.until_document("shop.t", |document| document.op() == "u");
        session.kill();
    }

    /// Returns the published tables, and whether changes are published via the root.
    fn publication(client: &mut Client) -> Vec<Vec<String>> {
        query(
            client,
            "select schemaname || '.' || tablename, pubviaroot
             from pg_publication_tables join pg_publication using (pubname) order by 1",
        )
    }

    #[test]
    fn missing_objects_are_created_for_a_superuser() {
        let mut scene = Scene::new(TABLES);
        scene.execute("drop publication flow_publication");
        advanced(&mut scene.task, &json!({"watermarksTable": "shop.marks"}));
        scene.task.bind(&["shop.t"]);
        let expected = [["shop.marks", "t"], ["shop.t", "t"]];
        assert_eq!(publication(&mut scene.client), expected);
        capture(&mut scene);
        scene.task.bind(&["shop.t"]);
        scene.task.bindings.push({
            let mut other = scene.task.bindings[0].clone();
            other.table = "shop.u".to_owned();
            other.resource["stream"] = json!("u");
            other
        });
        capture(&mut scene);
        let expected = [["shop.marks", "t"], ["shop.t", "t"], ["shop.u", "t"]];
        assert_eq!(publication(&mut scene.client), expected);
        scene.execute("drop role poor");
    }

    #[test]
    fn missing_objects_are_created_for_the_owner_of_the_tables() {
        let mut scene = Scene::new(TABLES);
        scene.execute(
            "drop publication flow_publication;
             alter role poor replication;
             grant create on database scene to poor;
             grant all on schema shop to poor;
             alter table shop.t owner to poor; alter table shop.u owner to poor",
        );
        scene.task.config["user"] = json!("poor");
        advanced(&mut scene.task, &json!({"watermarksTable": "shop.marks"}));
        scene.task.bind(&["shop.t", "shop.u"]);
        capture(&mut scene);
        drop_role(&mut scene.client, "poor");
    }

    #[test]
    fn all_missing_prerequisites_are_reported_together_with_their_remedies() {
        for (publication, role) in [(false, ""), (true, ""), (false, "replication")] {
            let mut scene = Scene::new(TABLES);
            scene.task.bind(&["shop.t", "shop.u"]);
            scene.execute("drop table flow_watermarks; drop publication flow_publication");
            if publication {
                scene.execute(
                    "create publication flow_publication with (publish_via_partition_root = true)",
                );
            }
            if !role.is_empty() {
                scene.execute(
                    "alter role poor replication; grant usage on schema shop to poor;
                               grant select on shop.t, shop.u to poor",
                );
            }
            scene.task.config["user"] = json!("poor");
            let failure = scene
                .task
                .validate()
                .expect_err("the role has no privileges");
            let lines = failure.log.lines();
            let words = lines.last().expect("a line was logged").message.clone();
            let found = statements(&words);
            for statement in &found {
                let ran = scene.client.batch_execute(statement);
                assert!(ran.is_ok(), "{statement} {ran:?}\nof {words}");
            }
            assert!(!found.is_empty(), "{words}");
            capture(&mut scene);
            drop_role(&mut scene.client, "poor");
        }
    }

    /// A role with privileges on columns but not on the table cannot lock the table.
    #[test]
    fn a_table_with_column_privileges_only_is_backfilled() {
        let mut scene = Scene::new(TABLES);
        scene.task.bind(&["shop.t"]);
        scene.execute(
            "alter role poor replication; grant usage on schema shop to poor;
             grant select (id, n) on shop.t to poor; grant all on flow_watermarks to poor",
        );
        scene.task.config["user"] = json!("poor");
        capture(&mut scene);
        assert_eq!(ids(&scene.task, "shop.t", Document::is_snapshot), [1]);
        drop_role(&mut scene.client, "poor");
    }
}

mod parts {
    use super::*;

    /// Returns a scene with a table in which rows of two transactions alternate, and the XID of the
    /// later transaction.
    fn old_and_new(definition: &str) -> (Scene, String) {
        let mut scene = Scene::new(&format!(
            "create table t(id int, a int, b text, {definition});
             create table marker(id int primary key);
             insert into t select i, i / 10, 'row ' || i from generate_series(1, 60) i"
        ));
        // A published table without a key cannot be updated with the default identity.
        scene.execute("alter table t replica identity full");
        scene.execute("update t set b = 'new' where id % 5 = 0 or id between 20 and 33");
        scene.execute("alter table t replica identity default");
        let xid = value(&mut scene.client, "select xmin from t where id = 5");
        (scene, xid)
    }

    /// Returns whether the later transaction wrote the row.
    fn is_new(id: i64) -> bool {
        id % 5 == 0 || (20..=33).contains(&id)
    }

    #[test]
    fn rows_before_min_backfill_xid_are_left_out_and_the_scan_continues_after_them() {
        for (definition, mode, filter) in [
            ("primary key (id)", "", ""),
            ("primary key (id)", "Normal", ""),
            ("primary key (a, id)", "", ""),
            ("primary key (a, id)", "Normal", "a <> 3"),
            ("check (id > 0)", "Without Primary Key", "a <> 3"),
        ] {
            let (mut scene, xid) = old_and_new(definition);
            scene.task.bind(&["public.t", "public.marker"]);
            advanced(
                &mut scene.task,
                &json!({"min_backfill_xid": xid, "backfill_chunk_size": 4}),
            );
            let resource = &mut scene.task.binding_mut("public.t").resource;
            resource["mode"] = json!(mode);
            if !filter.is_empty() {
                resource["advanced"] = json!({"additional_backfill_filter": filter});
            }
            let mut session = scene.task.open();
            session.until("a part of the backfill", |session| {
                session.task.binding_state("public.t")["backfilled"].as_u64() >= Some(2)
            });
            session.kill();
            scene.task.backfill_all();
            let expected: Vec<i64> = (1..=60)
                .filter(|id| is_new(*id) && (filter.is_empty() || id / 10 != 3))
                .collect();
            let mut found = ids(&scene.task, "public.t", Document::is_snapshot);
            found.sort_unstable();
            assert_eq!(found, expected, "{definition} {mode} {filter}");
        }
    }

    /// A row that the scan left out may have a document from an earlier backfill.
    #[test]
    fn deletions_of_left_out_rows_are_captured_at_any_position_of_the_scan() {
        let (mut scene, xid) = old_and_new("primary key (id)");
        scene.task.bind(&["public.t", "public.marker"]);
        advanced(
            &mut scene.task,
            &json!({"min_backfill_xid": xid, "backfill_chunk_size": 4}),
        );
        let mut session = scene.task.open();
        session.until("a part of the backfill", |session| {
            session.task.binding_state("public.t")["backfilled"].as_u64() >= Some(2)
        });
        session.kill();
        assert!(scene.task.is_backfilling());
        scene.execute("delete from t where id in (1, 5, 57, 58, 60)");
        let mut session = scene.task.open_active();
        execute(&mut scene.client, "insert into marker values (1)");
        session.until_id("public.marker", 1);
        session.kill();
        let deleted = ids(&scene.task, "public.t", |document| document.op() == "d");
        assert_eq!(deleted, [1, 5, 57, 58, 60]);
    }

    #[test]
    fn a_filter_applies_only_to_the_backfill() {
        let mut scene = Scene::new(
            "create table t(id int primary key, n int);
             insert into t select i, i % 3 from generate_series(1, 30) i",
        );
        scene.task.bind(&["public.t"]);
        scene.task.binding_mut("public.t").resource["mode"] = json!("Normal");
        scene.task.binding_mut("public.t").resource["advanced"] =
            json!({"additional_backfill_filter": "n = 1 or id = 2"});
        advanced(&mut scene.task, &json!({"backfill_chunk_size": 3}));
        scene.task.publish();
        let mut session = scene.task.open_active();
        execute(
            &mut scene.client,
            "insert into t values (31, 0); delete from t where id = 3",
        );
        session.until_id("public.t", 3);
        session.kill();
        let found = ids(&scene.task, "public.t", |_| true);
        assert_eq!(found, [1, 2, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 3]);
    }
}

mod partitions {
    use super::*;

    /// A partition tree with two levels below the root. The leaf `t_south_2` has far more pages
    /// than the others.
    const TREE: &str = "
        create table t(id int, region text, n int, {key}) partition by list (region);
        create table t_north partition of t for values in ('north');
        create table t_south partition of t for values in ('south') partition by range (id);
        create table t_south_1 partition of t_south for values from (0) to (1000);
        create table t_south_2 partition of t_south for values from (1000) to (100000);
        insert into t select i, 'north', i from generate_series(1, 10) i;
        insert into t select i, 'south', i from generate_series(1, 5000) i";

    fn tree(key: &str) -> String {
        TREE.replace("{key}", key)
    }

    #[test]
    fn a_root_is_captured_under_its_own_name() {
        let mut scene = Scene::new(&tree("primary key (region, id)"));
        scene.task.bind(&["public.t"]);
        advanced(&mut scene.task, &json!({"backfill_chunk_size": 1000}));
        let mut session = scene.task.open_active();
        for sql in [
            "create table t_east partition of t for values in ('east')",
            "create table west(like t including all); insert into west values (1, 'west', 1)",
            "insert into t values (1, 'east', 1)",
            "update t set region = 'north', id = 11 where region = 'south' and id = 5",
            "alter table t attach partition west for values in ('west')",
            "insert into t values (2, 'west', 2)",
            "alter table t detach partition t_east",
            "insert into t_east values (2, 'east', 2)",
            "insert into t values (12, 'north', -12)",
        ] {
            execute(&mut scene.client, sql);
        }
        session.until_document("public.t", |document| document.value["n"] == -12);
        session.kill();
        // Rows that a partition had before it was attached are not in the WAL, and rows of a
        // detached partition stay in the collection.
        let captured = ids(&scene.task, "public.t", |document| {
            document.value["region"] == "west"
        });
        assert_eq!(captured, [2]);
        let captured = ids(&scene.task, "public.t", |document| {
            document.value["region"] == "east"
        });
        assert_eq!(captured, [1]);
        scene.task.documents.retain(|document| {
            document.value["region"] != "west" && document.value["region"] != "east"
        });
        scene.execute("alter table t detach partition west");
        scene.assert_captured("public.t", &["region", "id"]);
    }

    #[test]
    fn leaves_are_captured_one_by_one() {
        let mut scene = Scene::new(&tree("primary key (region, id)"));
        scene
            .execute("alter publication flow_publication set (publish_via_partition_root = false)");
        advanced(&mut scene.task, &json!({"capture_as_partitions": true}));
        let names = ["public.t_north", "public.t_south_1", "public.t_south_2"];
        scene.task.bind(&names);
        let mut session = scene.task.open_active();
        execute(
            &mut scene.client,
            "update t set region = 'north', id = 11 where region = 'south' and id = 5;
             update t set id = 1005, n = -1 where id = 6 and region = 'south' and false;
             insert into t values (12, 'north', 12)",
        );
        session.until_id("public.t_north", 12);
        session.kill();
        for name in names {
            scene.assert_captured(name, &["region", "id"]);
        }
    }

    #[test]
    fn every_row_of_a_keyless_tree_is_captured() {
        let mut scene = Scene::new(&tree("check (id > 0)"));
        scene.task.bind(&["public.t"]);
        // Chunks of one page of each leaf.
        advanced(&mut scene.task, &json!({"backfill_chunk_size": 1}));
        scene.task.backfill_all();
        scene.assert_captured("public.t", &[]);
    }

    #[test]
    fn rows_of_inheriting_tables_are_not_captured_with_the_parent() {
        for definition in ["id int primary key, n int", "id int, n int"] {
            let mut scene = Scene::new(&format!(
                "create table t({definition});
                 create table child(extra text, primary key (id)) inherits (t);
                 insert into t values (1, 1), (2, 2);
                 insert into child values (3, 3, 'x'), (1, 1, 'same key')"
            ));
            scene.task.bind(&["public.t", "public.child"]);
            let mut session = scene.task.open_active();
            execute(
                &mut scene.client,
                "update only child set n = n + 10; insert into t values (4, 4);
                 insert into child values (5, 5, 'y')",
            );
            session.until_id("public.child", 5);
            session.kill();
            let mut found = ids(&scene.task, "public.t", |_| true);
            found.sort_unstable();
            assert_eq!(found, [1, 2, 4], "{definition}");
            scene.assert_captured("public.child", &["id"]);
        }
    }
}

mod several {
    use super::*;

    const THREE: &str = "
        create table a(id int primary key); insert into a select generate_series(1, 20);
        create table b(id int primary key); insert into b select generate_series(1, 20);
        create table c(n int); insert into c select generate_series(1, 20)";
    const NAMES: [&str; 3] = ["public.a", "public.b", "public.c"];

    #[test]
    fn tables_of_a_higher_priority_are_backfilled_first() {
        let mut scene = Scene::new(THREE);
        scene.task.bind(&NAMES);
        advanced(&mut scene.task, &json!({"backfill_chunk_size": 6}));
        scene.task.binding_mut("public.a").resource["priority"] = json!(-1);
        scene.task.binding_mut("public.c").resource["priority"] = json!(7);
        scene.task.backfill_all();
        let mut order: Vec<&str> = Vec::new();
        for document in &scene.task.documents {
            if order.last() != Some(&document.table.as_str()) {
                order.push(&document.table);
            }
        }
        assert_eq!(order, ["public.c", "public.b", "public.a"]);
    }

    #[test]
    fn skip_backfills_ends_a_backfill_in_progress() {
        let mut scene = Scene::new(THREE);
        scene.task.bind(&NAMES);
        advanced(&mut scene.task, &json!({"backfill_chunk_size": 3}));
        let mut session = scene.task.open();
        session.until("a part of the backfill", |session| {
            session.task.binding_state("public.a")["backfilled"].as_u64() >= Some(3)
        });
        session.kill();
        assert_eq!(scene.task.binding_state("public.a")["mode"], "Backfill");
        advanced(
            &mut scene.task,
            &json!({"skip_backfills": "public.a,PUBLIC.C"}),
        );
        let mut session = scene.task.open_active();
        execute(
            &mut scene.client,
            "insert into a values (21); delete from a where id = 20",
        );
        session.until_id("public.a", 20);
        session.kill();
        let state = scene.task.binding_state("public.a");
        assert_eq!(state["scanned"], Value::Null);
        let rows = documents_of(&scene.task, "public.a");
        assert!(rows.len() < 20, "{}", rows.len());
        assert_eq!(
            changes(rows[rows.len() - 2..].to_vec()),
            [("c", json!({"id": 21})), ("d", json!({"id": 20}))]
        );
        assert!(documents_of(&scene.task, "public.c").is_empty());
        scene.execute("delete from b where id > 20");
        scene.assert_captured("public.b", &["id"]);
    }

    #[test]
    fn checkpoints_do_not_repeat_unchanged_state_entries() {
        let mut scene = Scene::new(THREE);
        scene.task.bind(&NAMES);
        let mut session = scene.task.open_active();
        session.run.patches.clear();
        execute(
            &mut scene.client,
            "insert into a values (30); insert into b values (30)",
        );
        session.until_id("public.b", 30);
        for patch in &session.run.patches {
            let members: Vec<_> = patch.as_object().expect("an object").keys().collect();
            assert_eq!(members, ["cursor"]);
        }
        session.kill();
        let mut session = scene.task.open();
        execute(&mut scene.client, "insert into a values (31)");
        session.until_id("public.a", 31);
        for patch in &session.run.patches {
            let members: Vec<_> = patch.as_object().expect("an object").keys().collect();
            assert_eq!(members, ["cursor"]);
        }
    }

    #[test]
    fn a_removed_binding_is_ignored_and_is_backfilled_when_it_returns_with_a_new_counter() {
        let mut scene = Scene::new(THREE);
        scene.task.bind(&NAMES);
        scene.task.backfill_all();
        let removed = scene.task.bindings.remove(1);
        let key = removed.state_key();
        scene.task.publish();
        let mut session = scene.task.open();
        execute(
            &mut scene.client,
            "insert into b values (40); insert into a values (40)",
        );
        session.until_id("public.a", 40);
        session.kill();
        let entry = &scene.task.state["bindingStateV1"][&key];
        assert_eq!(entry, &json!({"mode": "Ignore", "backfilled": 0}));

        scene.task.bindings.insert(0, removed);
        scene.task.binding_mut("public.b").backfill += 1;
        scene.task.publish();
        let mut session = scene.task.open_active();
        execute(&mut scene.client, "delete from b where id = 1");
        session.until_document("public.b", |document| document.op() == "d");
        session.kill();
        let entry = &scene.task.state["bindingStateV1"][&key];
        assert_eq!(entry["mode"], "Ignore");
        scene.assert_captured("public.b", &["id"]);
        scene.assert_captured("public.a", &["id"]);
    }

    /// With the same state key, an ignored entry counts as missing.
    #[test]
    fn a_removed_binding_that_returns_unchanged_is_backfilled() {
        let mut scene = Scene::new(THREE);
        scene.task.bind(&NAMES);
        scene.task.backfill_all();
        let removed = scene.task.bindings.remove(1);
        scene.task.open().until_checkpoints(3);
        scene.execute("update b set id = 50 where id = 5; delete from b where id = 6");
        scene.task.bindings.push(removed);
        scene.task.backfill_all();
        let rows = ids(&scene.task, "public.b", Document::is_snapshot);
        assert_eq!(rows.len(), 20 + 19);
        assert!(rows[20..].contains(&50) && !rows[20..].contains(&6));
    }
}
