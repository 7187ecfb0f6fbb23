//! Connections made by the library, without a capture.

use source_postgres::config::{Config, Environment};
use source_postgres::error::Error;
use source_postgres::net::{ConnectConfig, Connection, Purpose};

/// Connects with a configuration and an empty environment.
pub(crate) fn connect(config: &serde_json::Value) -> Result<Connection, Error> {
    connect_in(config, &[])
}

/// Connects with a configuration and the given environment variables.
pub(crate) fn connect_in(
    config: &serde_json::Value,
    variables: &[(&str, &str)],
) -> Result<Connection, Error> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let environment = Environment::new(variables.iter().map(own))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the runtime is built");
    runtime.block_on(connect_within(config, environment))
}

/// Connects within a runtime.
pub(crate) async fn connect_within(
    config: &serde_json::Value,
    environment: Environment,
) -> Result<Connection, Error> {
    connect_for(config, environment, Purpose::Query).await
}

/// Connects within a runtime, for queries or for replication.
pub(crate) async fn connect_for(
    config: &serde_json::Value,
    environment: Environment,
    purpose: Purpose,
) -> Result<Connection, Error> {
    let config = Config::parse(&config.to_string())?;
    ConnectConfig::with_environment(&config, environment)?
        .connect(purpose)
        .await
}

/// Connects with a configuration that must be refused, and returns the error with its causes.
#[track_caller]
pub(crate) fn refused(config: &serde_json::Value) -> String {
    match connect(config) {
        Ok(_) => panic!("connected with {config}"),
        Err(error) => told(&error),
    }
}

/// Returns the text of an error, followed by its causes.
pub(crate) fn told(error: &Error) -> String {
    match error.causes() {
        Some(causes) => format!("{error} | {causes}"),
        None => error.to_string(),
    }
}
