//! The role that a server must have, like `target_session_attrs` of libpq.

/// Role that a server must have to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum SessionAttrs {
    /// Any role.
    #[default]
    Any,
    /// Accepts writes by default.
    ReadWrite,
    /// Does not accept writes by default.
    ReadOnly,
    /// Not a standby.
    Primary,
    /// A standby.
    Standby,
    /// A standby; if there is none, any server.
    PreferStandby,
}

impl SessionAttrs {
    /// Parses the spelling of libpq.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "any" => Some(Self::Any),
            "read-write" => Some(Self::ReadWrite),
            "read-only" => Some(Self::ReadOnly),
            "primary" => Some(Self::Primary),
            "standby" => Some(Self::Standby),
            "prefer-standby" => Some(Self::PreferStandby),
            _ => None,
        }
    }

    /// Returns the roles to look for. The whole list of hosts is tried with each.
    pub(super) fn passes(self) -> &'static [Self] {
        match self {
            Self::Any => &[Self::Any],
            Self::ReadWrite => &[Self::ReadWrite],
            Self::ReadOnly => &[Self::ReadOnly],
            Self::Primary => &[Self::Primary],
            Self::Standby => &[Self::Standby],
            Self::PreferStandby => &[Self::Standby, Self::Any],
        }
    }
}
