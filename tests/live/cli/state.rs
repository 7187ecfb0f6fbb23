//! The state file: what is in it when the command is killed, and what it is refused for.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use postgres::Client;

use super::{configuration, database};
use crate::support::command::{Place, command, document};
use crate::support::postgres::{Lease, Version, value};
use crate::support::reduce::{assert_same_rows, reduce, table};
use crate::support::task::Document;
use crate::support::wait;

/// Asserts that nothing was confirmed to the server that is not in the state.
fn is_not_ahead(client: &mut Client, place: &Place) {
    let state = place.state();
    let cursor = state["cursor"].as_str().expect("a position");
    let ahead =
        format!("select count(*) from pg_replication_slots where confirmed_flush_lsn > '{cursor}'");
    assert_eq!(value(client, &ahead), "0", "the slot is ahead of {cursor}");
}

#[test]
fn nothing_is_lost_to_kills_and_nothing_confirmed_that_is_not_in_the_state() {
    let server = Lease::take(Version::MAIN);
    let mut client = database(&server);
    client
        .batch_execute(
            "create table public.t(id int primary key, n int, v text);
             insert into public.t select i, 0, repeat('x', 2000) from generate_series(1, 6000) i",
        )
        .expect("a table");
    let mut place = Place::new();
    let config = place.write("config.yaml", &configuration(&server));
    let state = place.state_path();
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
    // The first runs are killed while nobody reads their output, so amid the backfill.
    for _ in 0..4 {
        let before = place.state();
        let is_amid = |place: &Place| {
            let state = place.state();
            let mode = &state["bindingStateV1"]["public%2Ft"]["mode"];
            assert_ne!(mode, "Active", "the backfill is over");
            let moved = state["cursor"].is_string() && state["cursor"] != before["cursor"];
            moved && mode.as_str().is_some_and(|mode| mode.ends_with("Backfill"))
        };
        let mut child = command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut read = 0;
        while read < 50 || !is_amid(&place) {
            let line = lines.next().expect("it goes on").expect("UTF-8");
            documents.push(document(&line));
            read += 1;
        }
        child.kill().expect("it can be killed");
        child.wait().expect("it can be waited for");
        // The last line may have been cut.
        let rest: Vec<_> = lines.map(|line| line.expect("UTF-8")).collect();
        documents.extend(
            rest.iter()
                .filter(|line| line.ends_with(']'))
                .map(|line| document(line)),
        );
        is_not_ahead(&mut client, &place);
    }
    for kill in 0..4 {
        let before = place.state();
        let mut run = place.start(&arguments);
        wait::until("two checkpoints and more", || {
            let ended = run.child.try_wait().expect("it can be asked");
            assert!(ended.is_none(), "{}", run.log());
            let state = place.state();
            let cursor = state["cursor"].as_str()?;
            let moved = before["cursor"].as_str() != Some(cursor);
            (moved && run.documents().len() > 50 * (kill + 1)).then_some(())
        });
        run.kill();
        documents.extend(run.documents());
        is_not_ahead(&mut client, &place);
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("the writer goes on");

    let to_the_end = [&arguments[..], &["--exit-when-caught-up"]].concat();
    documents.extend(place.start(&to_the_end).finish().0);
    let reduced = reduce(documents.iter(), &["id"]);
    assert_same_rows(
        "public.t",
        &table(&mut client, "public.t", &["id"]),
        &reduced,
    );
    // The lock of a process that was killed is gone with it, and so is what it was writing.
    let names: Vec<_> = ["state.json.lock", "state.json.new"]
        .into_iter()
        .filter(|name| place.path(name).exists())
        .collect();
    assert_eq!(names, [""; 0]);
}

/// Kills the command amid a chunk, of which so many lines were read, and then deletes all rows that
/// were printed.
fn rows_of_no_checkpoint(lines: usize, mode: &str) {
    let server = Lease::take(Version::MAIN);
    let mut client = database(&server);
    client
        .batch_execute(
            "create table public.t(id int primary key, v text);
             insert into public.t select i, repeat('x', 50000) from generate_series(1, 400) i",
        )
        .expect("a table");
    let mut place = Place::new();
    let config = place.write("config.yaml", &configuration(&server));
    let state = place.state_path();
    let arguments = ["--config", &config, "--state", &state];
    // A chunk of 5 MB is more than the pipe and the output's buffer hold, so it waits for its reader.
    let mut child = command(&arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let mut documents: Vec<Document> = output
        .lines()
        .take(lines)
        .map(|line| document(&line.expect("a line")))
        .collect();
    child.kill().expect("it can be killed");
    child.wait().expect("it can be waited for");
    assert_eq!(documents.len(), lines);
    assert_eq!(place.state()["bindingStateV1"]["public%2Ft"]["mode"], mode);

    client
        .batch_execute(&format!("delete from public.t where id <= {lines}"))
        .expect("changes");
    let to_the_end = [&arguments[..], &["--exit-when-caught-up"]].concat();
    documents.extend(place.start(&to_the_end).finish().0);
    let reduced = reduce(documents.iter(), &["id"]);
    assert_same_rows(
        "public.t",
        &table(&mut client, "public.t", &["id"]),
        &reduced,
    );
}

#[test]
fn rows_that_were_printed_before_the_first_chunk_s_checkpoint_can_be_deleted() {
    rows_of_no_checkpoint(10, "Pending");
}

#[test]
fn rows_that_were_printed_before_a_later_chunk_s_checkpoint_can_be_deleted() {
    rows_of_no_checkpoint(110, "Backfill");
}

#[test]
fn a_state_file_serves_one_process_at_a_time() {
    let server = Lease::take(Version::MAIN);
    database(&server)
        .batch_execute("create table public.t(id int primary key)")
        .expect("a table");
    let mut place = Place::new();
    let config = place.write("config.yaml", &configuration(&server));
    let state = place.state_path();
    let arguments = ["--config", &config, "--state", &state];
    let mut first = place.start(&arguments);
    wait::until("the first checkpoint", || {
        place.path("state.json").exists().then_some(())
    });
    let log = place.start(&arguments).fail();
    let pid = first.child.id();
    assert!(
        log.contains(&format!("in use by another capture (process {pid})")),
        "{log}"
    );

    // SIGINT ends it in order.
    let status = Command::new("kill")
        .args(["-INT", &pid.to_string()])
        .status()
        .expect("kill runs");
    assert!(status.success());
    let status = first.wait();
    assert_eq!(status.code(), Some(1), "{}", first.log());
    assert!(first.log().contains("stopped by SIGINT"), "{}", first.log());
    assert!(!place.path("state.json.lock").exists());
}
