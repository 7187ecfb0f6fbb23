//! Encoders for the messages that only a server sends: for scripted servers and round-trip tests.
//!
//! Each function appends one message to a buffer, and fails if a value cannot be encoded.

mod backend;
mod pgoutput;

pub use backend::{
    authentication_sasl, backend_message, copy_response, data_row, error_response,
    negotiate_protocol_version, notice_response, parameter_description, row_description,
};
pub use pgoutput::{
    delete, insert, logical_replication_message, relation, replication_message, truncate, update,
};
