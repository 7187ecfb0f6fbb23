//! COPY in its three forms, the CopyBoth of replication with its half-closed states.
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
//! In `BothClient` only the client still sends, in `BothServer` only the server does. `None` leads
//! to CommandComplete or, after CopyFail, to an error. Between a Both that ended and CommandComplete
//! pieces may trail: they are reported like the others. See
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY>.

use super::Session;
use crate::{error::ProtocolError, message};

/// Who may send CopyData.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copy {
    None,
    Out,
    In,
    Both,
    BothClient,
    BothServer,
}

impl Copy {
    pub(super) const fn server_sends(self) -> bool {
        matches!(self, Self::Out | Self::Both | Self::BothServer)
    }

    pub(super) const fn is_both(self) -> bool {
        matches!(self, Self::Both | Self::BothClient | Self::BothServer)
    }

    pub(super) const fn client_sends(self) -> bool {
        matches!(self, Self::In | Self::Both | Self::BothClient)
    }

    pub(super) const fn server_done(self) -> Self {
        match self {
            Self::Both => Self::BothClient,
            _ => Self::None,
        }
    }

    const fn client_done(self) -> Self {
        match self {
            Self::Both => Self::BothServer,
            _ => Self::None,
        }
    }

    pub(super) const fn state(self) -> &'static str {
        match self {
            Self::None => "no COPY is under way",
            Self::Out => "a COPY TO STDOUT is under way",
            Self::In => "a COPY FROM STDIN is under way",
            Self::Both => "a replication stream is under way",
            Self::BothClient => "a replication stream that the server has ended is under way",
            Self::BothServer => "a replication stream that the client has ended is under way",
        }
    }
}

/// The client's half of a COPY.
impl Session {
    /// Queues a piece of a stream: of a COPY FROM STDIN, or a message such as
    /// [`StandbyStatusUpdate`](crate::StandbyStatusUpdate) of a replication stream.
    ///
    /// # Errors
    ///
    /// Unless the client's half of such a stream is open, or if the piece is too long.
    pub fn copy_data(&mut self, data: &[u8]) -> Result<(), ProtocolError> {
        self.check_copy("copy_data")?;
        Ok(message::copy_data(&mut self.out, data)?)
    }

    /// Queues the end of the client's half of a stream.
    ///
    /// # Errors
    ///
    /// Unless it is open.
    pub fn copy_done(&mut self) -> Result<(), ProtocolError> {
        let copy = self.check_copy("copy_done")?;
        message::copy_done(&mut self.out)?;
        self.set_copy(copy.client_done());
        Ok(())
    }

    /// Queues the failure of a COPY FROM STDIN; the server answers with an error.
    ///
    /// # Errors
    ///
    /// Unless one is under way, or if the reason holds a zero byte.
    pub fn copy_fail(&mut self, reason: &str) -> Result<(), ProtocolError> {
        const CALL: &str = "copy_fail";
        match self.check_copy(CALL)? {
            Copy::In => {}
            // A walsender ends the connection at it.
            copy => {
                return Err(ProtocolError::Call {
                    call: CALL,
                    state: copy.state(),
                });
            }
        }
        message::copy_fail(&mut self.out, reason)?;
        self.set_copy(Copy::None);
        Ok(())
    }

    fn check_copy(&self, call: &'static str) -> Result<Copy, ProtocolError> {
        self.check_open(call)?;
        let copy = self
            .pending
            .front()
            .map_or(Copy::None, |pending| pending.copy());
        if copy.client_sends() {
            Ok(copy)
        } else {
            Err(ProtocolError::Call {
                call,
                state: copy.state(),
            })
        }
    }

    fn set_copy(&mut self, copy: Copy) {
        if let Some(pending) = self.pending.front_mut() {
            pending.set_copy(copy);
        }
    }
}
