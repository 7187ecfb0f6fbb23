//! Requests of the client: the functions that queue messages.

use bytes::BytesMut;

use super::{
    Phase, Session,
    pipeline::{PendingRequest, Request},
};
use crate::{
    error::{EncodeError, ProtocolError},
    ids::Oid,
    message::{self, Format, Target},
};

/// Requests of the client.
///
/// All of these functions except [`terminate`](Self::terminate) require an established session.
impl Session {
    /// Queues a simple query, which may contain several statements.
    ///
    /// # Errors
    ///
    /// Fails unless [`is_ready`](Self::is_ready) returns true, or if the text contains a zero byte.
    pub fn query(&mut self, sql: &str) -> Result<(), ProtocolError> {
        const CALL: &str = "query";
        self.check_open(CALL)?;
        if !self.is_idle() {
            return Err(ProtocolError::Call {
                call: CALL,
                state: "another request is in progress",
            });
        }
        message::query(&mut self.out, sql)?;
        self.pending.push_back(PendingRequest::new(Request::Query));
        Ok(())
    }

    /// Queues Parse, which prepares a statement. The empty name is that of the unnamed statement.
    /// The server infers the types that are left out or [`Oid::INVALID`].
    ///
    /// # Errors
    ///
    /// Fails while a simple query or a COPY FROM STDIN is in progress, or if an argument cannot be
    /// encoded.
    pub fn parse(
        &mut self,
        statement: &str,
        sql: &str,
        parameter_types: &[Oid],
    ) -> Result<(), ProtocolError> {
        self.queue_extended("parse", Request::Parse, |out| {
            message::parse(out, statement, sql, parameter_types)
        })
    }

    /// Queues Bind, which creates a portal from a statement and its parameters, in text format or
    /// `None` for NULL. All columns of the result have the same format.
    ///
    /// # Errors
    ///
    /// Fails while a simple query or a COPY FROM STDIN is in progress, or if an argument cannot be
    /// encoded.
    pub fn bind(
        &mut self,
        portal: &str,
        statement: &str,
        parameters: &[Option<&[u8]>],
        result_format: Format,
    ) -> Result<(), ProtocolError> {
        self.queue_extended("bind", Request::Bind, |out| {
            message::bind(out, portal, statement, parameters, result_format)
        })
    }

    /// Queues Describe of a portal.
    ///
    /// # Errors
    ///
    /// Fails while a simple query or a COPY FROM STDIN is in progress, or if the name contains a
    /// zero byte.
    pub fn describe_portal(&mut self, portal: &str) -> Result<(), ProtocolError> {
        self.queue_extended("describe_portal", Request::DescribePortal, |out| {
            message::describe(out, Target::Portal, portal)
        })
    }

    /// Queues Describe of a statement.
    ///
    /// # Errors
    ///
    /// Fails while a simple query or a COPY FROM STDIN is in progress, or if the name contains a
    /// zero byte.
    pub fn describe_statement(&mut self, statement: &str) -> Result<(), ProtocolError> {
        self.queue_extended("describe_statement", Request::DescribeStatement, |out| {
            message::describe(out, Target::Statement, statement)
        })
    }

    /// Queues Execute of a portal, for at most `max_rows` rows; 0 for all.
    ///
    /// # Errors
    ///
    /// Fails while a simple query or a COPY FROM STDIN is in progress, or if an argument cannot be
    /// encoded.
    pub fn execute(&mut self, portal: &str, max_rows: u32) -> Result<(), ProtocolError> {
        self.queue_extended("execute", Request::Execute, |out| {
            message::execute(out, portal, max_rows)
        })
    }

    /// Queues Close of a portal.
    ///
    /// # Errors
    ///
    /// Fails while a simple query or a COPY FROM STDIN is in progress, or if the name contains a
    /// zero byte.
    pub fn close_portal(&mut self, portal: &str) -> Result<(), ProtocolError> {
        self.queue_extended("close_portal", Request::Close, |out| {
            message::close(out, Target::Portal, portal)
        })
    }

    /// Queues Close of a statement.
    ///
    /// # Errors
    ///
    /// Fails while a simple query or a COPY FROM STDIN is in progress, or if the name contains a
    /// zero byte.
    pub fn close_statement(&mut self, statement: &str) -> Result<(), ProtocolError> {
        self.queue_extended("close_statement", Request::Close, |out| {
            message::close(out, Target::Statement, statement)
        })
    }

    /// Queues Flush, which makes the server send its buffered responses.
    ///
    /// # Errors
    ///
    /// Fails while a simple query or a COPY FROM STDIN is in progress.
    pub fn flush(&mut self) -> Result<(), ProtocolError> {
        self.check_extended("flush")?;
        Ok(message::flush(&mut self.out)?)
    }

    /// Queues Sync, which ends a sequence of extended queries. Outside of a transaction block the
    /// sequence is one transaction. After an error the server continues with the request after
    /// Sync.
    ///
    /// # Errors
    ///
    /// Fails while a simple query or a COPY FROM STDIN is in progress.
    pub fn sync(&mut self) -> Result<(), ProtocolError> {
        self.queue_extended("sync", Request::Sync, message::sync)
    }

    /// Queues Terminate, which ends the session.
    ///
    /// # Errors
    ///
    /// Fails if the session is closed, or negotiates TLS.
    pub fn terminate(&mut self) -> Result<(), ProtocolError> {
        match &self.phase {
            Phase::Startup(startup) => startup.check_started()?,
            Phase::Open => {}
            Phase::Closed => self.check_open("terminate")?,
        }
        message::terminate(&mut self.out)?;
        self.close();
        Ok(())
    }

    pub(super) fn check_open(&self, call: &'static str) -> Result<(), ProtocolError> {
        match self.phase {
            Phase::Open => Ok(()),
            Phase::Startup(_) => Err(ProtocolError::Call {
                call,
                state: "the session is starting",
            }),
            Phase::Closed => Err(ProtocolError::Call {
                call,
                state: "the session is closed",
            }),
        }
    }

    fn check_extended(&self, call: &'static str) -> Result<(), ProtocolError> {
        self.check_open(call)?;
        match self.pending.front() {
            Some(pending) if pending.is_simple() => Err(ProtocolError::Call {
                call,
                state: "a simple query is in progress",
            }),
            Some(pending) if pending.copy().client_sends() => Err(ProtocolError::Call {
                call,
                state: pending.copy().describe(),
            }),
            _ => Ok(()),
        }
    }

    fn queue_extended(
        &mut self,
        call: &'static str,
        request: Request,
        encode: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
    ) -> Result<(), ProtocolError> {
        self.check_extended(call)?;
        encode(&mut self.out)?;
        self.push_extended(request);
        Ok(())
    }
}
