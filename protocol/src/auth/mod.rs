//! Authentication of the client and, with SCRAM, of the server.
//!
//! Supported methods are trust, password (clear text), md5, scram-sha-256 and scram-sha-256-plus.
//! The password is sent in clear text only over TLS, unless the caller allows otherwise.

mod md5;
mod policy;
mod scram;

use std::fmt;

use bytes::BytesMut;

use crate::{
    error::{AuthenticationError, ProtocolError},
    message::{self, Authentication, SaslMechanisms},
};
pub(crate) use policy::Policy;
pub use policy::{AllowedMethods, BindingPolicy};
#[cfg(feature = "fuzzing")]
pub(crate) use scram::fuzz;
pub(crate) use scram::{ChannelBinding, NONCE};
use scram::{ClientFirst, ServerProof};

/// Password, which its `Debug` output does not contain.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a password.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self(secret.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Transport of the connection, as far as it matters for the authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    /// TLS, with the hash of the server's certificate (RFC 5929, `tls-server-end-point`) if known.
    Tls(Option<Vec<u8>>),
}

/// State machine of the client's side of the authentication.
pub(crate) struct Authenticator {
    user: String,
    password: Option<Secret>,
    policy: Policy,
    nonce: [u8; NONCE],
    state: State,
}

#[derive(Debug)]
enum State {
    /// The server has requested nothing yet.
    Start,
    /// The password or its hash was sent; the server's decision is pending.
    PasswordSent,
    /// The client's first SCRAM message was sent.
    First(ClientFirst),
    /// The client's final SCRAM message was sent; the server's signature is pending.
    Final(ServerProof),
    /// The server's signature was verified: it knows the password.
    Verified,
    /// The authentication has succeeded or failed.
    Finished,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Authenticator {
    pub(crate) fn new(
        user: String,
        password: Option<Secret>,
        policy: Policy,
        nonce: [u8; NONCE],
    ) -> Self {
        Self {
            user,
            password,
            policy,
            nonce,
            state: State::Start,
        }
    }

    /// Handles an authentication message and appends the response to `out`. Returns whether the
    /// authentication is complete.
    pub(crate) fn handle(
        &mut self,
        message: Authentication<'_>,
        transport: &Transport,
        out: &mut BytesMut,
    ) -> Result<bool, ProtocolError> {
        let state = std::mem::replace(&mut self.state, State::Finished);
        self.check_allowed(&state, &message)?;
        self.state = match (state, message) {
            (State::Start | State::PasswordSent | State::Verified, Authentication::Ok) => {
                return Ok(true);
            }
            (State::First(_) | State::Final(_), Authentication::Ok) => {
                return Err(AuthenticationError::ServerNotVerified.into());
            }
            (State::Start, Authentication::CleartextPassword) => {
                if !self.policy.allow_cleartext && *transport == Transport::Plain {
                    return Err(AuthenticationError::ClearTextRefused.into());
                }
                message::password(out, self.password()?)?;
                State::PasswordSent
            }
            (State::Start, Authentication::Md5Password { salt }) => {
                let hash = md5::password_hash(&self.user, self.password()?, salt);
                message::password(out, &hash)?;
                State::PasswordSent
            }
            (State::Start, Authentication::Sasl(offered)) => {
                let binding = choose_channel_binding(offered, transport, self.policy.binding)?;
                let first = ClientFirst::new(self.password()?, &self.nonce, binding);
                message::sasl_initial_response(out, first.mechanism(), first.message())?;
                State::First(first)
            }
            (State::First(first), Authentication::SaslContinue(data)) => {
                let (answer, proof) = first.handle(data)?;
                message::sasl_response(out, &answer)?;
                State::Final(proof)
            }
            (State::Final(proof), Authentication::SaslFinal(data)) => {
                proof.verify(data)?;
                State::Verified
            }
            (
                State::Start,
                Authentication::KerberosV5
                | Authentication::CryptPassword
                | Authentication::ScmCredential
                | Authentication::Gss
                | Authentication::Sspi,
            ) => return Err(AuthenticationError::UnsupportedMethod(message.method()).into()),
            _ => {
                return Err(ProtocolError::UnexpectedMessage {
                    tag: message::tag::AUTHENTICATION,
                    state: "another authentication message was expected",
                });
            }
        };
        Ok(false)
    }

    /// Fails if the policy does not allow this message in this state.
    fn check_allowed(
        &self,
        state: &State,
        message: &Authentication<'_>,
    ) -> Result<(), AuthenticationError> {
        if matches!(state, State::Start)
            && let Some(method) = self.policy.methods.refused_method(message)
        {
            return Err(AuthenticationError::MethodNotAllowed(method));
        }
        if self.policy.binding == BindingPolicy::Require
            && !matches!(
                (state, message),
                (State::Start, Authentication::Sasl(_))
                    | (State::First(_) | State::Final(_) | State::Verified, _)
            )
        {
            return Err(AuthenticationError::ChannelBindingMissing);
        }
        Ok(())
    }

    fn password(&self) -> Result<&str, AuthenticationError> {
        // The server rejects an empty password in any case, for some methods with a misleading
        // message.
        match &self.password {
            Some(password) if !password.expose().is_empty() => Ok(password.expose()),
            _ => Err(AuthenticationError::PasswordMissing),
        }
    }
}

/// Chooses the SASL mechanism and the client's channel binding flag (RFC 5802, section 6).
fn choose_channel_binding(
    offered: SaslMechanisms<'_>,
    transport: &Transport,
    policy: BindingPolicy,
) -> Result<ChannelBinding, AuthenticationError> {
    let offers = |mechanism| offered.iter().any(|name| name == mechanism);
    let (plain, plus) = (offers(scram::SHA_256), offers(scram::SHA_256_PLUS));
    match transport {
        // Servers offer channel binding over TLS only: a man in the middle has removed the TLS.
        Transport::Plain if plus => Err(AuthenticationError::ChannelBindingWithoutTls),
        Transport::Tls(Some(hash)) if plus && policy != BindingPolicy::Disable => {
            Ok(ChannelBinding::TlsServerEndPoint(hash.clone()))
        }
        _ if policy == BindingPolicy::Require && (plain || plus) => {
            Err(AuthenticationError::ChannelBindingMissing)
        }
        Transport::Tls(Some(_)) if plain && policy == BindingPolicy::Prefer => {
            Ok(ChannelBinding::NotOffered)
        }
        _ if plain => Ok(ChannelBinding::Unsupported),
        _ => {
            let names = offered.iter().collect::<Vec<_>>().join(", ");
            Err(AuthenticationError::UnsupportedMechanisms(names))
        }
    }
}
