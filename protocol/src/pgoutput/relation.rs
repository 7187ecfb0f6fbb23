//! Descriptions of relations and data types.

use std::{fmt, iter::FusedIterator};

use nom::Parser;

use super::{ParseContext, message::stream_xid};
use crate::{
    codec::{Malformed, Parsed, c_str, int32, oid, uint8, uint16},
    error::DecodeErrorKind,
    ids::{Oid, Xid},
};

/// Description of a table and its columns.
///
/// The server sends it before the first row of the table, and again after each change of its
/// definition.
///
/// See [Relation](https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html#PROTOCOL-LOGICALREP-MESSAGE-FORMATS-RELATION).
#[derive(Clone, Copy)]
pub struct RelationMessage<'a> {
    /// Transaction, within a stream block.
    pub xid: Option<Xid>,
    /// Identifier of the table in later messages.
    pub relation: Oid,
    /// Schema; empty for `pg_catalog`.
    pub namespace: &'a str,
    /// Name of the table.
    pub name: &'a str,
    /// Replica identity of the table.
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

    /// Returns an iterator over the columns, in the order of the values of tuples.
    pub fn columns(&self) -> ColumnIter<'a> {
        ColumnIter {
            left: self.count,
            rest: self.columns,
        }
    }
}

impl PartialEq for RelationMessage<'_> {
    /// Compares all defined fields, but not flags of columns that are not defined.
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

/// Replica identity of a table: the columns that the server sends of old rows.
///
/// See <https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-REPLICA-IDENTITY>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplicaIdentity {
    /// Columns of the primary key, if there is one.
    Default,
    /// No columns.
    Nothing,
    /// All columns.
    Full,
    /// Columns of a unique index.
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

    /// Converts a value of `pg_class.relreplident`. Returns `None` if it is unknown.
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

/// Iterator over the columns of a [`RelationMessage`].
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

/// Column of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// Whether the column is part of the replica identity.
    pub is_key: bool,
    /// Name of the column.
    pub name: &'a str,
    /// Data type.
    pub type_oid: Oid,
    /// Type modifier, such as the length of a varchar; -1 for none.
    pub type_modifier: i32,
}

impl<'a> Column<'a> {
    pub(crate) const KEY_FLAG: u8 = 1;

    fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, (flags, name, type_oid, type_modifier)) =
            (uint8, c_str, oid, int32).parse(input)?;
        // Unknown flags are ignored, as PostgreSQL's own subscriber does.
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

/// Description of a data type that is not built in.
///
/// The server sends it before the description of a relation that has a column of the type.
///
/// See [Type](https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html#PROTOCOL-LOGICALREP-MESSAGE-FORMATS-TYPE).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeMessage<'a> {
    /// Transaction, within a stream block.
    pub xid: Option<Xid>,
    /// Data type.
    pub type_oid: Oid,
    /// Schema; empty for `pg_catalog`.
    pub namespace: &'a str,
    /// Name of the type.
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
