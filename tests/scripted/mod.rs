//! Tests that need no PostgreSQL server.
//!
//! They run the connector against peers on the loopback interface that follow a script, test what it
//! does before it connects, or check documents and imports of the repository.

mod cli;
mod documents;
mod handshake;
mod hostile;
mod imports;
mod not_postgres;
mod requests;
