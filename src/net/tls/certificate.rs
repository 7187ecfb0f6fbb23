//! Contents of a server's certificate: names, validity, signature.
//!
//! webpki verifies the chain of trust. This module has what libpq needs beyond it: its rules for
//! names, certificates of version 1, which the recipe in PostgreSQL's manual makes, and the hash
//! for channel binding.

use std::net::IpAddr;

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use sha2::{Digest, Sha256, Sha384, Sha512};
use webpki::RawPublicKeyEntity;
use x509_cert::certificate::Version;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};
use x509_cert::spki::AlgorithmIdentifierOwned;

/// A parsed certificate, which need not be valid.
#[derive(Debug)]
pub(super) struct Certificate {
    parsed: x509_cert::Certificate,
}

impl Certificate {
    /// Parses a certificate; `None` if the bytes are not a certificate.
    pub(super) fn parse(der: &CertificateDer<'_>) -> Option<Self> {
        Some(Self {
            parsed: x509_cert::Certificate::from_der(der).ok()?,
        })
    }

    /// Returns whether the certificate has X.509 version 1, which has no extensions.
    pub(super) fn is_version_1(&self) -> bool {
        self.parsed.tbs_certificate().version() == Version::V1
    }

    /// Returns whether issuer and subject are equal, so that no other certificate vouches for it.
    pub(super) fn is_self_issued(&self) -> bool {
        let signed = self.parsed.tbs_certificate();
        signed.issuer() == signed.subject()
    }

    /// Returns whether the certificate is valid at the time `now`.
    pub(super) fn validity(&self, now: UnixTime) -> Validity {
        let validity = self.parsed.tbs_certificate().validity();
        if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
            Validity::NotYet
        } else if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
            Validity::Expired
        } else {
            Validity::Valid
        }
    }

    /// Returns the public key of the subject in DER form.
    pub(super) fn public_key(&self) -> Option<Vec<u8>> {
        let key = self.parsed.tbs_certificate().subject_public_key_info();
        key.to_der().ok()
    }

    /// Returns whether `issuer` has signed the certificate.
    pub(super) fn is_signed_by(
        &self,
        issuer: &Self,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let signed = self.parsed.tbs_certificate();
        if signed.issuer() != issuer.parsed.tbs_certificate().subject() {
            return false;
        }
        let (Some(key), Ok(message)) = (issuer.public_key(), signed.to_der()) else {
            return false;
        };
        let key = key.as_slice().into();
        let Ok(key) = RawPublicKeyEntity::try_from(&key) else {
            return false;
        };
        let Ok(algorithm) = self.parsed.signature_algorithm().to_der() else {
            return false;
        };
        algorithms
            .iter()
            // webpki stores identifiers without the tag and the length of the sequence.
            .filter(|known| algorithm.ends_with(known.signature_alg_id().as_ref()))
            .any(|known| {
                let signature = self.parsed.signature().raw_bytes();
                key.verify_signature(*known, &message, signature).is_ok()
            })
    }

    /// Returns whether the certificate is for this host, by the rules of libpq: alternative names
    /// of the host's kind (DNS name or IP address) decide; the common name counts only if there are
    /// none.
    pub(super) fn is_for(&self, host: &str) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        let names = self.alternative_names();
        let is_of_kind = |name: &GeneralName| match name {
            GeneralName::DnsName(_) => address.is_none(),
            GeneralName::IpAddress(_) => address.is_some(),
            _ => false,
        };
        let matches = |name: &GeneralName| match name {
            GeneralName::DnsName(name) => name_matches(name.as_str(), host),
            GeneralName::IpAddress(bytes) => match address {
                Some(IpAddr::V4(address)) => bytes.as_bytes() == address.octets(),
                Some(IpAddr::V6(address)) => bytes.as_bytes() == address.octets(),
                None => false,
            },
            _ => false,
        };
        if names.iter().any(matches) {
            return true;
        }
        !names.iter().any(is_of_kind)
            && self
                .common_name()
                .is_some_and(|name| name_matches(&name, host))
    }

    /// Returns the names in the certificate, for an error message.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .alternative_names()
            .iter()
            .filter_map(|name| match name {
                GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
                GeneralName::IpAddress(bytes) => {
                    let bytes = bytes.as_bytes();
                    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
                    let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
                    v4.or(v6).ok().map(|address| address.to_string())
                }
                _ => None,
            })
            .collect();
        if names.is_empty() {
            names.extend(self.common_name());
        }
        names
    }

    /// Returns the hash for the channel binding `tls-server-end-point` (RFC 5929). The hash
    /// function is that of the certificate's signature, with SHA-256 in place of MD5 and SHA-1;
    /// `None` if the RFC does not define one.
    pub(super) fn end_point_hash(&self, der: &CertificateDer<'_>) -> Option<Vec<u8>> {
        let algorithm = self.parsed.signature_algorithm();
        let oid = if algorithm.oid == RSASSA_PSS {
            pss_hash(algorithm.parameters.as_ref()?.value())?
        } else {
            algorithm.oid
        };
        match HASHES.iter().find(|(known, _)| *known == oid)?.1 {
            Hash::Sha256 => Some(Sha256::digest(der).to_vec()),
            Hash::Sha384 => Some(Sha384::digest(der).to_vec()),
            Hash::Sha512 => Some(Sha512::digest(der).to_vec()),
        }
    }

    fn alternative_names(&self) -> Vec<GeneralName> {
        match self
            .parsed
            .tbs_certificate()
            .get_extension::<SubjectAltName>()
        {
            Ok(Some((_, names))) => names.0,
            _ => Vec::new(),
        }
    }

    fn common_name(&self) -> Option<String> {
        let name = self
            .parsed
            .tbs_certificate()
            .subject()
            .common_name()
            .ok()??;
        match name {
            DirectoryString::PrintableString(name) => Some(name.as_str().to_owned()),
            DirectoryString::Utf8String(name) => Some(name),
            _ => None,
        }
    }
}

