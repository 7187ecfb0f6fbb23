//! Why a TLS handshake has failed, and what helps.

use std::io;

use rustls::{AlertDescription, CertificateError};

use crate::config::HostPort;
use crate::error::{Error, ErrorKind};

/// Makes the error of a handshake with `host` that has failed.
pub(in crate::net) fn handshake_failure(host: &HostPort, error: io::Error, direct: bool) -> Error {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let (kind, message) = match tls {
        Some(rustls::Error::InvalidCertificate(cause)) => {
            (ErrorKind::Configuration, certificate(host, cause))
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            (ErrorKind::Configuration, refused(host, *alert))
        }
        Some(rustls::Error::PeerIncompatible(_)) => (
            ErrorKind::Configuration,
            format!(
                "{host} speaks no version of TLS and no cipher that are secure: it has to offer \
                 TLS 1.2 or 1.3"
            ),
        ),
        Some(rustls::Error::NoApplicationProtocol) => {
            (ErrorKind::Configuration, direct_tls_unsupported(host))
        }
        // As older servers do with a first message that they do not know.
        None if direct => (ErrorKind::Connection, direct_tls_unsupported(host)),
        Some(_) => handshake_broken(host),
        // A message of the handshake is longer than the library keeps.
        None if error.kind() == io::ErrorKind::InvalidData => handshake_broken(host),
        // The connection ended, which may be a passing fault.
        None => (
            ErrorKind::Connection,
            format!("{host} ended the connection during the TLS handshake"),
        ),
    };
    Error::new(kind, message).with_source(error)
}

fn handshake_broken(host: &HostPort) -> (ErrorKind, String) {
    (
        ErrorKind::Protocol,
        format!("the TLS handshake with {host} failed: is the port right?"),
    )
}

/// Makes the error of a connection that ended right behind the handshake: so late a server of TLS 1.3
/// says what it thinks of the client's certificate, and what it says can be lost.
pub(in crate::net) fn failure_after_handshake(host: &HostPort, error: Error) -> Error {
    use std::error::Error as _;
    let alert = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>()?.get_ref())
        .and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match alert {
        Some(rustls::Error::AlertReceived(alert)) => {
            Error::new(ErrorKind::Configuration, refused(host, *alert)).with_source(error)
        }
        _ => error.context(format!(
            "{host} ended the connection right behind the TLS handshake: it may need a client \
             certificate, or not accept the one of advanced.sslcert"
        )),
    }
}

/// What is said of a server that does not negotiate directly.
pub(in crate::net) fn direct_tls_unsupported(host: &HostPort) -> String {
    format!(
        "{host} does not take TLS without being asked for it first, which needs PostgreSQL 17: \
         leave out advanced.sslnegotiation \"direct\""
    )
}

fn certificate(host: &HostPort, error: &CertificateError) -> String {
    use CertificateError as Cause;
    match error {
        Cause::UnknownIssuer | Cause::BadSignature => format!(
            "the certificate of {host} is not trusted: no known authority has issued it; give its \
             authority's certificate in advanced.sslrootcert"
        ),
        Cause::Expired | Cause::ExpiredContext { .. } => format!(
            "the certificate of {host} has expired: it has to be renewed on the server (or the \
             clock of this machine is wrong)"
        ),
        Cause::NotValidYet | Cause::NotValidYetContext { .. } => format!(
            "the certificate of {host} is not valid yet: see the clocks of the server and of this \
             machine"
        ),
        Cause::NotValidForNameContext { presented, .. } => format!(
            "the certificate of {host} is for another name ({}): give the name that it is for as \
             address, or set advanced.sslmode to \"verify-ca\" to trust its authority alone",
            presented.join(", ")
        ),
        _ => format!("the certificate of {host} cannot be accepted"),
    }
}

fn refused(host: &HostPort, alert: AlertDescription) -> String {
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
