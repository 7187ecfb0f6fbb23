//! TLS: trusted authorities, the client certificate, and the verification that sslmode requires.

mod cause;
mod certificate;
mod roots;
mod verifier;

pub(super) use cause::{direct_tls_unsupported, failure_after_handshake, handshake_failure};

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing::warn;

use self::certificate::Certificate;
use self::roots::Roots;
use self::verifier::{Verification, Verifier};
use crate::config::{Environment, Secret, Security, SslMode};
use crate::error::{Error, ErrorKind, Result};

/// Name of the protocol in the handshake of direct negotiation.
pub(super) const ALPN: &[u8] = b"postgresql";

/// Trusted authorities, the client certificate, and the verification that sslmode requires.
#[derive(Debug)]
pub(super) struct TlsSettings {
    sslmode: SslMode,
    roots: Arc<Roots>,
    /// Authorities are configured: then every sslmode verifies the chain, as in libpq.
    has_own_roots: bool,
    identity: Option<Identity>,
    /// The handshake names the host (SNI).
    sends_name: bool,
}

/// The client certificate with its chain, and its private key.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl TlsSettings {
    /// Reads certificates and keys from the configuration, or else from the places where libpq
    /// looks.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read or is not PEM.
    pub(super) fn load(
        sslmode: SslMode,
        security: &Security,
        environment: &Environment,
    ) -> Result<Self> {
        if sslmode == SslMode::Disable {
            return Ok(Self {
                sslmode,
                roots: Arc::new(Roots::only(Vec::new())),
                has_own_roots: false,
                identity: None,
                sends_name: false,
            });
        }
        let own = own_roots(sslmode, security, environment)?;
        Ok(Self {
            sslmode,
            has_own_roots: own.is_some(),
            roots: Arc::new(match own {
                Some(certificates) => Roots::only(certificates),
                None => Roots::public_and(system_roots(environment)),
            }),
            identity: identity(security, environment)?,
            sends_name: environment.setting("sslsni").is_none_or(|sni| sni != "0"),
        })
    }

    /// Returns the verification of the server's certificate.
    fn verification(&self) -> Verification {
        match self.sslmode {
            SslMode::VerifyFull => Verification::AuthorityAndName,
            SslMode::VerifyCa => Verification::Authority,
            _ if self.has_own_roots => Verification::Authority,
            _ => Verification::Nothing,
        }
    }

    /// Returns the configuration for a handshake with `host`.
    ///
    /// # Errors
    ///
    /// Fails if the client certificate and its key do not match or are not supported.
    pub(super) fn client_config(&self, host: &str, direct: bool) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier {
            verification: self.verification(),
            roots: Arc::clone(&self.roots),
            host: host.to_owned(),
            algorithms: provider.signature_verification_algorithms,
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| {
                Error::new(ErrorKind::Internal, "the TLS configuration was refused")
                    .with_source(error)
            })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &self.identity {
            Some(Identity { chain, key }) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| {
                    configuration(
                        "the client certificate and its key (sslcert, sslkey) cannot be used \
                         together",
                    )
                    .with_source(error)
                })?,
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = self.sends_name;
        if direct {
            config.alpn_protocols = vec![ALPN.to_vec()];
        }
        Ok(Arc::new(config))
    }
}

/// Returns the hash of the server's certificate for channel binding; `None` if none is defined.
pub(super) fn end_point_hash(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    Certificate::parse(certificate)?.end_point_hash(certificate)
}

