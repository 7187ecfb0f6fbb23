//! Every way to a server, each against the real thing.

mod authentication;
mod matrix;
mod tunnel;

use source_postgres::config::{Config, Environment};
use source_postgres::error::Error;
use source_postgres::net::{ConnectConfig, Connection, Purpose};

/// Connects with a configuration, and nothing from the environment.
fn connect(config: &serde_json::Value) -> Result<Connection, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime is made");
    runtime.block_on(connect_within(config, Environment::default()))
}

async fn connect_within(
    config: &serde_json::Value,
    environment: Environment,
) -> Result<Connection, Error> {
    let config = Config::parse(&config.to_string())?;
    ConnectConfig::with_environment(&config, environment)?
        .connect(Purpose::Query)
        .await
}

/// The error of a connection that has to fail, with its causes.
#[track_caller]
fn refused(config: &serde_json::Value) -> String {
    match connect(config) {
        Ok(_) => panic!("connected with {config}"),
        Err(error) => told(&error),
    }
}

fn told(error: &Error) -> String {
    match error.causes() {
        Some(causes) => format!("{error} | {causes}"),
        None => error.to_string(),
    }
}
