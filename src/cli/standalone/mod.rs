//! A capture without a Flow runtime: documents on standard output, the state in a file.

mod catalog;
mod members;
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

/// Captures on its own, without Flow: prints documents, keeps its state in a file.
///
/// Each document is a line of standard output: ["COLLECTION", {...}]. First come
/// the rows of the tables, then every committed change, until the process is
/// stopped. The log goes to standard error.
///
/// What is missing in the database is created where the user may: the publication,
/// the watermarks table, the replication slot.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_long_help = NOTES)]
pub(super) struct Arguments {
    /// What to capture, in YAML or JSON; "-" reads standard input
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
    /// where config may be the path of a file, relative to the catalog, and
    /// collections that are not defined take the table's own key. Imports are not
    /// read. Or the endpoint configuration alone: then all tables that are discovered
    /// are captured, into collections of their recommended names.
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    config: PathBuf,

    /// Where to keep the state, and to go on from in the next run
    ///
    /// JSON in the form in which Flow keeps it. The file is replaced at each
    /// checkpoint, by way of FILE.new, and FILE.lock keeps a second process from
    /// using it. Without a file the state is kept in memory alone: the next run then
    /// starts anew with a new replication slot, and reads all tables again.
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    state: Option<PathBuf>,

    /// The capture to run, where the catalog defines several
    #[arg(long, value_name = "NAME")]
    capture: Option<String>,

    /// Ends the run once all tables are read and the log is caught up with
    ///
    /// The same as SHUTDOWN_AFTER_POLLING=yes in the environment.
    #[arg(long, verbatim_doc_comment)]
    exit_when_caught_up: bool,
}

const NOTES: &str = "\
Delivery:
  Standard output gets each document at least once. A checkpoint counts as
  acknowledged when standard output has taken its documents and the state file is
  on disk; only then may the server forget the log before it. What was printed
  after the last checkpoint of a run is printed again by the next one.

  Applied in order, by key, the lines of all runs lead to the rows of the table.
  To that end a table whose rows are being read has, from the second run on, all
  of its changes printed, as in the backfill mode Normal. Rows of tables without
  a key that are printed again may have another /_meta/source/loc.

  If standard output is a regular file, it is written to disk before the state.
  A run that is killed can leave its last line incomplete.

Exit status:
  0 if the run has ended because it had caught up, else 1: on an error, on SIGINT
  or SIGTERM, and when nobody reads standard output any more, as with \"| head\".
  The state is that of the last checkpoint in each case.

Environment:
  LOG_FORMAT  text or json; by default for people, in colour on a terminal
  LOG_LEVEL   trace, debug, info (the default), warn, error, fatal or panic
  SHUTDOWN_AFTER_POLLING  yes: as --exit-when-caught-up";

/// Runs a capture to its end.
pub(super) async fn capture(arguments: &Arguments) -> Result<()> {
    let source = catalog::read(&arguments.config, arguments.capture.as_deref())?;
    let (file, state) = match &arguments.state {
        Some(path) => {
            let (file, state) = StateFile::open(path)?;
            match state.cursor {
                Some(cursor) => info!(state = %path.display(), %cursor, "going on from the state"),
                None => {
                    info!(state = %path.display(), "starting anew: the state has no position yet")
                }
            }
            (Some(file), state)
        }
        None => {
            warn!(
                "no --state file is given: the state is kept in memory, and the next run starts \
                 anew, with a new replication slot"
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
