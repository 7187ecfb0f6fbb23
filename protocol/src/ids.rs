//! Identifiers that the server assigns.

use std::fmt;

/// Object identifier, for example of a relation or a data type.
///
/// See <https://www.postgresql.org/docs/current/datatype-oid.html>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Oid(pub u32);

impl Oid {
    /// The invalid identifier, which stands for no object.
    pub const INVALID: Self = Self(0);

    /// Returns the number.
    #[inline]
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl From<u32> for Oid {
    #[inline]
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Transaction identifier of 32 bits, without the epoch.
///
/// The numbers wrap around, so the type has no order.
///
/// See <https://www.postgresql.org/docs/current/transaction-id.html>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Xid(pub u32);

impl Xid {
    /// The invalid identifier, which stands for no transaction.
    pub const INVALID: Self = Self(0);

    /// Returns the number.
    #[inline]
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl From<u32> for Xid {
    #[inline]
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Process identifier of the backend of a session, as in `pg_stat_activity.pid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ProcessId(pub u32);

impl ProcessId {
    /// Returns the number.
    #[inline]
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl From<u32> for ProcessId {
    #[inline]
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_display_as_their_number() {
        assert_eq!(Oid(1043).to_string(), "1043");
        assert_eq!(Xid(u32::MAX).to_string(), "4294967295");
        assert_eq!(ProcessId::from(7).to_string(), "7");
        assert_eq!(Oid::from(5).as_u32() + Xid::from(6).as_u32(), 11);
        assert_eq!(
            (Oid::INVALID, Xid::INVALID),
            (Oid::default(), Xid::default())
        );
    }
}
