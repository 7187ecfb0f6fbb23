//! Proving who we are, and making the server prove who it is.
//!
//! Supported are trust, password (clear text), md5, scram-sha-256 and scram-sha-256-plus. The
//! password goes out in clear text only over TLS, or where the caller allows otherwise.

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

/// A password. Its `Debug` does not show it.
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

/// What the connection below can do for the authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    /// Over TLS; the hash of the server's certificate (RFC 5929, tls-server-end-point) if known.
    Tls(Option<Vec<u8>>),
}

/// The client's side of the authentication.
pub(crate) struct Authenticator {
    user: String,
    password: Option<Secret>,
    policy: Policy,
    nonce: [u8; NONCE],
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing has been asked yet.
    Start,
    /// The password is out, in one form or another; the server decides.
    PasswordSent,
    /// Our first SCRAM message is out.
    First(ClientFirst),
    /// Our proof is out; the server's is due.
    Final(ServerProof),
    /// The server has proved that it knows the password.
    Verified,
    /// Complete, or failed.
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

    /// Handles a step of the server and queues the answer. Returns whether the authentication is
    /// complete.
    pub(crate) fn handle(
        &mut self,
        message: Authentication<'_>,
        transport: &Transport,
        out: &mut BytesMut,
    ) -> Result<bool, ProtocolError> {
        let state = std::mem::replace(&mut self.state, State::Finished);
        if matches!(state, State::Start)
            && let Some(method) = self.policy.methods.refused_method(&message)
        {
            return Err(AuthenticationError::MethodNotAllowed(method).into());
        }
        if self.policy.binding == BindingPolicy::Require
            && !matches!(
                (&state, &message),
                (State::Start, Authentication::Sasl(_))
                    | (State::First(_) | State::Final(_) | State::Verified, _)
            )
        {
            return Err(AuthenticationError::ChannelBindingMissing.into());
        }
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
                    state: "another step of the authentication was due",
                });
            }
        };
        Ok(false)
    }

    fn password(&self) -> Result<&str, AuthenticationError> {
        // The server refuses an empty password in any case, some methods with an odd message.
        match &self.password {
            Some(password) if !password.expose().is_empty() => Ok(password.expose()),
            _ => Err(AuthenticationError::PasswordMissing),
        }
    }
}

/// Chooses the mechanism, and with it what is said about channel binding (RFC 5802, section 6).
fn choose_channel_binding(
    offered: SaslMechanisms<'_>,
    transport: &Transport,
    policy: BindingPolicy,
) -> Result<ChannelBinding, AuthenticationError> {
    let offers = |mechanism| offered.iter().any(|name| name == mechanism);
    let (plain, plus) = (offers(scram::SHA_256), offers(scram::SHA_256_PLUS));
    match transport {
        // Without TLS the offer shows that somebody sits in between, whatever the policy.
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
