//! What was asked for and is not yet answered, in order.
//!
//! The server answers in the order of the requests, so the first one says which messages may come.
//! After an error it skips what was asked for up to the next Sync, and so does the queue here.

use super::{CopySender, Event, Phase, Session, copy_both::CopyState};
use crate::{
    error::ProtocolError,
    message::{BackendMessage, tag},
};

/// A request by its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Query,
    Parse,
    Bind,
    DescribePortal,
    DescribeStatement,
    Execute,
    Close,
    Sync,
}

/// A request and how far its answer has come.
#[derive(Debug)]
pub(super) struct Pending {
    step: Step,
    copy: CopyState,
    /// The tag of the rows or stream pieces that may come now; 0 for none.
    data: u8,
    /// A first part of the answer has come: of a described statement its parameters, of a simple
    /// query an error.
    advanced: bool,
}

impl Pending {
    pub(super) fn new(step: Step) -> Self {
        // An executed portal was described before, or not at all; its rows come unannounced.
        let data = if step == Step::Execute {
            tag::DATA_ROW
        } else {
            0
        };
        Self {
            step,
            copy: CopyState::None,
            data,
            advanced: false,
        }
    }

    /// Returns whether a row, or a piece of a stream, may come now.
    #[inline]
    pub(super) fn accepts_data(&self, tag: u8) -> bool {
        tag == self.data && tag != 0
    }

    pub(super) fn is_simple(&self) -> bool {
        self.step == Step::Query
    }

    pub(super) fn copy(&self) -> &CopyState {
        &self.copy
    }

    pub(super) fn copy_sender(&mut self) -> Option<&mut CopySender> {
        self.copy.sender()
    }

    /// Starts a COPY.
    fn start_copy(&mut self, copy: CopyState) {
        self.update_copy(|state| *state = copy);
    }

    /// Changes the state of the COPY, and with it the messages that may come.
    pub(super) fn update_copy<T>(&mut self, update: impl FnOnce(&mut CopyState) -> T) -> T {
        let was_both = self.copy.is_both();
        let result = update(&mut self.copy);
        // A walsender that reads the client's CopyDone in the middle of its work ends its own half
        // at once, and then still sends what it had begun.
        let trailing = was_both && self.copy == CopyState::None;
        self.data = if self.copy.server_sends() || trailing {
            tag::COPY_DATA
        } else {
            0
        };
        result
    }

    /// Ends any COPY: an error came instead.
    fn fail(&mut self) {
        self.copy = CopyState::None;
        self.data = 0;
        self.advanced = true;
    }

    fn state(&self) -> &'static str {
        match (&self.copy, self.step) {
            (CopyState::None, Step::Query) => "a simple query is under way",
            (CopyState::None, Step::Parse) => "a statement is being parsed",
            (CopyState::None, Step::Bind) => "a portal is being bound",
            (CopyState::None, Step::DescribePortal) => "a portal is being described",
            (CopyState::None, Step::DescribeStatement) => "a statement is being described",
            (CopyState::None, Step::Execute) => "a portal is being executed",
            (CopyState::None, Step::Close) => "a statement or portal is being closed",
            (CopyState::None, Step::Sync) => "a Sync is under way",
            (copy, _) => copy.describe(),
        }
    }
}

