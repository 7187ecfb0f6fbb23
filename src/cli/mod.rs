//! The command line.
//!
//! Without arguments the connector serves the Flow capture protocol on standard input and output;
//! `capture` runs one by itself, `setup` prints what prepares a database.

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

/// Captures a PostgreSQL database into Estuary Flow collections: its rows, then every committed
/// change.
///
/// Without a command it serves the Flow capture protocol on standard input and output, in the codec
/// that FLOW_RUNTIME_CODEC names: proto (the default) or json. LOG_FORMAT (json, text, color) and
/// LOG_LEVEL say how it logs on standard error.
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

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::Setup(setup)) = &arguments.command {
        // For people and psql: no log, and nothing of a session.
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
    // The session itself runs on this thread, which may block while its output is taken; status
    // updates and acknowledgements go on beside it.
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
    // A read of standard input that is under way cannot be cancelled, and nobody waits for it.
    background.shutdown_background();
    runtime.shutdown_background();
    result
}

async fn run_command(command: Option<Command>) -> Result<()> {
    match command {
        None => service::serve().await,
        Some(Command::Capture(arguments)) => Box::pin(standalone::capture(&arguments)).await,
        // Printed before anything else.
        Some(Command::Setup(_)) => Ok(()),
    }
}

/// Waits for a signal that asks the process to stop.
async fn stop_signal() -> Error {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // On the other thread, since a session that waits for its output to be taken hears nothing.
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
                format!("stopped by {name}; the capture goes on from its last checkpoint"),
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
