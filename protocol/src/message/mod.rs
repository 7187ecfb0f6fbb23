//! The messages of the frontend/backend protocol.
//!
//! See <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

mod backend;
mod frontend;
mod report;
mod rows;
mod startup;
pub(crate) mod tag;

pub use backend::{
    BackendMessage, CopyResponse, Format, Notification, ParameterDescription, TransactionStatus,
};
pub use frontend::{CancelKey, ProtocolVersion};
pub(crate) use frontend::{
    Target, bind, close, copy_data, copy_done, copy_fail, describe, execute, flush, parse,
    password, query, sasl_initial_response, sasl_response, ssl_request, startup_message, sync,
    terminate,
};
pub use report::{Report, ServerError, Severity, SqlState};
pub use rows::{DataRow, DataRowIter, FieldDescription, RowDescription, RowDescriptionIter};
pub use startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, SaslMechanisms};
