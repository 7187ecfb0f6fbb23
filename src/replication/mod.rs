//! The replication stream: frames in, transactions and changes out, positions back.
