//! Client of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS.
//!
//! ```text
//! ClientFirst  -- n=,r=nonce -------------------------->
//!              <- r=nonce + more, s=salt, i=iterations -
//! handle()     -- c=binding, r=nonce + more, p=proof -->
//!              <- v=signature -------------------------
//! ServerProof  verify()
//! ```
//!
//! The user name in the exchange is empty: the server uses that of the StartupMessage. See
//! RFC 5802, RFC 7677 and <https://www.postgresql.org/docs/current/sasl-authentication.html>.

use std::{borrow::Cow, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::error::AuthenticationError;

pub(super) const SHA_256: &str = "SCRAM-SHA-256";
pub(super) const SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Number of random bytes in the client's nonce.
pub(crate) const NONCE: usize = 24;

/// Largest iteration count that is accepted, so that a hostile server cannot keep the client busy
/// without limit. The server's default is 4096; ten million iterations take a few seconds.
const MAX_ITERATIONS: u32 = 10_000_000;

type Key = [u8; 32];

/// Channel binding flag of the client's first message.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    /// The client does not support it: no TLS, no hash that is defined for the certificate, or
    /// disabled.
    Unsupported,
    /// The client supports it, but the server has not offered it. A server that has offered it
    /// detects by this flag that a man in the middle removed the offer.
    NotOffered,
    /// The exchange is bound to the server's certificate. Contains the hash of the certificate.
    TlsServerEndPoint(Vec<u8>),
}

impl ChannelBinding {
    const fn header(&self) -> &'static str {
        match self {
            Self::Unsupported => "n,,",
            Self::NotOffered => "y,,",
            Self::TlsServerEndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    fn data(&self) -> &[u8] {
        match self {
            Self::TlsServerEndPoint(hash) => hash,
            _ => &[],
        }
    }
}

/// State after the client's first message: the server's first message is pending.
pub(super) struct ClientFirst {
    message: String,
    nonce: String,
    password: String,
    binding: ChannelBinding,
}

impl ClientFirst {
    pub(super) fn new(password: &str, nonce: &[u8; NONCE], binding: ChannelBinding) -> Self {
        let nonce = BASE64_STANDARD.encode(nonce);
        // A password that SASLprep prohibits is used unchanged, as the server does, too.
        let password = stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password));
        Self {
            message: format!("{}n=,r={nonce}", binding.header()),
            nonce,
            password: password.into_owned(),
            binding,
        }
    }

    pub(super) fn mechanism(&self) -> &'static str {
        match self.binding {
            ChannelBinding::TlsServerEndPoint(_) => SHA_256_PLUS,
            _ => SHA_256,
        }
    }

    pub(super) fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    /// Handles the server's first message. Returns the client's final message.
    pub(super) fn handle(
        self,
        server_first: &[u8],
    ) -> Result<(Vec<u8>, ServerProof), AuthenticationError> {
        self.handle_within(server_first, MAX_ITERATIONS)
    }

    fn handle_within(
        self,
        server_first: &[u8],
        max_iterations: u32,
    ) -> Result<(Vec<u8>, ServerProof), AuthenticationError> {
        let server_first = text(server_first)?;
        let challenge = Challenge::parse(server_first, max_iterations)?;
        // A server that adds nothing to the client's nonce could replay an old exchange.
        match challenge.nonce.strip_prefix(&self.nonce) {
            Some(more) if !more.is_empty() => {}
            _ => return Err(AuthenticationError::ScramNonceMismatch),
        }

        let mut binding = self.binding.header().as_bytes().to_vec();
        binding.extend_from_slice(self.binding.data());
        let without_proof = format!(
            "c={},r={}",
            BASE64_STANDARD.encode(binding),
            challenge.nonce
        );
        let bare = self
            .message
            .strip_prefix(self.binding.header())
            .unwrap_or_default();
        let auth_message = format!("{bare},{server_first},{without_proof}");

        let salted = salted_password(&self.password, &challenge.salt, challenge.iterations);
        let client_key = hmac(&salted, &[b"Client Key"]);
        let stored_key: Key = Sha256::digest(client_key).into();
        let signature = hmac(&stored_key, &[auth_message.as_bytes()]);
        let mut proof = client_key;
        for (byte, mask) in proof.iter_mut().zip(signature) {
            *byte ^= mask;
        }
        let answer = format!("{without_proof},p={}", BASE64_STANDARD.encode(proof));
        let server_key = hmac(&salted, &[b"Server Key"]);
        Ok((
            answer.into_bytes(),
            ServerProof {
                server_key,
                auth_message,
            },
        ))
    }
}

