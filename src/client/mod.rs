//! Queries and replication commands over a connection.
