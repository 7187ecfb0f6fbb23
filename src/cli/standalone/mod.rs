//! Capture without a Flow runtime: documents on standard output, state in a file.

mod catalog;
mod merge_patch;
mod resume;
mod sink;
mod state_file;
mod task;
mod yaml;

use std::path::PathBuf;

use tracing::{info, warn};

use self::sink::{LineSink, Stdout};
use self::state_file::StateFile;
use self::task::PreparedTask;
use super::open::stop_when_caught_up;
use crate::capture::{self, Acknowledgements, State};
use crate::error::Result;
use crate::{flow, logging};

/// Captures without a Flow runtime: prints documents and keeps the state in a file.
///
/// Each document is a line of standard output: ["COLLECTION", {...}]. The rows of
/// the tables come first, then every committed change, until the process is
/// stopped. The log goes to standard error.
///
/// If the publication, the watermarks table or the replication slot is missing, the
/// capture creates it, provided that the user has the privileges.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_long_help = NOTES)]
pub(super) struct Arguments {
    /// Configuration of the capture, in YAML or JSON; "-" reads standard input
    ///
    /// Either a Flow catalog:
    ///
    ///   captures:
    ///     acme/shop:
    ///       endpoint:
    ///         connector:
    ///           image: source-postgres
    ///           config: {address: "localhost:5432", user: flow_capture, ...}
    ///       bindings:
    ///         - resource: {namespace: public, stream: orders}
    ///           target: acme/orders
    ///   collections:
    ///     acme/orders: {schema: {...}, key: [/id]}
    ///
    /// where config may be the path of a file, relative to the catalog, and a
    /// collection without a definition has the key of its table. Imports are not
    /// read. Or an endpoint configuration alone: all discovered tables are then
    /// captured, into collections with their recommended names.
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    config: PathBuf,

    /// File that holds the state, from which the next run resumes
    ///
    /// The content is JSON in the format of Flow. Each checkpoint writes FILE.new and
    /// renames it to FILE; FILE.lock prevents a second process from using the file.
    /// Without a file, the state is kept in memory only: the next run then starts
    /// from the beginning, with a new replication slot and a backfill of all tables.
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    state: Option<PathBuf>,

    /// Capture to run, if the catalog defines several
    #[arg(long, value_name = "NAME")]
    capture: Option<String>,

    /// End the run once all tables are backfilled and the capture is caught up
    ///
    /// SHUTDOWN_AFTER_POLLING=yes in the environment has this effect, too.
    #[arg(long, verbatim_doc_comment)]
    exit_when_caught_up: bool,
}

const NOTES: &str = "\
Delivery:
  Each document is printed at least once. A checkpoint counts as acknowledged when
  its documents are written to standard output and the state file is on disk; only
  then may the server discard the log before the checkpoint. Documents that a run
  prints after its last checkpoint are printed again by the next run.

  Applied in order, by key, the lines of all runs give the rows of the table. For
  this reason, from the second run on, a table that is still being backfilled has
  all its changes printed, as in the backfill mode Normal. Rows of tables without
  a key that are printed again may have a different /_meta/source/loc.

  If standard output is a regular file, it is synchronised to disk before the state
  file. A run that is killed can leave an incomplete last line.

Exit status:
  0 if the run ended because it was caught up, else 1: after an error, after SIGINT
  or SIGTERM, and if the reader closes standard output, as with \"| head\". In each
  case the state file holds the last checkpoint.

Environment:
  LOG_FORMAT  json, text or color; by default text for people, in colour on a
              terminal
  LOG_LEVEL   trace, debug, info (the default), warn, error, fatal or panic
  SHUTDOWN_AFTER_POLLING  yes has the effect of --exit-when-caught-up";

/// Runs a capture until it ends or fails.
pub(super) async fn capture(arguments: &Arguments) -> Result<()> {
    let source = catalog::read(&arguments.config, arguments.capture.as_deref())?;
    let (file, state) = match &arguments.state {
        Some(path) => {
            let (file, state) = StateFile::open(path)?;
            match state.cursor {
                Some(cursor) => {
                    info!(state = %path.display(), %cursor, "resuming from the state file")
                }
                None => info!(
                    state = %path.display(),
                    "starting from the beginning: the state file has no position"
                ),
            }
            (Some(file), state)
        }
        None => {
            warn!(
                "state kept in memory only: no --state file is given, so the next run starts from \
                 the beginning, with a new replication slot"
            );
            (None, State::default())
        }
    };
    logging::status("Starting capture");
    let stop = arguments.exit_when_caught_up || stop_when_caught_up();
    let PreparedTask { task, collections } =
        task::prepare(source, &arguments.config, state, stop).await?;
    let sink = LineSink::new(Stdout::new(flow::stdout()?), &collections, file);
    Box::pin(capture::run(task, sink, Acknowledgements::default())).await
}
