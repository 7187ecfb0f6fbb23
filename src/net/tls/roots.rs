//! Trusted certificate authorities.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

/// Trusted authorities, as trust anchors and as the configured certificates.
#[derive(Debug)]
pub(super) struct Roots {
    anchors: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// Trusts only these certificates.
    pub(super) fn only(certificates: Vec<CertificateDer<'static>>) -> Self {
        Self::with(RootCertStore::empty(), certificates)
    }

    /// Trusts these certificates and the authorities that Mozilla trusts.
    pub(super) fn public_and(certificates: Vec<CertificateDer<'static>>) -> Self {
        let anchors = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        Self::with(anchors, certificates)
    }

    fn with(mut anchors: RootCertStore, certificates: Vec<CertificateDer<'static>>) -> Self {
        // A certificate that cannot be a trust anchor may still be that of the server itself.
        anchors.add_parsable_certificates(certificates.iter().cloned());
        Self {
            anchors,
            certificates,
        }
    }

    pub(super) fn anchors(&self) -> &RootCertStore {
        &self.anchors
    }

    /// Returns the configured certificates, without the public ones.
    pub(super) fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.certificates.iter()
    }

    /// Returns whether this certificate is one of those configured.
    pub(super) fn contains(&self, certificate: &CertificateDer<'_>) -> bool {
        self.certificates.iter().any(|known| known == certificate)
    }
}
