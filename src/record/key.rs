//! Row keys: the values of a row's key columns, compared in the server's order and stored in the
//! state.

use std::cmp::Ordering;

use protocol::TupleData;

use super::change::Image;
use crate::error::{Error, ErrorKind, Result};
use crate::value::{KeyCodec, KeyValue};

/// Key of a row: one value for each key column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RowKey {
    values: Vec<KeyValue>,
}

impl RowKey {
    /// Reads the key from an image. Returns `None` if a key column was not sent.
    ///
    /// # Errors
    ///
    /// Fails if a value is not in the text form of its type.
    #[cfg(test)]
    pub(crate) fn of(image: &Image<'_>, columns: &[(usize, KeyCodec)]) -> Result<Option<Self>> {
        let mut key = Self::default();
        Ok(key.read(image, columns)?.then_some(key))
    }

    /// Replaces this key by the key of another row, reusing its memory. Returns whether all key
    /// columns were sent.
    ///
    /// # Errors
    ///
    /// Fails if a value is not in the text form of its type.
    pub fn read(&mut self, image: &Image<'_>, columns: &[(usize, KeyCodec)]) -> Result<bool> {
        self.values.clear();
        for (index, codec) in columns {
            let text = match image.get(*index) {
                TupleData::Text(text) => Some(text),
                TupleData::Null => None,
                TupleData::UnchangedToast | TupleData::Binary(_) => return Ok(false),
            };
            self.values.push(codec.parse(text).map_err(unreadable)?);
        }
        Ok(true)
    }

    /// Reads the key from the texts of its columns; `None` is NULL.
    ///
    /// # Errors
    ///
    /// Fails if a value is not in the text form of its type.
    pub fn of_texts(texts: &[Option<String>], codecs: &[KeyCodec]) -> Result<Self> {
        let mut values = Vec::with_capacity(codecs.len());
        for (text, codec) in texts.iter().zip(codecs) {
            let text = text.as_deref().map(str::as_bytes);
            values.push(codec.parse(text).map_err(unreadable)?);
        }
        Ok(Self { values })
    }

    /// Compares the key with another one of the same columns, in the server's order.
    pub fn compare(&self, other: &Self) -> Ordering {
        self.values.cmp(&other.values)
    }

    /// Returns the stored form of the key, as it is in the state.
    pub fn encode(&self, codecs: &[KeyCodec]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (value, codec) in self.values.iter().zip(codecs) {
            codec.encode(value, &mut bytes);
        }
        bytes
    }

    /// Reads a key from its stored form.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are not a key of these columns.
    pub fn decode(bytes: &[u8], codecs: &[KeyCodec]) -> Result<Self> {
        let mut rest = bytes;
        let mut values = Vec::with_capacity(codecs.len());
        for codec in codecs {
            values.push(codec.decode(&mut rest).map_err(|error| {
                Error::new(
                    ErrorKind::State,
                    "the position of a backfill in the state is not a key of its table",
                )
                .with_source(error)
            })?);
        }
        if rest.is_empty() {
            Ok(Self { values })
        } else {
            Err(Error::new(
                ErrorKind::State,
                format!(
                    "the position of a backfill in the state has {} bytes after its {} key columns",
                    rest.len(),
                    codecs.len()
                ),
            ))
        }
    }

    /// Returns the values as parameters of a query for the rows after this key.
    pub fn parameters(&self, codecs: &[KeyCodec]) -> Vec<Option<String>> {
        self.values
            .iter()
            .zip(codecs)
            .map(|(value, codec)| codec.parameter(value))
            .collect()
    }
}

fn unreadable(error: crate::value::ValueError) -> Error {
    Error::new(ErrorKind::Value, "a value of a key column cannot be read").with_source(error)
}
