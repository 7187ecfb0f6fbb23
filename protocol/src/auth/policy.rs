//! Requirements of the caller on the authentication.

use crate::message::Authentication;

/// Use of channel binding, as libpq's `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BindingPolicy {
    /// Never used.
    Disable,
    /// Used if the client and the server support it.
    #[default]
    Prefer,
    /// Required: only SCRAM-SHA-256-PLUS is accepted.
    Require,
}

impl BindingPolicy {
    /// Parses a value in libpq's spelling. Returns `None` if it is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "disable" => Some(Self::Disable),
            "prefer" => Some(Self::Prefer),
            "require" => Some(Self::Require),
            _ => None,
        }
    }
}

/// Authentication methods in libpq's spelling for `require_auth`.
const METHODS: [&str; 7] = [
    "none",
    "password",
    "md5",
    "gss",
    "sspi",
    "scram-sha-256",
    "oauth",
];

/// Authentication methods that are allowed, as libpq's `require_auth`. Default: all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowedMethods([bool; METHODS.len()]);

impl Default for AllowedMethods {
    fn default() -> Self {
        Self([true; METHODS.len()])
    }
}

impl AllowedMethods {
    /// Parses a list in libpq's syntax: methods separated by commas, either those that are allowed
    /// or, each prefixed with `!`, those that are not. Returns `None` if the list is invalid.
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

    /// Returns the name of the method that the server requests, if it is not allowed.
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
            // Not supported, so refused later.
            _ => return None,
        };
        (!self.allows(method)).then_some(method)
    }
}

/// Requirements on the authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Policy {
    /// Whether a password may be sent in clear text over a connection without TLS.
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
