//! SQLSTATE codes that the connector reacts to, under the condition names of PostgreSQL's manual.
//!
//! [`super::Error::sqlstate`] returns a code as text, so these constants serve as match patterns:
//!
//! ```
//! use source_postgres::error::{Error, ErrorKind, sqlstate};
//!
//! let error = Error::new(ErrorKind::Server, "canceling statement due to lock timeout")
//!     .with_sqlstate(sqlstate::LOCK_NOT_AVAILABLE);
//! assert!(matches!(error.sqlstate(), Some(sqlstate::LOCK_NOT_AVAILABLE)));
//! ```
//!
//! See <https://www.postgresql.org/docs/current/errcodes-appendix.html>.

/// `successful_completion`: SQLSTATE of a function's `RAISE INFO` or `RAISE NOTICE`.
pub const SUCCESSFUL_COMPLETION: &str = "00000";
/// `warning`: SQLSTATE of a function's `RAISE WARNING`.
pub const WARNING: &str = "01000";
/// `numeric_value_out_of_range`.
pub const NUMERIC_VALUE_OUT_OF_RANGE: &str = "22003";
/// `invalid_datetime_format`.
pub const INVALID_DATETIME_FORMAT: &str = "22007";
/// `datetime_field_overflow`.
pub const DATETIME_FIELD_OVERFLOW: &str = "22008";
/// `invalid_text_representation`: a text is not a value of its type.
pub const INVALID_TEXT_REPRESENTATION: &str = "22P02";
/// `idle_in_transaction_session_timeout`.
pub const IDLE_IN_TRANSACTION_SESSION_TIMEOUT: &str = "25P03";
/// `transaction_timeout`, since version 17.
pub const TRANSACTION_TIMEOUT: &str = "25P04";
/// `invalid_authorization_specification`: refused by `pg_hba.conf`, or an authentication method
/// failed that checks no password of the server's own.
pub const INVALID_AUTHORIZATION_SPECIFICATION: &str = "28000";
/// `invalid_password`.
pub const INVALID_PASSWORD: &str = "28P01";
/// `invalid_catalog_name`: the database does not exist.
pub const INVALID_CATALOG_NAME: &str = "3D000";
/// `serialization_failure`; on a standby also a query that conflicts with replay.
pub const SERIALIZATION_FAILURE: &str = "40001";
/// `insufficient_privilege`.
pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// `undefined_column`.
pub const UNDEFINED_COLUMN: &str = "42703";
/// `undefined_object`; for a replication slot: there is none of that name.
pub const UNDEFINED_OBJECT: &str = "42704";
/// `duplicate_object`.
pub const DUPLICATE_OBJECT: &str = "42710";
/// `undefined_table`.
pub const UNDEFINED_TABLE: &str = "42P01";
/// `invalid_column_reference`; for ON CONFLICT: no unique index matches.
pub const INVALID_COLUMN_REFERENCE: &str = "42P10";
/// `too_many_connections`, of the server, the database or the role.
pub const TOO_MANY_CONNECTIONS: &str = "53300";
/// `object_in_use`: another process holds the replication slot.
pub const OBJECT_IN_USE: &str = "55006";
/// `lock_not_available`: the lock timeout, or `NOWAIT`.
pub const LOCK_NOT_AVAILABLE: &str = "55P03";
/// `query_canceled`: the statement timeout, or a cancel request.
pub const QUERY_CANCELED: &str = "57014";
/// `admin_shutdown`.
pub const ADMIN_SHUTDOWN: &str = "57P01";
/// `cannot_connect_now`: the server starts, stops or recovers.
pub const CANNOT_CONNECT_NOW: &str = "57P03";

/// Classes of codes: their first two characters.
pub mod class {
    /// Class 08, connection exception.
    pub const CONNECTION_EXCEPTION: &str = "08";
    /// Class 22, data exception.
    pub const DATA_EXCEPTION: &str = "22";
    /// Class 23, integrity constraint violation.
    pub const INTEGRITY_CONSTRAINT_VIOLATION: &str = "23";
    /// Class 40, transaction rollback.
    pub const TRANSACTION_ROLLBACK: &str = "40";
    /// Class 44, WITH CHECK OPTION violation.
    pub const WITH_CHECK_OPTION_VIOLATION: &str = "44";
    /// Class 53, insufficient resources.
    pub const INSUFFICIENT_RESOURCES: &str = "53";
    /// Class P0, PL/pgSQL error; `RAISE EXCEPTION` without a code is one.
    pub const PLPGSQL_ERROR: &str = "P0";
}
