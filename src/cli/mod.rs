//! Command line.
//!
//! Without a command, the connector serves the Flow capture protocol on standard input and output.
//! `capture` runs a capture without a Flow runtime; `setup` prints the SQL that prepares a
//! database.

mod discover;
mod open;
mod service;
mod setup;
mod standalone;
mod validate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{Error, ErrorKind, Result};
use crate::{background, logging};

/// Captures a PostgreSQL database into Estuary Flow collections: the rows of its tables, then every
/// committed change.
///
/// Without a command, serves the Flow capture protocol on standard input and output, in the codec
/// that FLOW_RUNTIME_CODEC names: proto (the default) or json. LOG_FORMAT (json, text, color) and
/// LOG_LEVEL configure the log on standard error.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Capture(standalone::Arguments),
    Setup(setup::Arguments),
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::Setup(setup)) = &arguments.command {
        // Output for people and psql; needs neither the log nor a runtime.
        return setup.print();
    }
    let result = logging::init().and_then(|()| run(arguments.command));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::fatal(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Option<Command>) -> Result<()> {
    logging::status("Initializing connector");
    // The session runs on this thread and may block while it writes its output; status updates and
    // acknowledgements run on the background thread.
    let background = background::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = run_command(command) => result,
            signal = stop_signal() => Err(signal),
        }
    });
    // Does not wait for running tasks: a pending read of standard input cannot be cancelled.
    background.shutdown_background();
    runtime.shutdown_background();
    result
}

async fn run_command(command: Option<Command>) -> Result<()> {
    match command {
        None => service::serve().await,
        Some(Command::Capture(arguments)) => Box::pin(standalone::capture(&arguments)).await,
        // `main` has printed the SQL already.
        Some(Command::Setup(_)) => Ok(()),
    }
}

/// Waits for SIGTERM or SIGINT, and returns the error that ends the process. Exits the process if
/// it has not ended three seconds after the signal.
async fn stop_signal() -> Error {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // The background thread receives the signal even while the session blocks on its output.
    background::spawn(async move {
        let (Ok(mut terminate), Ok(mut interrupt)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) else {
            return;
        };
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        let stop_error = || {
            Error::new(
                ErrorKind::Shutdown,
                format!("stopped by {name}; the next run resumes from the last checkpoint"),
            )
        };
        let _ = sender.send(stop_error());
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        logging::fatal(&stop_error());
        std::process::exit(1);
    });
    match receiver.await {
        Ok(error) => error,
        Err(_) => std::future::pending().await,
    }
}
