//! Replays the seeds of the fuzz targets, on stable Rust.

#![cfg(feature = "fuzzing")]

use std::{fs, path::PathBuf};

fn replay(target: &str, run: fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let data = fs::read(&path).unwrap();
        // Shown if the test fails.
        println!("{}", path.display());
        run(&data);
        // Truncated seeds must not fail either.
        for end in 0..data.len().min(200) {
            run(&data[..end]);
        }
        count += 1;
    }
    assert!(count > 5, "{} contains {count} seeds", folder.display());
}

#[test]
fn frame() {
    replay("frame", protocol::fuzzing::frame);
}

#[test]
fn backend_message() {
    replay("backend_message", protocol::fuzzing::backend_message);
}

#[test]
fn scram() {
    replay("scram", protocol::fuzzing::scram);
}

#[test]
fn pgoutput() {
    replay("pgoutput", protocol::fuzzing::pgoutput);
}

#[test]
fn pgoutput_round_trip() {
    replay(
        "pgoutput_round_trip",
        protocol::fuzzing::pgoutput_round_trip,
    );
}
