//! COPY in its three forms, including the half-closed states of the CopyBoth mode of replication.
//!
//! ```text
//!             server: CopyDone              client: CopyDone
//!   Both  --------------------> BothClient ------------------> None
//!     |                                                          ^
//!     |  client: CopyDone                   server: CopyDone     |
//!     +-----------------------> BothServer ---------------------+
//!
//!   Out   -- server: CopyDone --> None      In -- client: CopyDone, CopyFail --> None
//!   any   -- server: ErrorResponse --> None
//! ```
//!
//! In `BothClient` only the client still sends, in `BothServer` only the server does. The states in
//! which the client may send contain the [`CopySender`] that encodes its messages. Taking the
//! sender out of the session has the effect of the client's CopyDone on the state.
//!
//! `None` is followed by CommandComplete or, after CopyFail, by an error. Between the end of `Both`
//! and CommandComplete the server may send trailing CopyData, which is reported like any other. See
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY>.

use std::mem;

use bytes::BytesMut;

use super::{CopySender, Session, pipeline::PendingRequest};
use crate::{error::ProtocolError, message};

/// State of the COPY of a request: the halves of its stream that are open.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CopyState {
    None,
    Out,
    In(CopySender),
    Both(CopySender),
    BothClient(CopySender),
    BothServer,
}

impl CopyState {
    pub(super) const fn server_sends(&self) -> bool {
        matches!(self, Self::Out | Self::Both(_) | Self::BothServer)
    }

    pub(super) const fn is_both(&self) -> bool {
        matches!(self, Self::Both(_) | Self::BothClient(_) | Self::BothServer)
    }

    pub(super) const fn client_sends(&self) -> bool {
        matches!(self, Self::In(_) | Self::Both(_) | Self::BothClient(_))
    }

    /// Closes the server's half.
    pub(super) fn server_done(&mut self) {
        *self = match mem::replace(self, Self::None) {
            Self::Both(sender) => Self::BothClient(sender),
            _ => Self::None,
        };
    }

    /// Closes the client's half. Returns its sender if it was open.
    fn client_done(&mut self) -> Option<CopySender> {
        match mem::replace(self, Self::None) {
            Self::Both(sender) => {
                *self = Self::BothServer;
                Some(sender)
            }
            Self::In(sender) | Self::BothClient(sender) => Some(sender),
            closed => {
                *self = closed;
                None
            }
        }
    }

    /// Returns the sender, if the client's half is open.
    pub(super) const fn sender(&mut self) -> Option<&mut CopySender> {
        match self {
            Self::In(sender) | Self::Both(sender) | Self::BothClient(sender) => Some(sender),
            Self::None | Self::Out | Self::BothServer => None,
        }
    }

    /// Describes the state for an error.
    pub(super) const fn describe(&self) -> &'static str {
        match self {
            Self::None => "no COPY is in progress",
            Self::Out => "a COPY TO STDOUT is in progress",
            Self::In(_) => "a COPY FROM STDIN is in progress",
            Self::Both(_) => "a replication stream is in progress",
            Self::BothClient(_) => "a replication stream that the server has ended is in progress",
            Self::BothServer => "a replication stream that the client has ended is in progress",
        }
    }
}

/// The client's half of a COPY.
impl Session {
    /// Queues CopyData: data of a COPY FROM STDIN, or a message such as
    /// [`StandbyStatusUpdate`](crate::StandbyStatusUpdate) of a replication stream.
    ///
    /// # Errors
    ///
    /// Fails unless the client's half of a COPY stream is open, or if the data is longer than a
    /// message can be.
    pub fn copy_data(&mut self, data: &[u8]) -> Result<(), ProtocolError> {
        let (sender, out) = self.copy_sender("copy_data")?;
        sender.copy_data(data, out)
    }

    /// Queues CopyDone: the end of the client's half of a COPY stream.
    ///
    /// # Errors
    ///
    /// Fails unless the client's half of a COPY stream is open.
    pub fn copy_done(&mut self) -> Result<(), ProtocolError> {
        let (sender, out) = self.copy_sender("copy_done")?;
        sender.copy_done(out)?;
        self.end_client_half();
        Ok(())
    }

    /// Queues CopyFail: the failure of a COPY FROM STDIN. The server answers with an error.
    ///
    /// # Errors
    ///
    /// Fails unless a COPY FROM STDIN is in progress, or if the reason contains a zero byte.
    pub fn copy_fail(&mut self, reason: &str) -> Result<(), ProtocolError> {
        const CALL: &str = "copy_fail";
        self.check_open(CALL)?;
        // In CopyBoth mode a walsender would end the connection.
        if !matches!(self.copy_state(), CopyState::In(_)) {
            return Err(ProtocolError::Call {
                call: CALL,
                state: self.copy_state().describe(),
            });
        }
        message::copy_fail(&mut self.out, reason)?;
        self.end_client_half();
        Ok(())
    }

    /// Takes the client's half of a CopyBoth stream out of the session, so that another task can
    /// send.
    ///
    /// The session keeps the server's half: [`handle_input`](Self::handle_input) is called as
    /// before. It treats the client's half as closed, so [`copy_data`](Self::copy_data),
    /// [`copy_done`](Self::copy_done) and another call of this function fail. An
    /// [`Event::Error`](super::Event::Error) ends the stream: the sender has to be dropped then.
    ///
    /// # Errors
    ///
    /// Fails unless the client's half of a CopyBoth stream is open.
    pub fn take_copy_sender(&mut self) -> Result<CopySender, ProtocolError> {
        const CALL: &str = "take_copy_sender";
        self.check_open(CALL)?;
        let state = self.copy_state().describe();
        let sender = if self.copy_state().is_both() {
            self.end_client_half()
        } else {
            None
        };
        sender.ok_or(ProtocolError::Call { call: CALL, state })
    }

    fn copy_state(&self) -> &CopyState {
        self.pending
            .front()
            .map_or(&CopyState::None, PendingRequest::copy)
    }

    /// Returns the sender of the stream, with the buffer for its messages.
    fn copy_sender(
        &mut self,
        call: &'static str,
    ) -> Result<(&mut CopySender, &mut BytesMut), ProtocolError> {
        self.check_open(call)?;
        let state = self.copy_state().describe();
        let sender = self
            .pending
            .front_mut()
            .and_then(PendingRequest::copy_sender);
        match sender {
            Some(sender) => Ok((sender, &mut self.out)),
            None => Err(ProtocolError::Call { call, state }),
        }
    }

    fn end_client_half(&mut self) -> Option<CopySender> {
        self.pending
            .front_mut()?
            .update_copy(CopyState::client_done)
    }
}
