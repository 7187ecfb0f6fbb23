//! What a session reports.

use crate::message::{
    CopyResponse, DataRow, NegotiateProtocolVersion, Notification, ParameterDescription, Report,
    RowDescription, TransactionStatus,
};

/// One thing that arrived, borrowed from the receive buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The server takes TLS: the handshake is due, then
    /// [`handle_tls_established`](crate::Session::handle_tls_established).
    TlsAccepted,
    /// The server has no TLS: go on with
    /// [`handle_tls_declined`](crate::Session::handle_tls_declined), or give up.
    TlsRefused,
    /// The server knows less of the protocol than was asked for, and goes on with what it knows.
    NegotiateProtocolVersion(NegotiateProtocolVersion<'a>),
    /// A step of the authentication was answered; the answer is queued.
    AuthenticationStep,
    /// The authentication is complete, the server's part of it included.
    Authenticated,
    /// A run-time parameter has this value; [`parameter`](crate::Session::parameter) keeps it.
    ParameterStatus {
        /// The parameter.
        name: &'a str,
        /// Its value.
        value: &'a str,
    },
    /// [`cancel_key`](crate::Session::cancel_key) is known.
    BackendKeyData,
    /// The session is established, or a simple query or a Sync was completed.
    Ready(TransactionStatus),
    /// The columns of the rows that follow, or of what was described.
    RowDescription(RowDescription<'a>),
    /// A row.
    DataRow(DataRow<'a>),
    /// A command is complete; its tag, such as `SELECT 5`.
    CommandComplete(&'a str),
    /// A query string held no command.
    EmptyQueryResponse,
    /// A statement was prepared.
    ParseComplete,
    /// A portal was made.
    BindComplete,
    /// A statement or portal was closed.
    CloseComplete,
    /// What was described returns no rows.
    NoData,
    /// The limit of rows was reached; another Execute goes on.
    PortalSuspended,
    /// The types of a statement's parameters.
    ParameterDescription(ParameterDescription<'a>),
    /// The server sends CopyData now.
    CopyOut(CopyResponse<'a>),
    /// The server takes CopyData now.
    CopyIn(CopyResponse<'a>),
    /// The connection carries CopyData both ways now.
    CopyBoth(CopyResponse<'a>),
    /// A piece of a COPY stream.
    CopyData(&'a [u8]),
    /// The server's end of a COPY stream.
    CopyDone,
    /// A notice. Can come at any time.
    Notice(Report<'a>),
    /// The server refuses something, or ends the session: see
    /// [`is_closed`](crate::Session::is_closed).
    Error(Report<'a>),
    /// A NOTIFY of some session. Can come at any time.
    Notification(Notification<'a>),
}
