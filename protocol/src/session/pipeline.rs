//! Queue of the requests in progress.
//!
//! The server responds in the order of the requests, so the first one determines the messages that
//! are allowed. After an error the server skips all requests up to the next Sync, and they are
//! removed from the queue.

use super::{CopySender, Event, Phase, Session, copy_both::CopyState};
use crate::{
    error::ProtocolError,
    message::{BackendMessage, tag},
};

/// Kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Query,
    Parse,
    Bind,
    DescribePortal,
    DescribeStatement,
    Execute,
    Close,
    Sync,
}

/// Request in progress, with the state of its response.
#[derive(Debug)]
pub(super) struct PendingRequest {
    request: Request,
    copy: CopyState,
    /// Tag of the data that is allowed now, DataRow or CopyData; 0 for none.
    data_tag: u8,
    /// Whether the first part of the response has arrived: the parameters of a described statement,
    /// or the error of a simple query.
    partly_answered: bool,
}

impl PendingRequest {
    pub(super) fn new(request: Request) -> Self {
        // Execute sends no RowDescription: the rows of a portal may arrive at once.
        let data_tag = if request == Request::Execute {
            tag::DATA_ROW
        } else {
            0
        };
        Self {
            request,
            copy: CopyState::None,
            data_tag,
            partly_answered: false,
        }
    }

    /// Returns whether data with this tag, DataRow or CopyData, is allowed now.
    #[inline]
    pub(super) fn accepts_data(&self, tag: u8) -> bool {
        tag == self.data_tag && tag != 0
    }

    pub(super) fn is_simple(&self) -> bool {
        self.request == Request::Query
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

    /// Changes the state of the COPY, and the data that is allowed.
    pub(super) fn update_copy<T>(&mut self, update: impl FnOnce(&mut CopyState) -> T) -> T {
        let was_both = self.copy.is_both();
        let result = update(&mut self.copy);
        // A walsender that receives the client's CopyDone while it sends a change ends its own half
        // at once, and sends the rest of the change after its CopyDone.
        let trailing = was_both && self.copy == CopyState::None;
        self.data_tag = if self.copy.server_sends() || trailing {
            tag::COPY_DATA
        } else {
            0
        };
        result
    }

    /// Ends the response, including any COPY, after an error.
    fn fail(&mut self) {
        self.copy = CopyState::None;
        self.data_tag = 0;
        self.partly_answered = true;
    }

    fn state(&self) -> &'static str {
        match (&self.copy, self.request) {
            (CopyState::None, Request::Query) => "a simple query is in progress",
            (CopyState::None, Request::Parse) => "a statement is being parsed",
            (CopyState::None, Request::Bind) => "a portal is being bound",
            (CopyState::None, Request::DescribePortal) => "a portal is being described",
            (CopyState::None, Request::DescribeStatement) => "a statement is being described",
            (CopyState::None, Request::Execute) => "a portal is being executed",
            (CopyState::None, Request::Close) => "a statement or portal is being closed",
            (CopyState::None, Request::Sync) => "a Sync is in progress",
            (copy, _) => copy.describe(),
        }
    }
}

impl Session {
    /// Advances the first request by a message of its response.
    pub(super) fn advance<'a>(
        &mut self,
        tag: u8,
        message: BackendMessage<'a>,
    ) -> Result<Event<'a>, ProtocolError> {
        let queued_after = self.pending.len().saturating_sub(1);
        let Some(pending) = self.pending.front_mut() else {
            return Err(ProtocolError::UnexpectedMessage {
                tag,
                state: "no request is in progress",
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
        if pending.request == Request::Query && pending.partly_answered {
            // After an error a simple query only ends.
            let BackendMessage::ReadyForQuery(status) = message else {
                return Err(unexpected);
            };
            return Ok(self.ready(status));
        }

        let (done, event) = match (pending.request, message) {
            (Request::Query | Request::Sync, BackendMessage::ReadyForQuery(status)) => {
                return Ok(self.ready(status));
            }
            (Request::Query, BackendMessage::RowDescription(description)) => {
                pending.data_tag = tag::DATA_ROW;
                (false, Event::RowDescription(description))
            }
            (Request::Query | Request::Execute, BackendMessage::CommandComplete(tag)) => {
                pending.data_tag = 0;
                (
                    pending.request == Request::Execute,
                    Event::CommandComplete(tag),
                )
            }
            (Request::Query | Request::Execute, BackendMessage::EmptyQueryResponse) => (
                pending.request == Request::Execute,
                Event::EmptyQueryResponse,
            ),
            (Request::Query | Request::Execute, BackendMessage::CopyOutResponse(response)) => {
                pending.start_copy(CopyState::Out);
                (false, Event::CopyOut(response))
            }
            (Request::Query | Request::Execute, BackendMessage::CopyInResponse(response)) => {
                if queued_after > 0 {
                    // The server reads the requests that are queued after this one as part of the
                    // stream: it ignores Flush and Sync, and fails at any other message.
                    return Err(ProtocolError::Call {
                        call: "COPY FROM STDIN",
                        state: "other requests are queued after it",
                    });
                }
                pending.start_copy(CopyState::In(CopySender::new()));
                (false, Event::CopyIn(response))
            }
            (Request::Query, BackendMessage::CopyBothResponse(response)) => {
                pending.start_copy(CopyState::Both(CopySender::new()));
                (false, Event::CopyBoth(response))
            }
            (Request::Execute, BackendMessage::PortalSuspended) => (true, Event::PortalSuspended),
            (Request::Parse, BackendMessage::ParseComplete) => (true, Event::ParseComplete),
            (Request::Bind, BackendMessage::BindComplete) => (true, Event::BindComplete),
            (Request::Close, BackendMessage::CloseComplete) => (true, Event::CloseComplete),
            (Request::DescribeStatement, BackendMessage::ParameterDescription(description))
                if !pending.partly_answered =>
            {
                pending.partly_answered = true;
                (false, Event::ParameterDescription(description))
            }
            (Request::DescribePortal, BackendMessage::RowDescription(description)) => {
                (true, Event::RowDescription(description))
            }
            (Request::DescribePortal, BackendMessage::NoData) => (true, Event::NoData),
            (Request::DescribeStatement, BackendMessage::RowDescription(description))
                if pending.partly_answered =>
            {
                (true, Event::RowDescription(description))
            }
            (Request::DescribeStatement, BackendMessage::NoData) if pending.partly_answered => {
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

    /// Removes the requests that the server skips after an error.
    pub(super) fn handle_error(&mut self) {
        match self.pending.front_mut() {
            Some(pending) if pending.is_simple() => {
                pending.fail();
            }
            Some(_) => {
                while self
                    .pending
                    .front()
                    .is_some_and(|pending| pending.request != Request::Sync)
                {
                    self.pending.pop_front();
                }
                self.skipping = self.pending.is_empty();
            }
            // Not caused by a request, but for example by an invalid setting that was reloaded.
            None => {}
        }
    }

    /// Adds a request of the extended query protocol, which was encoded.
    pub(super) fn push_extended(&mut self, request: Request) {
        if request == Request::Sync {
            self.unsynced = false;
            self.skipping = false;
        } else {
            self.unsynced = true;
            if self.skipping {
                return;
            }
        }
        self.pending.push_back(PendingRequest::new(request));
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Open) && self.pending.is_empty() && !self.unsynced
    }
}
