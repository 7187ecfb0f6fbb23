//! What describes rows: relations and types.

use std::{fmt, iter::FusedIterator};

use nom::Parser;

use super::{ParseContext, message::stream_xid};
use crate::{
    codec::{Malformed, Parsed, c_str, int32, oid, uint8, uint16},
    error::DecodeErrorKind,
    ids::{Oid, Xid},
};

/// A table's columns, sent before its first row and after each change.
///
/// See [Relation](https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html#PROTOCOL-LOGICALREP-MESSAGE-FORMATS-RELATION).
#[derive(Clone, Copy)]
pub struct RelationMessage<'a> {
    /// The transaction, within a stream block.
    pub xid: Option<Xid>,
    /// The table that later messages mean by this.
    pub relation: Oid,
    /// The schema; empty for `pg_catalog`.
    pub namespace: &'a str,
    /// The table's name.
    pub name: &'a str,
    /// Which columns old rows come with.
    pub replica_identity: ReplicaIdentity,
    count: u16,
    columns: &'a [u8],
}

impl<'a> RelationMessage<'a> {
    pub(super) fn parse(input: &'a [u8], context: ParseContext) -> Parsed<'a, Self> {
        let (input, xid) = stream_xid(input, context)?;
        let (input, (relation, namespace, name, replica_identity)) =
            (oid, c_str, c_str, ReplicaIdentity::parse).parse(input)?;
        let (columns, count) = uint16(input)?;
        let mut rest = columns;
        for _ in 0..count {
            (rest, _) = Column::parse(rest)?;
        }
        Ok((
            rest,
            Self {
                xid,
                relation,
                namespace,
                name,
                replica_identity,
                count,
                columns,
            },
        ))
    }

    /// Returns the number of columns.
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Returns whether there are no columns.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the columns in the order of the tuples' values.
    pub fn columns(&self) -> ColumnIter<'a> {
        ColumnIter {
            left: self.count,
            rest: self.columns,
        }
    }
}

impl PartialEq for RelationMessage<'_> {
    /// Compares what is known of the columns, and not their flags that are not defined yet.
    fn eq(&self, other: &Self) -> bool {
        (
            self.xid,
            self.relation,
            self.namespace,
            self.name,
            self.replica_identity,
        ) == (
            other.xid,
            other.relation,
            other.namespace,
            other.name,
            other.replica_identity,
        ) && self.columns().eq(other.columns())
    }
}

impl Eq for RelationMessage<'_> {}

impl fmt::Debug for RelationMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelationMessage")
            .field("xid", &self.xid)
            .field("relation", &self.relation)
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("replica_identity", &self.replica_identity)
            .field("columns", &self.columns().collect::<Vec<_>>())
            .finish()
    }
}

/// A table's replica identity: which columns old rows come with.
///
/// See <https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-REPLICA-IDENTITY>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplicaIdentity {
    /// Those of the primary key, if there is one.
    Default,
    /// None.
    Nothing,
    /// All.
    Full,
    /// Those of an index.
    Index,
}

impl ReplicaIdentity {
    fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (rest, code) = uint8(input)?;
        match Self::from_code(code) {
            Some(identity) => Ok((rest, identity)),
            None => Err(Malformed::at(input, DecodeErrorKind::InvalidValue)),
        }
    }

    /// Makes one of a value of `pg_class.relreplident`.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            b'd' => Some(Self::Default),
            b'n' => Some(Self::Nothing),
            b'f' => Some(Self::Full),
            b'i' => Some(Self::Index),
            _ => None,
        }
    }

    /// Returns the value of `pg_class.relreplident`.
    pub const fn code(self) -> u8 {
        match self {
            Self::Default => b'd',
            Self::Nothing => b'n',
            Self::Full => b'f',
            Self::Index => b'i',
        }
    }
}

/// The columns of a [`RelationMessage`].
#[derive(Debug, Clone)]
pub struct ColumnIter<'a> {
    left: u16,
    rest: &'a [u8],
}

impl<'a> Iterator for ColumnIter<'a> {
    type Item = Column<'a>;

    fn next(&mut self) -> Option<Column<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (rest, column) = Column::parse(self.rest).ok()?;
        self.rest = rest;
        Some(column)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for ColumnIter<'_> {}

impl FusedIterator for ColumnIter<'_> {}

/// A column of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// Whether it is one of the replica identity.
    pub is_key: bool,
    /// The column's name.
    pub name: &'a str,
    /// The data type.
    pub type_oid: Oid,
    /// The type's modifier, such as the length of a varchar; -1 for none.
    pub type_modifier: i32,
}

impl<'a> Column<'a> {
    pub(crate) const KEY_FLAG: u8 = 1;

    fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, (flags, name, type_oid, type_modifier)) =
            (uint8, c_str, oid, int32).parse(input)?;
        // Flags that are not defined yet are ignored, as the server's own subscriber does.
        let is_key = flags & Self::KEY_FLAG != 0;
        Ok((
            input,
            Self {
                is_key,
                name,
                type_oid,
                type_modifier,
            },
        ))
    }
}

/// A type's name, sent before the relation that has a column of it, unless it is built in.
///
/// See [Type](https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html#PROTOCOL-LOGICALREP-MESSAGE-FORMATS-TYPE).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeMessage<'a> {
    /// The transaction, within a stream block.
    pub xid: Option<Xid>,
    /// The data type.
    pub type_oid: Oid,
    /// The schema; empty for `pg_catalog`.
    pub namespace: &'a str,
    /// The type's name.
    pub name: &'a str,
}

impl<'a> TypeMessage<'a> {
    pub(super) fn parse(input: &'a [u8], context: ParseContext) -> Parsed<'a, Self> {
        let (input, xid) = stream_xid(input, context)?;
        let (input, (type_oid, namespace, name)) = (oid, c_str, c_str).parse(input)?;
        Ok((
            input,
            Self {
                xid,
                type_oid,
                namespace,
                name,
            },
        ))
    }
}