impl Session {
    /// Advances the first request by a message of its answer.
    pub(super) fn advance<'a>(
        &mut self,
        tag: u8,
        message: BackendMessage<'a>,
    ) -> Result<Event<'a>, ProtocolError> {
        let behind = self.pending.len().saturating_sub(1);
        let Some(pending) = self.pending.front_mut() else {
            return Err(ProtocolError::UnexpectedMessage {
                tag,
                state: "nothing is under way",
            });
        };
        let state = pending.state();
        let unexpected = ProtocolError::UnexpectedMessage { tag, state };
        if pending.copy != CopyState::None {
            if !matches!(message, BackendMessage::CopyDone) || !pending.copy.server_sends() {
                return Err(unexpected);
            }
            pending.update_copy(CopyState::server_done);
            return Ok(Event::CopyDone);
        }
        if pending.step == Step::Query && pending.advanced {
            // After an error nothing is left of a simple query but its end.
            let BackendMessage::ReadyForQuery(status) = message else {
                return Err(unexpected);
            };
            return Ok(self.ready(status));
        }

        let (done, event) = match (pending.step, message) {
            (Step::Query | Step::Sync, BackendMessage::ReadyForQuery(status)) => {
                return Ok(self.ready(status));
            }
            (Step::Query, BackendMessage::RowDescription(description)) => {
                pending.data = tag::DATA_ROW;
                (false, Event::RowDescription(description))
            }
            (Step::Query | Step::Execute, BackendMessage::CommandComplete(tag)) => {
                pending.data = 0;
                (pending.step == Step::Execute, Event::CommandComplete(tag))
            }
            (Step::Query | Step::Execute, BackendMessage::EmptyQueryResponse) => {
                (pending.step == Step::Execute, Event::EmptyQueryResponse)
            }
            (Step::Query | Step::Execute, BackendMessage::CopyOutResponse(response)) => {
                pending.start_copy(CopyState::Out);
                (false, Event::CopyOut(response))
            }
            (Step::Query | Step::Execute, BackendMessage::CopyInResponse(response)) => {
                if behind > 0 {
                    // The server has read what was queued behind as part of the stream: it ignores
                    // Flush and Sync there, and fails at anything else.
                    return Err(ProtocolError::Call {
                        call: "COPY FROM STDIN",
                        state: "more is queued behind it",
                    });
                }
                pending.start_copy(CopyState::In(CopySender::new()));
                (false, Event::CopyIn(response))
            }
            (Step::Query, BackendMessage::CopyBothResponse(response)) => {
                pending.start_copy(CopyState::Both(CopySender::new()));
                (false, Event::CopyBoth(response))
            }
            (Step::Execute, BackendMessage::PortalSuspended) => (true, Event::PortalSuspended),
            (Step::Parse, BackendMessage::ParseComplete) => (true, Event::ParseComplete),
            (Step::Bind, BackendMessage::BindComplete) => (true, Event::BindComplete),
            (Step::Close, BackendMessage::CloseComplete) => (true, Event::CloseComplete),
            (Step::DescribeStatement, BackendMessage::ParameterDescription(description))
                if !pending.advanced =>
            {
                pending.advanced = true;
                (false, Event::ParameterDescription(description))
            }
            (Step::DescribePortal, BackendMessage::RowDescription(description)) => {
                (true, Event::RowDescription(description))
            }
            (Step::DescribePortal, BackendMessage::NoData) => (true, Event::NoData),
            (Step::DescribeStatement, BackendMessage::RowDescription(description))
                if pending.advanced =>
            {
                (true, Event::RowDescription(description))
            }
            (Step::DescribeStatement, BackendMessage::NoData) if pending.advanced => {
                (true, Event::NoData)
            }
            _ => return Err(unexpected),
        };
        if done {
            self.pending.pop_front();
        }
        Ok(event)
    }

    fn ready<'a>(&mut self, status: crate::TransactionStatus) -> Event<'a> {
        self.pending.pop_front();
        self.transaction_status = status;
        Event::Ready(status)
    }

    /// Drops what the server skips after an error.
    pub(super) fn handle_error(&mut self) {
        match self.pending.front_mut() {
            Some(pending) if pending.is_simple() => {
                pending.fail();
            }
            Some(_) => {
                while self
                    .pending
                    .front()
                    .is_some_and(|pending| pending.step != Step::Sync)
                {
                    self.pending.pop_front();
                }
                self.skips = self.pending.is_empty();
            }
            // Unasked for, as when a setting that was reloaded is wrong.
            None => {}
        }
    }

    /// Queues a request of the extended protocol that was encoded.
    pub(super) fn push_extended(&mut self, step: Step) {
        if step == Step::Sync {
            self.unsynced = false;
            self.skips = false;
        } else {
            self.unsynced = true;
            if self.skips {
                return;
            }
        }
        self.pending.push_back(Pending::new(step));
    }

    pub(super) fn nothing_under_way(&self) -> bool {
        matches!(self.phase, Phase::Open) && self.pending.is_empty() && !self.unsynced
    }
}
