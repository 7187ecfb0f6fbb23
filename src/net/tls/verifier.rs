//! Verifies the server's certificate and signatures in the handshake, as sslmode requires.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use webpki::RawPublicKeyEntity;

use super::certificate::{Certificate, Validity};
use super::roots::Roots;

/// Verification of the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verification {
    /// None: the connection is encrypted, but the identity of the server is unknown.
    Nothing,
    /// A trusted authority has issued it (verify-ca).
    Authority,
    /// A trusted authority has issued it, for the host of the configuration (verify-full).
    AuthorityAndName,
}

/// Verifies by the rules of libpq. The signatures of the handshake are always verified, so that the
/// peer at least owns the key of the certificate that it presents.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) verification: Verification,
    pub(super) roots: Arc<Roots>,
    /// Name to verify, from the configuration.
    pub(super) host: String,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Verifies the chain of trust.
    fn chain(
        &self,
        der: &CertificateDer<'_>,
        certificate: &Certificate,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        if self.roots.contains(der) {
            // A self-signed certificate of the server may itself be configured as trusted.
            return check_validity(certificate, now);
        }
        if certificate.is_self_issued() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        if certificate.is_version_1() {
            // The recipe in PostgreSQL's manual makes such certificates; webpki does not support
            // them.
            let algorithms = self.algorithms.all;
            if !self
                .roots
                .certificates()
                .filter_map(Certificate::parse)
                .any(|root| certificate.is_signed_by(&root, algorithms))
            {
                return Err(CertificateError::UnknownIssuer.into());
            }
            return check_validity(certificate, now);
        }
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(der)?,
            self.roots.anchors(),
            intermediates,
            now,
            self.algorithms.all,
        )
    }

    /// Verifies a signature of the handshake with the key of the certificate. webpki need not
    /// support the certificate itself.
    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let bad = |error: CertificateError| rustls::Error::from(error);
        let key = Certificate::parse(certificate)
            .and_then(|certificate| certificate.public_key())
            .ok_or_else(|| bad(CertificateError::BadEncoding))?;
        let key = key.as_slice().into();
        let key =
            RawPublicKeyEntity::try_from(&key).map_err(|_| bad(CertificateError::BadEncoding))?;
        let algorithms = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signature.scheme)
            .map_or(&[][..], |(_, algorithms)| algorithms);
        algorithms
            .iter()
            .any(|algorithm| {
                key.verify_signature(*algorithm, message, signature.signature())
                    .is_ok()
            })
            .then(HandshakeSignatureValid::assertion)
            .ok_or_else(|| bad(CertificateError::BadSignature))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.verification == Verification::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = Certificate::parse(end_entity).ok_or(CertificateError::BadEncoding)?;
        self.chain(end_entity, &certificate, intermediates, now)?;
        if self.verification == Verification::AuthorityAndName && !certificate.is_for(&self.host) {
            return Err(CertificateError::NotValidForNameContext {
                expected: server_name.to_owned(),
                presented: certificate.names(),
            }
            .into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // TLS 1.3 does not allow PKCS#1 padding and SHA-1.
        match signature.scheme {
            SignatureScheme::RSA_PKCS1_SHA1
            | SignatureScheme::ECDSA_SHA1_Legacy
            | SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512 => Err(CertificateError::BadSignature.into()),
            _ => self.signature(message, certificate, signature),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Fails if the certificate is not valid at the time `now`.
fn check_validity(certificate: &Certificate, now: UnixTime) -> Result<(), rustls::Error> {
    match certificate.validity(now) {
        Validity::Valid => Ok(()),
        Validity::Expired => Err(CertificateError::Expired.into()),
        Validity::NotYet => Err(CertificateError::NotValidYet.into()),
    }
}
