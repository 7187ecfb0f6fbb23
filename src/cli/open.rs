//! Handling of Open requests: runs a capture session for the Flow runtime.

use std::fs::File;

use tokio::io::Stdin;
use tracing::{debug, warn};

use super::validate::bindings_of;
use crate::background;
use crate::buffer::Buffer;
use crate::capture::{self, Acknowledgements, Durability, Sink, State, Task};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::flow::{Mark, Open, Opened, Output, Request, RequestReader, Response};

/// Runs a capture session until it ends or fails.
pub(super) async fn open(
    request: &Open,
    reader: RequestReader<Stdin>,
    output: Output<File>,
) -> Result<()> {
    let capture = request.capture()?;
    let config = Config::parse(&capture.config_json)?;
    for warning in config.warnings() {
        warn!("{warning}");
    }
    let task = Task {
        name: capture.name.clone(),
        config,
        bindings: bindings_of(capture)?,
        state: State::parse(&request.state_json)?,
        stop_when_caught_up: stop_when_caught_up(),
    };
    let acknowledgements = Acknowledgements::default();
    let sink = FlowSink {
        output,
        mark: None,
        uncommitted: 0,
    };
    let mut reading = background::spawn(read_acknowledgements(reader, acknowledgements.clone()));
    let session = Box::pin(capture::run(task, sink, acknowledgements));
    tokio::select! {
        result = session => result,
        Ok(Err(error)) = &mut reading => Err(error),
    }
}

/// Returns whether `SHUTDOWN_AFTER_POLLING` asks the capture to end once it is caught up.
pub(super) fn stop_when_caught_up() -> bool {
    std::env::var("SHUTDOWN_AFTER_POLLING").is_ok_and(|value| value == "yes")
}

/// Reads acknowledgements until the input ends, then waits forever: the capture continues after the
/// end of its input.
async fn read_acknowledgements(
    mut reader: RequestReader<Stdin>,
    acknowledgements: Acknowledgements,
) -> Result<()> {
    while let Some(request) = reader.next().await? {
        match request {
            Request::Acknowledge(acknowledge) => {
                acknowledgements.acknowledge(acknowledge.count())?;
            }
            other => {
                return Err(Error::new(
                    ErrorKind::Protocol,
                    format!("unexpected {} request after Open", other.name()),
                ));
            }
        }
    }
    acknowledgements.close();
    debug!("input ended, no further acknowledgements expected");
    std::future::pending().await
}

/// Sink that writes documents and checkpoints to the Flow runtime.
struct FlowSink {
    output: Output<File>,
    /// Mark of the unfinished document.
    mark: Option<Mark>,
    /// Bytes of documents since the last checkpoint.
    uncommitted: u64,
}

impl Sink for FlowSink {
    fn opened(&mut self) -> Result<()> {
        self.output.respond(&Response::Opened(Opened {
            explicit_acknowledgements: true,
        }))
    }

    #[inline]
    fn begin_document(&mut self, binding: u32) {
        self.mark = Some(self.output.begin_captured(binding));
    }

    #[inline]
    fn buffer(&mut self) -> &mut Buffer {
        self.output.buffer()
    }

    #[inline]
    fn end_document(&mut self) -> Result<()> {
        let Some(mark) = self.mark.take() else {
            return Ok(());
        };
        let before = self.output.buffer().len();
        self.uncommitted += mark.document_bytes(before);
        self.output.end_captured(mark)
    }

    fn sourced_schema(&mut self, binding: u32, schema: &str) -> Result<()> {
        self.output.sourced_schema(binding, schema)
    }

    fn checkpoint(&mut self, patch: &str) -> Result<Durability> {
        self.uncommitted = 0;
        self.output.checkpoint(patch)?;
        Ok(Durability::Unacknowledged)
    }

    fn uncommitted_bytes(&self) -> u64 {
        self.uncommitted
    }
}
