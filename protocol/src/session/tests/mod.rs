//! Tests of sessions against a scripted server, without sockets.

mod copy;
mod query;
mod startup;

use bytes::BytesMut;

use super::*;
use crate::{
    AuthenticationError, BackendMessage, DecodeErrorKind, EncodeError, Fault, Format, ProcessId,
    ServerError, Severity,
    testing::{
        authentication_sasl, backend_message, copy_response, data_row, error_response,
        negotiate_protocol_version, notice_response, row_description,
    },
};

const NONCE: [u8; 24] = [7; 24];

fn config() -> SessionConfig {
    let mut config = SessionConfig::new("user", NONCE);
    config.password = Some("pencil".into());
    config
}

/// Messages of a scripted server.
#[derive(Default)]
struct Server(BytesMut);

impl Server {
    fn encode(mut self, encode: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>) -> Self {
        encode(&mut self.0).unwrap();
        self
    }

    fn send(self, message: BackendMessage<'_>) -> Self {
        self.encode(|out| backend_message(out, &message))
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        self.encode(|out| {
            out.extend_from_slice(bytes);
            Ok(())
        })
    }

    fn authentication(self, code: u8, data: &[u8]) -> Self {
        let length = u8::try_from(data.len() + 8).unwrap();
        self.bytes(&[&[b'R', 0, 0, 0, length, 0, 0, 0, code], data].concat())
    }

    fn ready(self) -> Self {
        self.send(BackendMessage::ReadyForQuery(TransactionStatus::Idle))
    }

    fn copy(self, tag: u8) -> Self {
        self.encode(|out| copy_response(out, tag, Format::Text, []))
    }

    fn complete(self) -> Self {
        self.send(BackendMessage::CommandComplete("DONE")).ready()
    }

    fn error(self, severity: &str) -> Self {
        let fields = [
            (b'S', severity),
            (b'V', severity),
            (b'C', "XX000"),
            (b'M', "oops"),
        ];
        self.encode(|out| error_response(out, fields))
    }

    fn columns(self) -> Self {
        self.encode(|out| row_description(out, []))
    }

    fn row(self) -> Self {
        self.encode(|out| data_row(out, [None, Some(&b"value"[..])]))
    }

    /// Passes all messages to the session and returns the names of its events.
    fn play(self, session: &mut Session) -> Result<Vec<String>, ProtocolError> {
        let mut input = &self.0[..];
        let mut events = Vec::new();
        while let Some((size, event)) = session.handle_input(input)? {
            input = &input[size..];
            let name = format!("{event:?}");
            events.push(name.split(['(', ' ']).next().unwrap().to_owned());
        }
        assert_eq!(input.len(), 0, "the session consumes all bytes");
        Ok(events)
    }

    fn fail(self, session: &mut Session) -> ProtocolError {
        let error = self.play(session).unwrap_err();
        assert!(session.is_closed());
        assert!(!session.is_ready());
        error
    }
}

fn server() -> Server {
    Server::default()
}

/// Creates a session that is ready and has no output.
fn established() -> Session {
    let mut session = Session::new(config()).unwrap();
    let server = server()
        .authentication(0, &[])
        .bytes(b"K\0\0\0\x0c\0\0\0\x2aabcd")
        .ready();
    assert_eq!(
        server.play(&mut session).unwrap(),
        ["Authenticated", "BackendKeyData", "Ready"]
    );
    assert!(session.is_ready());
    sent(&mut session);
    session
}

fn sent(session: &mut Session) -> Vec<u8> {
    let sent = session.poll_transmit().unwrap_or_default().to_vec();
    assert_eq!(session.poll_transmit(), None);
    sent
}

fn requesting_tls() -> Session {
    let mut config = config();
    config.tls = TlsRequest::Request;
    let mut session = Session::new(config).unwrap();
    assert_eq!(sent(&mut session), [0, 0, 0, 8, 4, 210, 22, 47]);
    assert_eq!(session.needed(&[]), 1);
    session
}
