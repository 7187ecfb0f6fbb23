//! Makes connections, by the rules of libpq: the hosts in turn, TLS as sslmode requires,
//! authentication, and an error that names the cause and the remedy.
//!
//! Lowest first: `config` holds the settings and `attempt` describes one attempt; `reach` opens a
//! byte stream to the server; `cancel` sends a CancelRequest over such a stream; `login` makes a
//! [`Connection`](super::Connection) of one and authenticates; `hosts` decides which attempts to
//! make.

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
