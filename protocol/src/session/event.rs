//! Events that a session reports.

use crate::message::{
    CopyResponse, DataRow, NegotiateProtocolVersion, Notification, ParameterDescription, Report,
    RowDescription, TransactionStatus,
};

/// Event that a [`Session`](crate::Session) reports, borrowed from the receive buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The server accepts TLS: perform the handshake, then call
    /// [`handle_tls_established`](crate::Session::handle_tls_established).
    TlsAccepted,
    /// The server refuses TLS: continue with
    /// [`handle_tls_declined`](crate::Session::handle_tls_declined), or drop the session.
    TlsRefused,
    /// The server does not support a part of the StartupMessage, and continues without it.
    NegotiateProtocolVersion(NegotiateProtocolVersion<'a>),
    /// A request of the authentication was handled, and its response is queued.
    AuthenticationStep,
    /// The authentication is complete. With SCRAM, the server's signature was verified, too.
    Authenticated,
    /// Value of a run-time parameter, which [`parameter`](crate::Session::parameter) returns later.
    ParameterStatus {
        /// Name of the parameter.
        name: &'a str,
        /// Value of the parameter.
        value: &'a str,
    },
    /// The key for a CancelRequest is known: see [`cancel_key`](crate::Session::cancel_key).
    BackendKeyData,
    /// The session is established, or a simple query or a Sync has completed.
    Ready(TransactionStatus),
    /// Columns of the rows that follow, or of the described statement or portal.
    RowDescription(RowDescription<'a>),
    /// Row of a result.
    DataRow(DataRow<'a>),
    /// A command has completed. Contains its command tag, such as `SELECT 5`.
    CommandComplete(&'a str),
    /// The query string was empty.
    EmptyQueryResponse,
    /// A statement was prepared.
    ParseComplete,
    /// A portal was created.
    BindComplete,
    /// A statement or portal was closed.
    CloseComplete,
    /// The described statement or portal returns no rows.
    NoData,
    /// Execute has reached its maximum number of rows. Another Execute continues.
    PortalSuspended,
    /// Types of the parameters of a statement.
    ParameterDescription(ParameterDescription<'a>),
    /// The connection enters CopyOut mode: the server sends CopyData.
    CopyOut(CopyResponse<'a>),
    /// The connection enters CopyIn mode: the client sends CopyData.
    CopyIn(CopyResponse<'a>),
    /// The connection enters CopyBoth mode: both sides send CopyData.
    CopyBoth(CopyResponse<'a>),
    /// Data of a COPY stream.
    CopyData(&'a [u8]),
    /// End of the server's half of a COPY stream.
    CopyDone,
    /// Notice. May arrive at any time.
    Notice(Report<'a>),
    /// Error of a request, or of the whole session: see
    /// [`is_closed`](crate::Session::is_closed).
    Error(Report<'a>),
    /// Notification of a NOTIFY command. May arrive at any time.
    Notification(Notification<'a>),
}
