//! Which server of a list is wanted, as libpq's `target_session_attrs`.

/// What a server has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum SessionAttrs {
    /// Anything.
    #[default]
    Any,
    /// One that can be written to.
    ReadWrite,
    /// One that cannot.
    ReadOnly,
    /// No standby.
    Primary,
    /// A standby.
    Standby,
    /// A standby if there is one.
    PreferStandby,
}

impl SessionAttrs {
    /// Reads libpq's spelling.
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

    /// Returns what to look for in turn over the whole list.
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
