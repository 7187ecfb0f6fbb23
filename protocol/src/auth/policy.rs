//! What the caller accepts of a server that asks who we are.

use crate::message::Authentication;

/// Whether a login is bound to the TLS connection, as libpq's `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BindingPolicy {
    /// Never.
    Disable,
    /// Where both sides can.
    #[default]
    Prefer,
    /// Always: nothing but SCRAM-SHA-256-PLUS is a login.
    Require,
}

impl BindingPolicy {
    /// Reads libpq's spelling.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "disable" => Some(Self::Disable),
            "prefer" => Some(Self::Prefer),
            "require" => Some(Self::Require),
            _ => None,
        }
    }
}

/// Methods in libpq's spelling for `require_auth`.
const METHODS: [&str; 7] = [
    "none",
    "password",
    "md5",
    "gss",
    "sspi",
    "scram-sha-256",
    "oauth",
];

/// The methods by which a login may go, as libpq's `require_auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowedMethods([bool; METHODS.len()]);

impl Default for AllowedMethods {
    fn default() -> Self {
        Self([true; METHODS.len()])
    }
}

impl AllowedMethods {
    /// Reads a list as libpq takes it: methods separated by commas, either those that are allowed,
    /// or, each behind `!`, those that are not.
    pub fn parse(text: &str) -> Option<Self> {
        let entries: Vec<_> = text.split(',').map(str::trim).collect();
        let excludes = entries.iter().all(|entry| entry.starts_with('!'));
        let mut allowed = [excludes; METHODS.len()];
        for entry in entries {
            let name = if excludes {
                entry.strip_prefix('!')?
            } else {
                entry
            };
            let index = METHODS.iter().position(|known| *known == name)?;
            *allowed.get_mut(index)? = !excludes;
        }
        Some(Self(allowed))
    }

    fn allows(self, method: &str) -> bool {
        METHODS
            .iter()
            .zip(self.0)
            .any(|(known, allowed)| *known == method && allowed)
    }

    /// Returns the name of what the server asks for where that is not allowed.
    pub(super) fn refused_method(self, message: &Authentication<'_>) -> Option<&'static str> {
        let method = match message {
            Authentication::Ok => "none",
            Authentication::CleartextPassword => "password",
            Authentication::Md5Password { .. } => "md5",
            Authentication::Gss => "gss",
            Authentication::Sspi => "sspi",
            Authentication::Sasl(offered) => {
                if offered.iter().any(|name| name.starts_with("SCRAM-SHA-256")) {
                    "scram-sha-256"
                } else {
                    "oauth"
                }
            }
            // Refused in any case.
            _ => return None,
        };
        (!self.allows(method)).then_some(method)
    }
}

/// All of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Policy {
    /// A password in clear text may go over a connection without TLS.
    pub(crate) allow_cleartext: bool,
    pub(crate) binding: BindingPolicy,
    pub(crate) methods: AllowedMethods,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_methods_allow_or_exclude() {
        let parse = |text| AllowedMethods::parse(text).unwrap();
        assert!(parse("md5, scram-sha-256").allows("md5"));
        assert!(!parse("md5,scram-sha-256").allows("password"));
        assert!(!parse("!password,!none").allows("none"));
        assert!(parse("!password,!none").allows("md5"));
        for wrong in ["", "md5,!none", "kerberos", "!", "md5,,none"] {
            assert_eq!(AllowedMethods::parse(wrong), None, "{wrong}");
        }
    }
}
