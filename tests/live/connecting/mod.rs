//! Connections to servers: addresses, TLS, authentication, tunnels.

mod addresses;
mod authentication;
mod cancelling;
mod certificates;
mod matrix;
mod refusals;
mod setup;
mod tunnel;
