//! Tests that need no PostgreSQL server.
//!
//! They run the connector against peers on the loopback interface that follow a script, or test
//! what it does before it connects.

mod cli;
mod handshake;
mod hostile;
mod not_postgres;
mod requests;
