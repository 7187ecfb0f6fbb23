//! The state file: its content after kills, and the lock on it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use postgres::Client;

use super::{configuration, database};
use crate::support::command::{CommandFolder, command, document};
use crate::support::postgres::{Lease, Version, value};
use crate::support::reduce::{assert_same_rows, reduce, table};
use crate::support::task::Document;
use crate::support::wait;

/// Asserts that no position was confirmed to the server that is beyond the position in the state.
fn assert_slot_not_ahead(client: &mut Client, files: &CommandFolder) {
    let state = files.state();
    let cursor = state["cursor"].as_str().expect("a position");
    let ahead =
        format!("select count(*) from pg_replication_slots where confirmed_flush_lsn > '{cursor}'");
    assert_eq!(value(client, &ahead), "0", "the slot is ahead of {cursor}");
}

#[test]
fn kills_lose_no_changes_and_the_slot_is_never_ahead_of_the_state() {
    let server = Lease::take(Version::MAIN);
    let mut client = database(&server);
    client
        .batch_execute(
            "create table public.t(id int primary key, n int, v text);
             insert into public.t select i, 0, repeat('x', 2000) from generate_series(1, 6000) i",
        )
        .expect("a table");
    let mut files = CommandFolder::new();
    let config = files.write("config.yaml", &configuration(&server));
    let state = files.state_path();
    let arguments = ["--config", &config, "--state", &state];

    let stop = Arc::new(AtomicBool::new(false));
    let writer = thread::spawn({
        let (mut client, stop) = (server.connect("cli"), Arc::clone(&stop));
        move || {
            let mut i = 0;
            while !stop.load(Ordering::Relaxed) {
                i += 1;
                let (a, b, c) = (i * 7 % 6000, i * 13 % 6000, i * 31 % 6000);
                client
                    .batch_execute(&format!(
                        "update public.t set n = {i} where id = {a}; delete from public.t where id = \
                         {b}; insert into public.t values ({c}, {i}, 'new') on conflict do nothing; \
                         update public.t set id = {i} + 10000 where id = {a} + 1"
                    ))
                    .expect("changes");
                thread::sleep(Duration::from_millis(2));
            }
        }
    });

    let mut documents = Vec::new();
    // The first runs are killed while the test does not read their output, and so during the
    // backfill.
    for _ in 0..4 {
        let before = files.state();
        let is_backfilling = |files: &CommandFolder| {
            let state = files.state();
            let mode = &state["bindingStateV1"]["public%2Ft"]["mode"];
            assert_ne!(mode, "Active", "the backfill is over");
            let moved = state["cursor"].is_string() && state["cursor"] != before["cursor"];
            moved && mode.as_str().is_some_and(|mode| mode.ends_with("Backfill"))
        };
        let mut child = command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the command starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut read = 0;
        while read < 50 || !is_backfilling(&files) {
            let line = lines.next().expect("the output continues").expect("UTF-8");
            documents.push(document(&line));
            read += 1;
        }
        child.kill().expect("the command is killed");
        child.wait().expect("the command has ended");
        // The last line may be incomplete.
        let rest: Vec<_> = lines.map(|line| line.expect("UTF-8")).collect();
        documents.extend(
            rest.iter()
                .filter(|line| line.ends_with(']'))
                .map(|line| document(line)),
        );
        assert_slot_not_ahead(&mut client, &files);
    }
    for kill in 0..4 {
        let before = files.state();
        let mut run = files.start(&arguments);
        wait::until("two checkpoints and more", || {
            let ended = run.child.try_wait().expect("the child can be polled");
            assert!(ended.is_none(), "{}", run.log());
            let state = files.state();
            let cursor = state["cursor"].as_str()?;
            let moved = before["cursor"].as_str() != Some(cursor);
            (moved && run.documents().len() > 50 * (kill + 1)).then_some(())
        });
        run.kill();
        documents.extend(run.documents());
        assert_slot_not_ahead(&mut client, &files);
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("the writer did not panic");

    let to_the_end = [&arguments[..], &["--exit-when-caught-up"]].concat();
    documents.extend(files.start(&to_the_end).finish().0);
    let reduced = reduce(documents.iter(), &["id"]);
    assert_same_rows(
        "public.t",
        &table(&mut client, "public.t", &["id"]),
        &reduced,
    );
    // A killed process leaves neither its lock file nor a temporary state file.
    let names: Vec<_> = ["state.json.lock", "state.json.new"]
        .into_iter()
        .filter(|name| files.path(name).exists())
        .collect();
    assert_eq!(names, [""; 0]);
}

/// Kills the command within a chunk after `lines` lines of output, then deletes all rows that were
/// printed.
fn delete_rows_printed_before_their_checkpoint(lines: usize, mode: &str) {
    let server = Lease::take(Version::MAIN);
    let mut client = database(&server);
    client
        .batch_execute(
            "create table public.t(id int primary key, v text);
             insert into public.t select i, repeat('x', 50000) from generate_series(1, 400) i",
        )
        .expect("a table");
    let mut files = CommandFolder::new();
    let config = files.write("config.yaml", &configuration(&server));
    let state = files.state_path();
    let arguments = ["--config", &config, "--state", &state];
    // A chunk has 5 MB, more than the pipe and the output buffer hold, so the command blocks within
    // it.
    let mut child = command(&arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command starts");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let mut documents: Vec<Document> = output
        .lines()
        .take(lines)
        .map(|line| document(&line.expect("a line")))
        .collect();
    child.kill().expect("the command is killed");
    child.wait().expect("the command has ended");
    assert_eq!(documents.len(), lines);
    assert_eq!(files.state()["bindingStateV1"]["public%2Ft"]["mode"], mode);

    client
        .batch_execute(&format!("delete from public.t where id <= {lines}"))
        .expect("changes");
    let to_the_end = [&arguments[..], &["--exit-when-caught-up"]].concat();
    documents.extend(files.start(&to_the_end).finish().0);
    let reduced = reduce(documents.iter(), &["id"]);
    assert_same_rows(
        "public.t",
        &table(&mut client, "public.t", &["id"]),
        &reduced,
    );
}

#[test]
fn rows_printed_before_the_checkpoint_of_the_first_chunk_can_be_deleted() {
    delete_rows_printed_before_their_checkpoint(10, "Pending");
}

#[test]
fn rows_printed_before_the_checkpoint_of_a_later_chunk_can_be_deleted() {
    delete_rows_printed_before_their_checkpoint(110, "Backfill");
}

#[test]
fn a_state_file_can_be_used_by_one_process_at_a_time() {
    let server = Lease::take(Version::MAIN);
    database(&server)
        .batch_execute("create table public.t(id int primary key)")
        .expect("a table");
    let mut files = CommandFolder::new();
    let config = files.write("config.yaml", &configuration(&server));
    let state = files.state_path();
    let arguments = ["--config", &config, "--state", &state];
    let mut first = files.start(&arguments);
    wait::until("the first checkpoint", || {
        files.path("state.json").exists().then_some(())
    });
    let log = files.start(&arguments).fail();
    let pid = first.child.id();
    assert!(
        log.contains(&format!("in use by another capture (process {pid})")),
        "{log}"
    );

    // SIGINT ends the command cleanly.
    let status = Command::new("kill")
        .args(["-INT", &pid.to_string()])
        .status()
        .expect("kill runs");
    assert!(status.success());
    let status = first.wait();
    assert_eq!(status.code(), Some(1), "{}", first.log());
    assert!(first.log().contains("stopped by SIGINT"), "{}", first.log());
    assert!(!files.path("state.json.lock").exists());
}