impl fmt::Debug for ClientFirst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFirst")
            .field("mechanism", &self.mechanism())
            .finish_non_exhaustive()
    }
}

/// State after the client's final message: the server's signature is pending.
pub(super) struct ServerProof {
    server_key: Key,
    auth_message: String,
}

impl ServerProof {
    /// Verifies the signature in the server's final message.
    pub(super) fn verify(self, server_final: &[u8]) -> Result<(), AuthenticationError> {
        let server_final = text(server_final)?;
        let mut attributes = server_final.split(',');
        let first = attributes.next().unwrap_or_default();
        if let Some(word) = first.strip_prefix("e=") {
            // The text comes from the peer and is logged: control characters are removed, and the
            // length is limited.
            let word = word.chars().filter(|c| !c.is_control()).take(100).collect();
            return Err(AuthenticationError::ScramRefused(word));
        }
        let signature = first
            .strip_prefix("v=")
            .and_then(|signature| BASE64_STANDARD.decode(signature).ok())
            .ok_or(AuthenticationError::ScramMalformed(
                "the signature is missing",
            ))?;
        check_extensions(attributes)?;
        let mut mac = hmac_with_key(&self.server_key);
        mac.update(self.auth_message.as_bytes());
        // This comparison takes constant time.
        mac.verify_slice(&signature)
            .map_err(|_| AuthenticationError::ServerSignatureMismatch)
    }
}

impl fmt::Debug for ServerProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerProof(..)")
    }
}

/// Attributes of the server's first message.
struct Challenge<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> Challenge<'a> {
    fn parse(message: &'a str, max_iterations: u32) -> Result<Self, AuthenticationError> {
        let mut attributes = message.split(',');
        let mut next = |name: &str, missing| {
            attributes
                .next()
                .and_then(|attribute| attribute.strip_prefix(name))
                .ok_or(AuthenticationError::ScramMalformed(missing))
        };
        let nonce = next("r=", "the nonce is missing")?;
        let salt = next("s=", "the salt is missing")?;
        let iterations = next("i=", "the iteration count is missing")?;
        check_extensions(attributes)?;

        // RFC 5802, section 7: printable ASCII without commas, which `split` has removed.
        if !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AuthenticationError::ScramMalformed(
                "the nonce contains characters that are not printable",
            ));
        }
        let salt = BASE64_STANDARD
            .decode(salt)
            .ok()
            .filter(|salt| !salt.is_empty())
            .ok_or(AuthenticationError::ScramMalformed(
                "the salt is not valid base64",
            ))?;
        if iterations.is_empty() || !iterations.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AuthenticationError::ScramMalformed(
                "the iteration count is not a number",
            ));
        }
        // A number that exceeds 64 bits exceeds the limit, too.
        let found = iterations.parse().unwrap_or(u64::MAX);
        match u32::try_from(found) {
            Ok(iterations) if (1..=max_iterations).contains(&iterations) => Ok(Self {
                nonce,
                salt,
                iterations,
            }),
            _ => Err(AuthenticationError::ScramIterations {
                found,
                limit: max_iterations,
            }),
        }
    }
}

/// Checks the attributes after the defined ones. Optional extensions are ignored.
fn check_extensions<'a>(
    attributes: impl Iterator<Item = &'a str>,
) -> Result<(), AuthenticationError> {
    for attribute in attributes {
        match attribute.as_bytes() {
            [name, b'=', _, ..] if name.is_ascii_alphabetic() && *name != b'm' => {}
            _ => {
                return Err(AuthenticationError::ScramMalformed(
                    "an unknown attribute is present",
                ));
            }
        }
    }
    Ok(())
}

fn text(message: &[u8]) -> Result<&str, AuthenticationError> {
    str::from_utf8(message)
        .map_err(|_| AuthenticationError::ScramMalformed("the message is not UTF-8"))
}

