//! Tests that need no PostgreSQL server: against peers on the loopback interface that follow a
//! script, and of what the connector answers before it connects.

mod cli;
mod handshake;
mod hostile;
mod not_postgres;
mod requests;
