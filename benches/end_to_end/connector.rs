//! The connector as one of the readers that are measured.

use std::path::Path;
use std::process::Command;

use crate::frames::Frames;
use crate::process::{self, Usage};
use crate::support::messages::{Codec, ConnectorType, Open, RangeSpec, Request, Spec};
use crate::support::task::Task;

/// Runs a task until it has caught up. Where `due` says how many documents have to come, they are
/// counted, which is not to be measured; else only up to the first.
///
/// The end of its input, which comes right behind the requests, says that checkpoints will not be
/// acknowledged, so that the connector does not wait for that at the end.
pub(crate) fn run(task: &Task, due: Option<u64>) -> Usage {
    // The end of the input says that checkpoints are not acknowledged, so that the connector does
    // not wait for that at the end.
    let mut frames = Frames::new(task.launch.codec);
    let mut first = None;
    let usage = process::run(command(task), &requests(task), |piece, time| {
        if due.is_some() || first.is_none() {
            frames.take(piece);
        }
        if first.is_none() && frames.documents > 0 {
            first = Some(time);
        }
    });
    if let Some(due) = due {
        frames.assert_whole();
        let table = &task.bindings[0].table;
        assert_eq!(frames.documents, due, "documents of {table}");
        assert!(frames.checkpoints > 0, "no checkpoint of {table}");
    }
    Usage { first, ..usage }
}

/// The connector as a command that takes requests for this task.
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

/// What the runtime sends to start a session.
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
