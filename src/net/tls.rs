//! TLS client configurations by what sslmode asks to be verified.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::error::{Error, ErrorKind, Result};

/// What is verified of the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verify {
    /// Nothing: the connection is encrypted, and the server may be anybody (prefer, require).
    Nothing,
    /// That a trusted authority has issued it (verify-ca).
    Authority,
    /// That, and that it is for the host that was asked for (verify-full).
    AuthorityAndName,
}

/// Makes the TLS configuration for what is to be verified.
///
/// # Errors
///
/// Fails when the TLS library refuses the combination, which is a bug.
pub(super) fn client_config(verify: Verify) -> Result<Arc<ClientConfig>> {
    let internal = |error: rustls::Error| {
        Error::new(ErrorKind::Internal, "the TLS configuration was refused").with_source(error)
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(internal)?;
    let config = match verify {
        Verify::Nothing => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Encrypting::new(&provider)))
            .with_no_client_auth(),
        Verify::Authority => {
            let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots()), provider)
                .build()
                .map_err(|error| {
                    Error::new(ErrorKind::Internal, "no trusted certificate authorities")
                        .with_source(error)
                })?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AuthorityOnly { inner }))
                .with_no_client_auth()
        }
        Verify::AuthorityAndName => builder
            .with_root_certificates(roots())
            .with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn roots() -> RootCertStore {
    RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    }
}

/// Accepts every certificate, as libpq does for `prefer` and `require`: they protect against
/// somebody who listens, not against somebody who pretends. The handshake's signatures are still
/// verified, so that the peer at least owns the key of the certificate that it shows.
#[derive(Debug)]
struct Encrypting {
    algorithms: WebPkiSupportedAlgorithms,
}

impl Encrypting {
    fn new(provider: &CryptoProvider) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for Encrypting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Verifies the chain of trust and leaves the name out.
#[derive(Debug)]
struct AuthorityOnly {
    inner: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for AuthorityOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The name is checked last, so an error about it means that all else was in order.
        match self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
