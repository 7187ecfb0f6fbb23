//! Streaming a backlog: all changes are in the log before a reader starts.

use std::path::Path;

use crate::connector;
use crate::floor::{Drain, Floor};
use crate::process::{self, Usage};
use crate::programs;
use crate::rounds::{Pass, Reader};
use crate::stage::{SLOT, Stage};
use crate::support::messages::Codec;

pub(crate) const PROTOBUF: &str = "connector, protobuf";
pub(crate) const JSON: &str = "connector, JSON";
pub(crate) const DRAIN: &str = "drain";
pub(crate) const RECVLOGICAL: &str = "pg_recvlogical";

/// Returns the readers of a backlog.
pub(crate) fn readers<'a, 's>() -> Vec<Reader<'a, Stage<'s>>> {
    let program = programs::newest("pg_recvlogical");
    vec![
        Reader::new(PROTOBUF, |stage, pass| capture(stage, Codec::Proto, pass)),
        Reader::new(JSON, |stage, pass| capture(stage, Codec::Json, pass)),
        Reader::new(DRAIN, |stage, _| drain(stage)),
        Reader::new(RECVLOGICAL, move |stage, pass| {
            receive(stage, &program, pass)
        }),
    ]
}

/// Runs the connector in a codec.
pub(crate) fn capture(stage: &mut Stage<'_>, codec: Codec, pass: Pass) -> Usage {
    let mut task = stage.backlog();
    task.launch.codec = codec;
    let expected = (pass == Pass::Checked).then_some(stage.rows);
    on_slot(stage, |_| connector::run(&task, expected))
}

fn drain(stage: &mut Stage<'_>) -> Usage {
    on_slot(stage, |stage| {
        let floor = Floor::Drain(Drain::of(stage, &stage.start));
        floor.measure(stage.rows)
    })
}

/// Runs PostgreSQL's own client with its default options. Its output is discarded, or counted if it
/// is to be checked.
fn receive(stage: &mut Stage<'_>, program: &Path, pass: Pass) -> Usage {
    on_slot(stage, |stage| {
        let mut command = process::guarded(program);
        let target = match pass {
            Pass::Checked => "-",
            Pass::Measured => "/dev/null",
        };
        if let Some(security) = stage.security() {
            command
                .env("PGSSLMODE", security.sslmode)
                .env("PGSSLROOTCERT", &security.sslrootcert);
        }
        command
            .args(["--host", "127.0.0.1"])
            .args(["--port", &stage.server.port().to_string()])
            .args(["--username", "postgres", "--dbname", &stage.database()])
            .args(["--start", "--no-loop", "--slot", SLOT])
            .args(["--startpos", &stage.start, "--endpos", &stage.end])
            .args(["--option", "proto_version=1"])
            .args(["--option", "publication_names=flow_publication"])
            .args(["--file", target]);
        let mut bytes = 0;
        let usage = process::run(command, &[], |piece, _| bytes += piece.len() as u64);
        if pass == Pass::Checked {
            // An insert has at least its relation, its kind and a count of columns.
            let least = stage.rows * 12;
            assert!(bytes >= least, "pg_recvlogical has written {bytes} bytes");
        }
        Usage {
            bytes: None,
            ..usage
        }
    })
}

/// Runs a reader on a slot that is created for it and dropped afterwards.
fn on_slot<'s>(stage: &mut Stage<'s>, read: impl FnOnce(&Stage<'s>) -> Usage) -> Usage {
    stage.make_slot();
    let usage = read(stage);
    stage.drop_slot(SLOT);
    usage
}
