//! Errors and notices of the server.

use protocol::Severity;
use tracing::{debug, info, warn};

use crate::error::{Error, ErrorKind, sqlstate};

/// Makes an error of what the server reported. Its message is the server's own, unless it is about
/// data: then it can quote the values of a row, as details can, and only the SQLSTATE stays.
pub fn server_error(report: protocol::ServerError) -> Error {
    let code = report.code();
    let message = if quotes_data(&code) {
        format!(
            "the server reports a problem with data (SQLSTATE {})",
            code.as_str()
        )
    } else {
        report.to_string()
    };
    Error::new(ErrorKind::Server, message).with_sqlstate(code.as_str())
}

/// Whether messages of this class can hold values: data exceptions, violated constraints, and what
/// functions of the user's raise.
fn quotes_data(code: &protocol::SqlState) -> bool {
    matches!(
        code.class(),
        sqlstate::class::DATA_EXCEPTION
            | sqlstate::class::INTEGRITY_CONSTRAINT_VIOLATION
            | sqlstate::class::WITH_CHECK_OPTION_VIOLATION
            | sqlstate::class::PLPGSQL_ERROR
    )
}

/// Logs a notice of the server as it is meant.
pub fn log_notice(report: &protocol::Report<'_>) {
    let code = report.code();
    // What functions of the user's say can hold anything.
    if matches!(
        code.as_str(),
        sqlstate::SUCCESSFUL_COMPLETION | sqlstate::WARNING
    ) || quotes_data(&code)
    {
        debug!(code = code.as_str(), "the server has sent a notice");
        return;
    }
    let message = report.message();
    if report.severity() == Severity::Warning {
        warn!(code = code.as_str(), "server: {message}");
    } else {
        info!(code = code.as_str(), "server: {message}");
    }
}

/// Makes an error of a statement or parameter that cannot be put into a message, or of a call at the
/// wrong time.
pub fn unsendable(error: protocol::ProtocolError) -> Error {
    Error::new(
        ErrorKind::Internal,
        "a request cannot be sent to the server",
    )
    .with_source(error)
}