/// `Hi` of RFC 5802: PBKDF2 with HMAC-SHA-256, one block.
fn salted_password(password: &str, salt: &[u8], iterations: u32) -> Key {
    let keyed = hmac_with_key(password.as_bytes());
    let round = |parts: &[&[u8]]| -> Key {
        // The clone reuses the two hash states that depend on the key only.
        let mut mac = keyed.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    };
    let mut block = round(&[salt, &1_u32.to_be_bytes()]);
    let mut sum = block;
    for _ in 1..iterations {
        block = round(&[&block]);
        for (byte, next) in sum.iter_mut().zip(block) {
            *byte ^= next;
        }
    }
    sum
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = hmac_with_key(key);
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn hmac_with_key(key: &[u8]) -> Hmac<Sha256> {
    // HMAC accepts keys of any length: longer ones are hashed, shorter ones are padded (RFC 2104).
    let mut block = [0; 64];
    let hashed;
    let key = if key.len() > block.len() {
        hashed = Sha256::digest(key);
        hashed.as_slice()
    } else {
        key
    };
    for (byte, value) in block.iter_mut().zip(key) {
        *byte = *value;
    }
    Hmac::new(&block.into())
}

/// Runs an exchange with the messages of a hostile server.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(server_first: &[u8], server_final: &[u8]) {
    let first = ClientFirst::new("pencil", &[7; NONCE], ChannelBinding::Unsupported);
    if let Ok((_, proof)) = first.handle_within(server_first, 8) {
        // A signature requires the password.
        assert!(proof.verify(server_final).is_err());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT_NONCE: [u8; NONCE] = *b"a nonce of 24 fixed byte";
    /// Exchange in the recording `tests/data/startup_scram`.
    const SERVER_FIRST: &str = "r=YSBub25jZSBvZiAyNCBmaXhlZCBieXRl/tJNCZKZeIufeUAn2jVPq3ut,\
                                s=sv1Nsik+LMUe11aGhDfrlg==,i=4096";
    const CLIENT_FINAL: &str = "c=biws,r=YSBub25jZSBvZiAyNCBmaXhlZCBieXRl/tJNCZKZeIufeUAn2jVPq3ut,\
                                p=SewbmcIuIDu7JwQiCgo3rM0qQqKb3pxywdjM6gxPAJE=";
    const SERVER_FINAL: &str = "v=MftYFUY/g4tdwoKLA/7elqlA+d/2livqOmASb+r6qyQ=";

    fn first() -> ClientFirst {
        ClientFirst::new("pencil", &CLIENT_NONCE, ChannelBinding::Unsupported)
    }

    fn proof() -> ServerProof {
        first().handle(SERVER_FIRST.as_bytes()).unwrap().1
    }

    /// Returns the error for a first message of the server with these attributes after the nonce.
    fn refused(attributes: &str) -> AuthenticationError {
        let message = format!("r=YSBub25jZSBvZiAyNCBmaXhlZCBieXRlmore,{attributes}");
        first().handle(message.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_recorded_exchange_is_reproduced() {
        assert_eq!(
            first().message(),
            b"n,,n=,r=YSBub25jZSBvZiAyNCBmaXhlZCBieXRl"
        );
        let (answer, proof) = first().handle(SERVER_FIRST.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), CLIENT_FINAL);
        assert_eq!(proof.verify(SERVER_FINAL.as_bytes()), Ok(()));
    }

    #[test]
    fn the_example_of_rfc_7677_verifies() {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = salted_password("pencil", &salt, 4096);
        let auth_message = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
                            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                            s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
                            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let server_key = hmac(&salted, &[b"Server Key"]);
        let proof = ServerProof {
            server_key,
            auth_message: auth_message.to_owned(),
        };
        assert_eq!(
            proof.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
            Ok(())
        );
    }

    #[test]
    fn keys_longer_than_a_block_are_hashed() {
        // RFC 4231, test case 6.
        let mac = hmac(
            &[0xaa; 131],
            &[b"Test Using Larger Than Block-Size Key - Hash Key First"],
        );
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn the_proof_covers_the_channel_binding() {
        for (binding, mechanism, start, repeated) in [
            (ChannelBinding::Unsupported, SHA_256, "n,,n=,r=", "c=biws,"),
            (ChannelBinding::NotOffered, SHA_256, "y,,n=,r=", "c=eSws,"),
            (
                ChannelBinding::TlsServerEndPoint(vec![0, 1, 2]),
                SHA_256_PLUS,
                "p=tls-server-end-point,,n=,r=",
                "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsAAEC,",
            ),
        ] {
            let first = ClientFirst::new("pencil", &CLIENT_NONCE, binding);
            assert_eq!(first.mechanism(), mechanism);
            assert!(first.message().starts_with(start.as_bytes()));
            let (answer, proof) = first.handle(SERVER_FIRST.as_bytes()).unwrap();
            assert!(answer.starts_with(repeated.as_bytes()));
            // The recorded signature belongs to an exchange without channel binding.
            let verified = proof.verify(SERVER_FINAL.as_bytes()).is_ok();
            assert_eq!(verified, start.starts_with('n'));
        }
    }

    #[test]
    fn passwords_are_normalized_unless_saslprep_prohibits_them() {
        let prepared =
            |password| ClientFirst::new(password, &CLIENT_NONCE, ChannelBinding::Unsupported);
        assert_eq!(
            prepared("p\u{ad}encil \u{fb01}\u{aa}").password,
            "pencil fia"
        );
        assert_eq!(prepared("a\u{7}b").password, "a\u{7}b");
    }

    #[test]
    fn a_server_nonce_has_to_extend_the_clients() {
        for nonce in [
            "",
            "x",
            "YSBub25jZSBvZiAyNCBmaXhlZCBieXRl",
            "YSBub25jZSBvZiAyNCBmaXhlZCBieXR",
            "xYSBub25jZSBvZiAyNCBmaXhlZCBieXRl",
        ] {
            let message = format!("r={nonce},s=c2FsdA==,i=4");
            let error = first().handle(message.as_bytes()).unwrap_err();
            assert_eq!(error, AuthenticationError::ScramNonceMismatch, "{nonce}");
        }
    }

    #[test]
    fn iteration_counts_have_a_cap() {
        let limit = MAX_ITERATIONS;
        for (count, found) in [
            ("0", 0),
            ("10000001", 10_000_001),
            ("4294967296", 1 << 32),
            ("99999999999999999999999", u64::MAX),
        ] {
            let error = refused(&format!("s=c2FsdA==,i={count}"));
            assert_eq!(error, AuthenticationError::ScramIterations { found, limit });
        }
    }

    #[test]
    fn malformed_first_messages_are_refused() {
        for attributes in [
            "",
            "s=c2FsdA==",
            "i=4,s=c2FsdA==",
            "s=,i=4",
            "s=***,i=4",
            "s=c2FsdA==,i=",
            "s=c2FsdA==,i=-4",
            "s=c2FsdA==,i=+4",
            "s=c2FsdA==,i=4 ",
            "s=c2FsdA==,i=4,",
            "s=c2FsdA==,i=4,m=1",
            "s=c2FsdA==,i=4,xy",
            "s=c2FsdA==,i=4,x=",
        ] {
            let error = refused(attributes);
            assert!(
                matches!(error, AuthenticationError::ScramMalformed(_)),
                "{attributes}"
            );
        }
        for message in [
            &b""[..],
            b"r=",
            b"m=1,r=x,s=c2FsdA==,i=4",
            b"r=\xff,s=c2FsdA==,i=4",
        ] {
            assert!(first().handle(message).is_err());
        }
        let control = b"r=YSBub25jZSBvZiAyNCBmaXhlZCBieXRl\x07,s=c2FsdA==,i=4";
        assert!(first().handle(control).is_err());
    }

    #[test]
    fn optional_extensions_are_ignored() {
        let message = format!("{SERVER_FIRST},x=1");
        assert!(first().handle(message.as_bytes()).is_ok());
        assert_eq!(
            proof().verify(format!("{SERVER_FINAL},x=1").as_bytes()),
            Ok(())
        );
    }

    #[test]
    fn a_wrong_signature_is_refused() {
        for signature in [
            "v=",
            "v=AAAA",
            "v=MftYFUY/g4tdwoKLA/7elqlA+d/2livqOmASb+r6qyR=",
            "v=MftYFUY/g4tdwoKLA/7elqlA+d/2livqOmASb+r6qy",
            "v=NftYFUY/g4tdwoKLA/7elqlA+d/2livqOmASb+r6qyQ=",
            "V=MftYFUY/g4tdwoKLA/7elqlA+d/2livqOmASb+r6qyQ=",
            "v=MftYFUY/g4tdwoKLA/7elqlA+d/2livqOmASb+r6qyQ=,m=1",
            "",
        ] {
            let error = proof().verify(signature.as_bytes()).unwrap_err();
            assert!(
                matches!(
                    error,
                    AuthenticationError::ServerSignatureMismatch
                        | AuthenticationError::ScramMalformed(_)
                ),
                "{signature}"
            );
        }
    }

    #[test]
    fn the_servers_error_is_reported_without_control_characters() {
        let error = proof().verify(b"e=invalid-\nproof,x=1").unwrap_err();
        assert_eq!(
            error,
            AuthenticationError::ScramRefused("invalid-proof".to_owned())
        );
    }
}
