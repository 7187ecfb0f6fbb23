//! Change of one row, with its values borrowed from the message.

use protocol::{DataRow, LogicalReplicationMessage, Oid, OldTuple, Tuple, TupleArena, TupleData};

/// Kind of a change, as documents name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The row was inserted, or a backfill read it.
    Create,
    /// The row was updated.
    Update,
    /// The row was deleted.
    Delete,
}

impl Operation {
    /// Returns the letter of the operation in documents (`_meta.op`).
    pub fn letter(self) -> char {
        match self {
            Self::Create => 'c',
            Self::Update => 'u',
            Self::Delete => 'd',
        }
    }
}

/// Values of a row before or after a change.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// The values, in the order of the relation's columns.
    pub values: &'a [TupleData<'a>],
    /// Whether only the columns of the replica identity have values. The server sends all others as
    /// null, whatever the row has.
    pub key_only: bool,
}

impl<'a> Image<'a> {
    /// Returns the value of a column. One that is missing, or null in a key-only image, counts as
    /// not sent.
    #[inline]
    pub fn get(&self, index: usize) -> TupleData<'a> {
        match self.values.get(index) {
            Some(TupleData::Null) if self.key_only => TupleData::UnchangedToast,
            Some(value) => *value,
            None => TupleData::UnchangedToast,
        }
    }
}

/// Change of one row. `old` and `new` have the values that the server sent.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Relation of the row.
    pub relation: Oid,
    /// Kind of the change.
    pub operation: Operation,
    /// Row before the change, if the server sends it for the table's replica identity.
    pub old: Option<Image<'a>>,
    /// Row after the change. TOAST values that the server did not send are taken from `old`, if it
    /// has them.
    pub new: Option<Image<'a>>,
}

impl<'a> Change<'a> {
    /// Makes the record of a message. Returns `None` if the message does not change one row.
    #[inline(always)]
    pub fn from_message(
        message: &LogicalReplicationMessage<'a>,
        arena: &'a TupleArena,
    ) -> Option<Self> {
        match message {
            LogicalReplicationMessage::Insert(insert) => Some(Self {
                relation: insert.relation,
                operation: Operation::Create,
                old: None,
                new: Some(image(&insert.new)),
            }),
            LogicalReplicationMessage::Update(update) => {
                let old = update.old.as_ref().map(|old| old_image(old));
                Some(Self {
                    relation: update.relation,
                    operation: Operation::Update,
                    old,
                    new: Some(new_image(&update.new, old, arena)),
                })
            }
            LogicalReplicationMessage::Delete(delete) => Some(Self {
                relation: delete.relation,
                operation: Operation::Delete,
                old: Some(old_image(&delete.old)),
                new: None,
            }),
            _ => None,
        }
    }

    /// Makes the record of a row that a backfill read.
    #[inline]
    pub fn from_row(relation: Oid, row: &DataRow<'a>, arena: &'a TupleArena) -> Self {
        let values = arena.alloc_nulls(row.len());
        for (target, value) in values.iter_mut().zip(row.iter()) {
            if let Some(text) = value {
                *target = TupleData::Text(text);
            }
        }
        Self {
            relation,
            operation: Operation::Create,
            old: None,
            new: Some(Image {
                values,
                key_only: false,
            }),
        }
    }

    /// Returns the image that the document's columns are taken from: the old one for a delete.
    #[inline]
    pub fn document_image(&self) -> Option<Image<'a>> {
        self.borrow_image().copied()
    }

    /// Borrows the image that the document's columns are taken from. A copy would go through memory
    /// and stall on it.
    #[inline]
    pub(super) fn borrow_image(&self) -> Option<&Image<'a>> {
        match self.operation {
            Operation::Delete => self.old.as_ref(),
            Operation::Create | Operation::Update => self.new.as_ref(),
        }
    }
}

fn old_image<'a>(old: &OldTuple<'a>) -> Image<'a> {
    Image {
        values: old.tuple().values(),
        key_only: matches!(old, OldTuple::Key(_)),
    }
}

/// Returns the image of an updated row, with unchanged TOAST values taken from the old row.
fn new_image<'a>(tuple: &Tuple<'a>, old: Option<Image<'a>>, arena: &'a TupleArena) -> Image<'a> {
    let is_toast = |value: &TupleData<'_>| matches!(value, TupleData::UnchangedToast);
    match old {
        Some(old) if tuple.values().iter().any(is_toast) => {
            let values = arena.alloc_nulls(tuple.len());
            for ((index, target), value) in values.iter_mut().enumerate().zip(tuple.values()) {
                *target = if is_toast(value) {
                    old.get(index)
                } else {
                    *value
                };
            }
            Image {
                values,
                key_only: false,
            }
        }
        _ => image(tuple),
    }
}

#[inline]
fn image<'a>(tuple: &Tuple<'a>) -> Image<'a> {
    Image {
        values: tuple.values(),
        key_only: false,
    }
}