/// Reads the certificates of the authorities that are configured; `None` if there are none. A file
/// that is named only by the environment or by libpq's defaults may be missing, unless the server
/// has to be verified.
fn own_roots(
    sslmode: SslMode,
    security: &Security,
    environment: &Environment,
) -> Result<Option<Vec<CertificateDer<'static>>>> {
    if let Some(text) = &security.root_certificates {
        return match text.as_str() {
            "system" => Ok(None),
            text => certificates("advanced.sslrootcert", text).map(Some),
        };
    }
    if let Some(text) = environment.setting("sslrootcert") {
        let verifies = matches!(sslmode, SslMode::VerifyCa | SslMode::VerifyFull);
        if text == "system" || !(verifies || Path::new(&text).exists()) {
            return Ok(None);
        }
        return certificates("PGSSLROOTCERT", &text).map(Some);
    }
    match environment.home_file(".postgresql/root.crt") {
        Some(path) => certificates("~/.postgresql/root.crt", &path).map(Some),
        None => Ok(None),
    }
}

/// Reads the certificates of SSL_CERT_FILE, which are trusted in addition to the public
/// authorities.
fn system_roots(environment: &Environment) -> Vec<CertificateDer<'static>> {
    let Some(path) = environment.variable("SSL_CERT_FILE") else {
        return Vec::new();
    };
    certificates("SSL_CERT_FILE", &path).unwrap_or_else(|error| {
        warn!(error = %error, "SSL_CERT_FILE not read: its certificates are not trusted");
        Vec::new()
    })
}

/// Reads the client certificate and its key; `None` if there are none.
fn identity(security: &Security, environment: &Environment) -> Result<Option<Identity>> {
    let (certificate, key) = match (&security.certificate, &security.key) {
        (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        // PEM may contain both.
        (Some(certificate), None) if is_pem(certificate) && certificate.contains("PRIVATE KEY") => {
            (certificate.clone(), Secret::from(certificate.clone()))
        }
        (Some(_), None) => {
            return Err(configuration(
                "advanced.sslcert needs its private key in advanced.sslkey",
            ));
        }
        (None, Some(_)) => {
            return Err(configuration(
                "advanced.sslkey needs the certificate that it belongs to in advanced.sslcert",
            ));
        }
        (None, None) => {
            let file = |setting, default| {
                environment
                    .setting(setting)
                    .filter(|path| Path::new(path).exists())
                    .or_else(|| environment.home_file(default))
            };
            match (
                file("sslcert", ".postgresql/postgresql.crt"),
                file("sslkey", ".postgresql/postgresql.key"),
            ) {
                (Some(certificate), Some(key)) => (certificate, Secret::from(key)),
                _ => return Ok(None),
            }
        }
    };
    let chain = certificates("the client certificate (sslcert)", &certificate)?;
    let what = "the client key (sslkey)";
    let text = Secret::from(read(what, key.expose())?);
    let key = PrivateKeyDer::from_pem_slice(text.expose().as_bytes()).map_err(|_| {
        configuration(if text.expose().contains("ENCRYPTED") {
            format!("{what} is encrypted: give the key without a passphrase")
        } else {
            format!("{what} holds no private key in PEM form (PKCS#1, PKCS#8 or SEC1)")
        })
    })?;
    Ok(Some(Identity { chain, key }))
}

/// Reads certificates from a text: PEM, or the path of a PEM file. `what` names the text in errors.
fn certificates(what: &str, text: &str) -> Result<Vec<CertificateDer<'static>>> {
    let text = read(what, text)?;
    let found: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(configuration(format!(
            "{what} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
        ))),
        Err(error) => {
            Err(configuration(format!("{what} is not valid PEM")).with_source(error.to_string()))
        }
    }
}

/// Returns the text if it is PEM, or else the contents of the file whose path it is.
fn read(what: &str, text: &str) -> Result<String> {
    if is_pem(text) {
        return Ok(text.to_owned());
    }
    // The error does not repeat the path: it could be a private key without its first line.
    std::fs::read_to_string(text).map_err(|error| {
        configuration(format!(
            "{what} is neither PEM (-----BEGIN ...) nor the path of a file that can be read"
        ))
        .with_source(error)
    })
}

fn is_pem(text: &str) -> bool {
    text.contains("-----BEGIN")
}

fn configuration(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Configuration, message)
}
