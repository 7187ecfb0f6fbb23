//! Making a connection: addresses in turn, TLS as sslmode asks, authentication, errors by cause.

mod attempt;
pub(super) mod cancel;
mod config;
mod hosts;
mod login;
mod parameters;
mod reach;
mod refusal;
mod server_role;
mod session_attrs;
mod socket;

pub use config::{ConnectConfig, Purpose};
