//! Errors of a TLS handshake: the reason for the failure, and the remedy.

use std::io;

use rustls::{AlertDescription, CertificateError};

use crate::config::HostPort;
use crate::error::{Error, ErrorKind};

/// Returns the error for a handshake with `host` that failed.
pub(in crate::net) fn handshake_failure(host: &HostPort, error: io::Error, direct: bool) -> Error {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let (kind, message) = match tls {
        Some(rustls::Error::InvalidCertificate(cause)) => {
            (ErrorKind::Configuration, certificate_message(host, cause))
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            (ErrorKind::Configuration, alert_message(host, *alert))
        }
        Some(rustls::Error::PeerIncompatible(_)) => (
            ErrorKind::Configuration,
            format!(
                "{host} offers no secure TLS version or cipher suite: it has to support TLS 1.2 or \
                 1.3"
            ),
        ),
        Some(rustls::Error::NoApplicationProtocol) => {
            (ErrorKind::Configuration, direct_tls_unsupported(host))
        }
        // Servers before version 17 close a connection that begins with TLS.
        None if direct => (ErrorKind::Connection, direct_tls_unsupported(host)),
        Some(_) => handshake_broken(host),
        // A message of the handshake is longer than the TLS library accepts.
        None if error.kind() == io::ErrorKind::InvalidData => handshake_broken(host),
        // The connection ended, which may be a temporary fault.
        None => (
            ErrorKind::Connection,
            format!("{host} ended the connection during the TLS handshake"),
        ),
    };
    Error::new(kind, message).with_source(error)
}

/// Returns the error for a handshake that violates the protocol.
fn handshake_broken(host: &HostPort) -> (ErrorKind, String) {
    (
        ErrorKind::Protocol,
        format!("the TLS handshake with {host} failed: is the port right?"),
    )
}

/// Returns the error for a connection that ended directly after the handshake. With TLS 1.3, a
/// server verifies the client's certificate only then, and its alert can be lost.
pub(in crate::net) fn failure_after_handshake(host: &HostPort, error: Error) -> Error {
    use std::error::Error as _;
    let alert = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>()?.get_ref())
        .and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match alert {
        Some(rustls::Error::AlertReceived(alert)) => {
            Error::new(ErrorKind::Configuration, alert_message(host, *alert)).with_source(error)
        }
        _ => error.context(format!(
            "{host} ended the connection directly after the TLS handshake: it may need a client \
             certificate, or may not accept the one in advanced.sslcert"
        )),
    }
}

/// Returns the message for a server that does not support direct TLS negotiation.
pub(in crate::net) fn direct_tls_unsupported(host: &HostPort) -> String {
    format!(
        "{host} does not support direct TLS negotiation, which needs PostgreSQL 17: remove \
         advanced.sslnegotiation \"direct\""
    )
}

/// Returns the message for a certificate of the server that failed verification.
fn certificate_message(host: &HostPort, error: &CertificateError) -> String {
    use CertificateError as Cause;
    match error {
        Cause::UnknownIssuer | Cause::BadSignature => format!(
            "the certificate of {host} is not trusted: it was not issued by a known authority; \
             give the certificate of its authority in advanced.sslrootcert"
        ),
        Cause::Expired | Cause::ExpiredContext { .. } => format!(
            "the certificate of {host} has expired: renew it on the server, or correct the \
             clock of this machine"
        ),
        Cause::NotValidYet | Cause::NotValidYetContext { .. } => format!(
            "the certificate of {host} is not valid yet: check the clocks of the server and of \
             this machine"
        ),
        Cause::NotValidForNameContext { presented, .. } => format!(
            "the certificate of {host} is for another name ({}): use that name in the address, or \
             set advanced.sslmode to \"verify-ca\" to verify the authority only",
            presented.join(", ")
        ),
        _ => format!("the certificate of {host} cannot be accepted"),
    }
}

/// Returns the message for an alert with which the server ended the handshake.
fn alert_message(host: &HostPort, alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired | Alert::NoCertificate => format!(
            "{host} asks for a client certificate: give one in advanced.sslcert and advanced.sslkey"
        ),
        Alert::UnknownCA
        | Alert::BadCertificate
        | Alert::CertificateExpired
        | Alert::CertificateRevoked
        | Alert::CertificateUnknown
        | Alert::UnsupportedCertificate
        | Alert::DecryptError => {
            format!("{host} does not accept the client certificate of advanced.sslcert")
        }
        Alert::NoApplicationProtocol => direct_tls_unsupported(host),
        _ => format!("{host} refused the TLS handshake"),
    }
}