/// Validity of a certificate at one point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Validity {
    NotYet,
    Valid,
    Expired,
}

#[derive(Debug, Clone, Copy)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");

/// Hash functions by the OID of the signature algorithm that uses them, or by their own OID.
const HASHES: [(ObjectIdentifier, Hash); 13] = [
    // With RSA: MD5, SHA-1, SHA-256, SHA-384, SHA-512.
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"),
        Hash::Sha256,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"),
        Hash::Sha256,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"),
        Hash::Sha256,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12"),
        Hash::Sha384,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13"),
        Hash::Sha512,
    ),
    // With ECDSA: SHA-1, SHA-256, SHA-384, SHA-512.
    (
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"),
        Hash::Sha256,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"),
        Hash::Sha256,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"),
        Hash::Sha384,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4"),
        Hash::Sha512,
    ),
    // Their own OIDs, as parameters of RSASSA-PSS: SHA-1, SHA-256, SHA-384, SHA-512.
    (SHA_1, Hash::Sha256),
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"),
        Hash::Sha256,
    ),
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2"),
        Hash::Sha384,
    ),
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3"),
        Hash::Sha512,
    ),
];

/// Returns the hash function in the parameters of RSASSA-PSS: their first member, with tag 0.
fn pss_hash(parameters: &[u8]) -> Option<ObjectIdentifier> {
    match parameters {
        [0xa0, length, rest @ ..] => {
            let algorithm = rest.get(..usize::from(*length))?;
            Some(AlgorithmIdentifierOwned::from_der(algorithm).ok()?.oid)
        }
        _ => Some(SHA_1),
    }
}

/// Returns whether a name in a certificate matches the host. `*.` at its start stands for one
/// label.
fn name_matches(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(suffix), Some((label, rest))) = (pattern.strip_prefix("*."), host.split_once('.'))
    else {
        return false;
    };
    !label.is_empty() && !suffix.is_empty() && suffix.eq_ignore_ascii_case(rest)
}
