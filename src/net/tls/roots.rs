//! The certificate authorities that are trusted.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

/// Trusted authorities, as anchors of a chain and as the certificates that were given.
#[derive(Debug)]
pub(super) struct Roots {
    anchors: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// Trusts these certificates alone.
    pub(super) fn only(certificates: Vec<CertificateDer<'static>>) -> Self {
        Self::with(RootCertStore::empty(), certificates)
    }

    /// Trusts the authorities that browsers trust, and these certificates.
    pub(super) fn public_and(certificates: Vec<CertificateDer<'static>>) -> Self {
        let anchors = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        Self::with(anchors, certificates)
    }

    fn with(mut anchors: RootCertStore, certificates: Vec<CertificateDer<'static>>) -> Self {
        // One that cannot be an anchor of a chain may still be the server's own.
        anchors.add_parsable_certificates(certificates.iter().cloned());
        Self {
            anchors,
            certificates,
        }
    }

    pub(super) fn anchors(&self) -> &RootCertStore {
        &self.anchors
    }

    /// Returns the certificates that were given, without the public ones.
    pub(super) fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.certificates.iter()
    }

    /// Returns whether this very certificate was given.
    pub(super) fn contains(&self, certificate: &CertificateDer<'_>) -> bool {
        self.certificates.iter().any(|known| known == certificate)
    }
}
