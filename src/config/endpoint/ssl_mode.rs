//! Modes of `sslmode`.

/// Encryption of connections and verification of the server, as libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SslMode {
    /// Not encrypted.
    Disable,
    /// Encrypted if the server requires it.
    Allow,
    /// Encrypted if the server supports it.
    Prefer,
    /// Encrypted; the server is verified only where trusted authorities are configured.
    Require,
    /// Encrypted; the server has a certificate of a trusted authority.
    VerifyCa,
    /// Encrypted; the server has a certificate of a trusted authority for this host.
    VerifyFull,
}

impl SslMode {
    pub(super) const ALL: [Self; 6] = [
        Self::Disable,
        Self::Allow,
        Self::Prefer,
        Self::Require,
        Self::VerifyCa,
        Self::VerifyFull,
    ];

    /// Parses the value of `sslmode`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }

    /// Returns the value of `sslmode`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}
