//! Endpoint configuration: database, credentials and options of a capture.

mod config;
mod parse;
mod ssl_mode;
mod values;

pub use self::config::{Config, SshForwarding};
pub use self::ssl_mode::SslMode;

#[cfg(test)]
mod tests;
