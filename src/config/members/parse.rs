//! JSON text of configurations.

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};

/// Parses the text of a configuration, such as "the endpoint configuration".
///
/// # Errors
///
/// Fails for text that is not JSON.
pub(in crate::config) fn parse(text: &str, name: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| {
        Error::new(
            ErrorKind::Configuration,
            format!("{name} is not valid JSON"),
        )
        .with_source(error)
    })
}
