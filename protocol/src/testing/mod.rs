//! Encoders for what only a server sends: for scripted peers and for round trips.
//!
//! Messages go into a buffer one after the other. An error is a value that does not fit its message.

mod backend;
mod pgoutput;

pub use backend::{
    authentication_sasl, backend_message, copy_response, data_row, error_response,
    negotiate_protocol_version, notice_response, parameter_description, row_description,
};
pub use pgoutput::{
    delete, insert, logical_replication_message, relation, replication_message, truncate, update,
};
