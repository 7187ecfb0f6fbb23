//! Errors and notices that the server reports.

use protocol::Severity;
use tracing::{debug, info, warn};

use crate::error::{Error, ErrorKind, sqlstate};

/// Returns the error for an ErrorResponse, with the server's message. A message about data can
/// quote values of a row, so it is replaced by one with the SQLSTATE only. Details are always left
/// out, because they can quote values too.
pub fn server_error(report: protocol::ServerError) -> Error {
    let code = report.code();
    let message = if quotes_data(&code) {
        format!(
            "the server reports an error in data (SQLSTATE {})",
            code.as_str()
        )
    } else {
        report.to_string()
    };
    Error::new(ErrorKind::Server, message).with_sqlstate(code.as_str())
}

/// Returns whether messages with this SQLSTATE can quote values: data exceptions, constraint
/// violations and errors that user-defined functions raise.
fn quotes_data(code: &protocol::SqlState) -> bool {
    matches!(
        code.class(),
        sqlstate::class::DATA_EXCEPTION
            | sqlstate::class::INTEGRITY_CONSTRAINT_VIOLATION
            | sqlstate::class::WITH_CHECK_OPTION_VIOLATION
            | sqlstate::class::PLPGSQL_ERROR
    )
}

/// Logs a NoticeResponse at the level of its severity.
pub fn log_notice(report: &protocol::Report<'_>) {
    let code = report.code();
    // Notices from user-defined functions can quote anything.
    if matches!(
        code.as_str(),
        sqlstate::SUCCESSFUL_COMPLETION | sqlstate::WARNING
    ) || quotes_data(&code)
    {
        debug!(code = code.as_str(), "notice received from the server");
        return;
    }
    let message = report.message();
    if report.severity() == Severity::Warning {
        warn!(code = code.as_str(), "server: {message}");
    } else {
        info!(code = code.as_str(), "server: {message}");
    }
}

/// Returns the error for a request that the session cannot queue: a statement or parameter that
/// does not fit into a message, or a call in the wrong state.
pub fn unsendable(error: protocol::ProtocolError) -> Error {
    Error::new(
        ErrorKind::Internal,
        "a request cannot be sent to the server",
    )
    .with_source(error)
}
