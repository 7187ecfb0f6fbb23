//! Resources that transactions in progress use: the server's memory, the connector's memory, and
//! disk.

use postgres::Client;
use serde_json::json;

use super::{TABLES, assert_succeeded, take_in_progress};
use crate::support::connector::Launch;
use crate::support::messages::Codec;
use crate::support::scene::{Scene, advanced, execute, says};

/// The connector sets `logical_decoding_work_mem` as configured, by default to 256 MB unless the
/// server has more.
#[test]
fn the_server_s_memory_for_decoding_is_set() {
    let mut scene = Scene::new(TABLES);
    scene.task.bind(&["public.a"]);
    scene.task.launch = Launch::new(Codec::Proto).until_caught_up();
    for (of_server, configured, expected) in [
        ("64MB", "", Some("256MB")),
        ("255MB", "", Some("256MB")),
        ("1GB", "", None),
        ("1GB", "64kB", Some("64kB")),
    ] {
        scene.execute(&format!(
            "alter role postgres set logical_decoding_work_mem = '{of_server}'"
        ));
        let setting = json!({"logical_decoding_work_mem": configured});
        advanced(&mut scene.task, &setting);
        let run = scene.task.run();
        assert_succeeded(&run);
        let set = run.log.find(|line| says(line, "memory for decoding"));
        let set = set.and_then(|line| line.field("logical_decoding_work_mem"));
        assert_eq!(set.as_deref(), expected, "{of_server}, {configured:?}");
    }
}

/// Number of rows of a transaction that exceeds the memory budget.
const MANY: u32 = 60_000;

fn many_rows(client: &mut Client) {
    execute(
        client,
        &format!(
            "begin; select fill('a', 1, {MANY});
             savepoint one; select fill('b', 1, 1000); rollback to one; commit;
             insert into c values (1, 'last')"
        ),
    );
}

#[test]
fn a_transaction_beyond_the_memory_budget_is_spooled_to_disk() {
    let mut scene = Scene::new(TABLES);
    take_in_progress(&mut scene.task, true);
    scene.task.bind(&["public.a", "public.b", "public.c"]);
    let mut session = scene.task.open_active();
    many_rows(&mut scene.client);
    session.until_id("public.c", 1);
    let peak = session.connector.peak_memory();
    let line = session.until_logged("large transaction was spooled to a temporary file");
    session.kill();
    let messages = line.field("messages").and_then(|count| count.parse().ok());
    assert!(messages > Some(MANY), "{line:?}");
    assert!(peak < 64 * 1024, "{peak} kB");
    scene.assert_captured("public.a", &["id"]);
    scene.assert_captured("public.b", &["id"]);
}

/// A disk that becomes full during a transaction does not stop the capture, loses no change and
/// repeats none.
#[test]
fn a_full_disk_turns_streaming_of_transactions_in_progress_off() {
    let mut scene = Scene::new(TABLES);
    take_in_progress(&mut scene.task, true);
    scene.task.bind(&["public.a", "public.b", "public.c"]);
    scene.task.launch.file_size_limit = Some(1024 * 1024);
    let mut other = scene.connect();
    let mut session = scene.task.open_active();
    // Both the commits before that and the transaction in progress are captured once.
    execute(&mut other, "begin; select fill('b', 5001, 5300)");
    for id in 10..20 {
        execute(
            &mut scene.client,
            &format!("insert into c values ({id}, 'before')"),
        );
    }
    many_rows(&mut scene.client);
    execute(&mut other, "commit; insert into c values (2, 'last')");
    session.until_id("public.c", 2);
    let warning = session.until_logged("transactions in progress cannot be stored");
    assert_eq!(warning.level, "warning");
    assert!(says(&warning, "File too large"), "{warning:?}");
    assert!(says(
        &session
            .log()
            .find(|line| line.field("streaming").as_deref() == Some("off"))
            .expect("replication starts again"),
        "transactions in progress could not be stored"
    ));
    let run = session.kill();
    let mut of_a = 0;
    for document in &run.documents {
        of_a += usize::from(document.table == "public.a");
    }
    assert_eq!(
        of_a,
        usize::try_from(MANY).expect("64 bits"),
        "each row once"
    );
    for name in ["public.a", "public.b", "public.c"] {
        scene.assert_captured(name, &["id"]);
    }
}

#[test]
fn a_missing_folder_for_temporary_files_is_warned_of() {
    let mut scene = Scene::new(TABLES);
    take_in_progress(&mut scene.task, true);
    scene.task.bind(&["public.a"]);
    scene.task.launch = Launch::new(Codec::Proto)
        .until_caught_up()
        .variable("TMPDIR", "/proc/nowhere");
    scene.task.run();
    scene.execute("select fill('a', 1, 1000)");
    let run = scene.task.run();
    assert_succeeded(&run);
    scene.assert_captured("public.a", &["id"]);
    let warning = run
        .log
        .find(|line| line.level == "warning" && says(line, "/proc/nowhere"))
        .expect("a warning was logged");
    assert!(says(&warning, "are not streamed"), "{warning:?}");
}
