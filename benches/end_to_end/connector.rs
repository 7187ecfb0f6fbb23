//! The connector as one of the measured readers.

use std::path::Path;
use std::process::Command;

use crate::frames::Frames;
use crate::process::{self, Usage};
use crate::support::messages::{Codec, ConnectorType, Open, RangeSpec, Request, Spec};
use crate::support::task::Task;

/// Runs a task until it has caught up. With an expected number of documents, all of them are
/// counted; such a run is not to be measured. Without, the output is parsed up to the first
/// document only.
///
/// The input ends after the requests. That tells the connector that checkpoints will not be
/// acknowledged, so that it does not wait for acknowledgements at the end.
pub(crate) fn run(task: &Task, expected: Option<u64>) -> Usage {
    let mut frames = Frames::new(task.launch.codec);
    let mut first = None;
    let usage = process::run(command(task), &requests(task), |piece, time| {
        if expected.is_some() || first.is_none() {
            frames.take(piece);
        }
        if first.is_none() && frames.documents > 0 {
            first = Some(time);
        }
    });
    if let Some(expected) = expected {
        frames.assert_whole();
        let table = &task.bindings[0].table;
        assert_eq!(frames.documents, expected, "documents of {table}");
        assert!(frames.checkpoints > 0, "no checkpoint of {table}");
    }
    Usage { first, ..usage }
}

/// Returns the command that runs the connector for a task.
pub(crate) fn command(task: &Task) -> Command {
    let mut command = process::guarded(Path::new(env!("CARGO_BIN_EXE_source-postgres")));
    for name in ["FLOW_RUNTIME_CODEC", "LOG_LEVEL", "SHUTDOWN_AFTER_POLLING"] {
        command.env_remove(name);
    }
    if task.launch.codec == Codec::Json {
        command.env("FLOW_RUNTIME_CODEC", "json");
    }
    command.envs(task.launch.environment.iter().cloned());
    command
}

/// Returns the requests by which the runtime starts a session.
pub(crate) fn requests(task: &Task) -> Vec<u8> {
    let codec = task.launch.codec;
    let spec = Request {
        spec: Some(Spec {
            connector_type: ConnectorType::Image.into(),
            config_json: b"{}".to_vec(),
        }),
        ..Request::default()
    };
    let open = Request {
        open: Some(Open {
            capture: Some(task.spec()),
            version: "benchmark".to_owned(),
            range: Some(RangeSpec {
                key_end: u32::MAX,
                r_clock_end: u32::MAX,
                ..RangeSpec::default()
            }),
            state_json: task.state.to_string().into_bytes(),
        }),
        ..Request::default()
    };
    [spec.encode_with(codec), open.encode_with(codec)].concat()
}
