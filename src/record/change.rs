//! A change of one row, with its values still on the wire.

use protocol::{DataRow, LogicalReplicationMessage, Oid, OldTuple, Tuple, TupleArena, TupleData};

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It was inserted, or was there already when the table was backfilled.
    Create,
    /// It was updated.
    Update,
    /// It was deleted.
    Delete,
}

impl Operation {
    /// Returns the letter that documents have for it.
    pub fn letter(self) -> char {
        match self {
            Self::Create => 'c',
            Self::Update => 'u',
            Self::Delete => 'd',
        }
    }
}

/// A row as it was before or after a change.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// The values, in the order of the relation's columns.
    pub values: &'a [TupleData<'a>],
    /// Whether only the columns of the replica identity have values: the others are null on the
    /// wire, which says nothing about the row.
    pub key_only: bool,
}

impl<'a> Image<'a> {
    /// Returns a value as it is on the wire; missing ones count as not sent.
    #[inline]
    pub fn get(&self, index: usize) -> TupleData<'a> {
        match self.values.get(index) {
            Some(TupleData::Null) if self.key_only => TupleData::UnchangedToast,
            Some(value) => *value,
            None => TupleData::UnchangedToast,
        }
    }
}

/// A change of one row: `old` and `new` are what the server sent of the row before and after.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The relation that the row belongs to.
    pub relation: Oid,
    /// What happened.
    pub operation: Operation,
    /// The row before, where the replica identity makes the server send it.
    pub old: Option<Image<'a>>,
    /// The row after, with values that did not change and were not sent filled in from before.
    pub new: Option<Image<'a>>,
}

impl<'a> Change<'a> {
    /// Makes a record of a message; `None` where the message is not about a row.
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

    /// Makes a record of a row of a backfill.
    #[inline]
    pub fn from_row(relation: Oid, row: &DataRow<'a>, arena: &'a TupleArena) -> Self {
        let values = arena.alloc_nulls(row.len());
        for (place, value) in values.iter_mut().zip(row.iter()) {
            if let Some(text) = value {
                *place = TupleData::Text(text);
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

    /// Returns the image that the document's columns come from.
    #[inline]
    pub fn document_image(&self) -> Option<Image<'a>> {
        self.borrow_image().copied()
    }

    /// Borrows it: a copy would take the way over memory, and wait there.
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

/// The image of an updated row.
fn new_image<'a>(tuple: &Tuple<'a>, old: Option<Image<'a>>, arena: &'a TupleArena) -> Image<'a> {
    let is_toast = |value: &TupleData<'_>| matches!(value, TupleData::UnchangedToast);
    match old {
        Some(old) if tuple.values().iter().any(is_toast) => {
            let values = arena.alloc_nulls(tuple.len());
            for ((index, place), value) in values.iter_mut().enumerate().zip(tuple.values()) {
                *place = if is_toast(value) {
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
