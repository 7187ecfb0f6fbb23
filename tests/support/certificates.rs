//! Certificate authorities and the certificates that they issue.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

/// A certificate and its private key, as PEM.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate can be made"))
    }

    /// Returns the authority's own certificate, as PEM.
    pub(crate) fn certificate(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for the given names and addresses.
    pub(crate) fn issue(&self, common_name: &str, names: &[&str]) -> Identity {
        self.sign(&params(common_name, names))
    }

    /// Issues a certificate that has expired.
    pub(crate) fn issue_expired(&self, common_name: &str, names: &[&str]) -> Identity {
        let mut params = params(common_name, names);
        params.not_after = date_time_ymd(2020, 1, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key can be made");
        let made = params
            .signed_by(&key, &self.0)
            .expect("a certificate can be made");
        Identity {
            certificate: made.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// Makes a self-signed certificate.
pub(crate) fn self_signed(common_name: &str, names: &[&str]) -> Identity {
    let key = KeyPair::generate().expect("a key can be made");
    let made = params(common_name, names)
        .self_signed(&key)
        .expect("a certificate can be made");
    Identity {
        certificate: made.pem(),
        key: key.serialize_pem(),
    }
}

fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("the names are valid");
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
    params
}
