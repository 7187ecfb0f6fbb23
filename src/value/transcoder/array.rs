//! Arrays, read from the server's text in one pass.
//!
//! See <https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO>.

use std::cell::RefCell;

use super::super::error::ValueError;
use super::super::options::ValueOptions;
use crate::json::{self, OutputCursor};

/// Writer of an array's elements.
pub(super) trait ElementWriter {
    /// Appends the JSON of an element.
    fn write_to(&self, text: &[u8], cursor: &mut OutputCursor<'_>) -> Result<(), ValueError>;
}

/// Writer of arrays.
#[derive(Debug, Clone)]
pub(super) struct Array<E> {
    pub(super) element: E,
    pub(super) delimiter: u8,
    pub(super) options: ValueOptions,
    /// Memory in which elements are unescaped, reused for all rows.
    pub(super) scratch: RefCell<Vec<u8>>,
}

/// Size in bytes above which that memory is freed after a value, so that one huge element does not
/// hold it forever.
const MAX_SCRATCH: usize = 64 * 1024;

/// Limit of the server for dimensions.
const MAX_DIMENSIONS: usize = 6;

const ARRAY: ValueError = ValueError::new("array", "elements in braces");

impl<E: ElementWriter> Array<E> {
    pub(super) fn write(
        &self,
        text: &[u8],
        cursor: &mut OutputCursor<'_>,
    ) -> Result<(), ValueError> {
        let text = strip_bounds(text)?;
        let mut dimensions = Dimensions::default();
        if self.options.multidimensional_arrays {
            return self.write_elements(text, true, &mut dimensions, cursor);
        }
        let object = !self.options.flatten_arrays;
        if object {
            cursor.push(b"{\"elements\":");
        }
        cursor.push(b"[");
        self.write_elements(text, false, &mut dimensions, cursor)?;
        cursor.push(b"]");
        if object {
            cursor.push(b",\"dimensions\":[");
            for (index, length) in dimensions.known().enumerate() {
                if index > 0 {
                    cursor.push(b",");
                }
                cursor.push_u64(length);
            }
            cursor.push(b"]}");
        }
        Ok(())
    }

    /// Appends the elements with commas between them, and with brackets around each dimension if
    /// `nested`.
    fn write_elements(
        &self,
        text: &[u8],
        nested: bool,
        dimensions: &mut Dimensions,
        cursor: &mut OutputCursor<'_>,
    ) -> Result<(), ValueError> {
        let mut scratch = self.scratch.take();
        let written = self.write_levels(&mut scratch, text, nested, dimensions, cursor);
        if scratch.capacity() <= MAX_SCRATCH {
            self.scratch.replace(scratch);
        }
        written
    }

    fn write_levels(
        &self,
        scratch: &mut Vec<u8>,
        text: &[u8],
        nested: bool,
        dimensions: &mut Dimensions,
        cursor: &mut OutputCursor<'_>,
    ) -> Result<(), ValueError> {
        let mut rest = text;
        let mut is_first = true;
        loop {
            if let [b'{', after @ ..] = rest {
                dimensions.open()?;
                rest = after;
                if nested {
                    cursor.push(b"[");
                }
                // Only an array without dimensions is empty.
                if dimensions.depth > 1 || rest.first() != Some(&b'}') {
                    continue;
                }
                dimensions.close_empty();
            } else {
                if dimensions.depth == 0 {
                    return Err(ARRAY);
                }
                if !nested && !is_first {
                    cursor.push(b",");
                }
                is_first = false;
                rest = self.write_element(rest, scratch, cursor)?;
                dimensions.count();
            }
            // An element ended, or an empty array is about to end. Levels around it may end after
            // it.
            loop {
                match rest {
                    [b'}', after @ ..] => {
                        rest = after;
                        if nested {
                            cursor.push(b"]");
                        }
                        if dimensions.close() {
                            return if rest.is_empty() { Ok(()) } else { Err(ARRAY) };
                        }
                    }
                    [byte, after @ ..] if *byte == self.delimiter => {
                        rest = after;
                        if nested {
                            cursor.push(b",");
                        }
                        break;
                    }
                    _ => return Err(ARRAY),
                }
            }
        }
    }

    /// Appends one element, and returns the text after it.
    fn write_element<'a>(
        &self,
        text: &'a [u8],
        scratch: &mut Vec<u8>,
        cursor: &mut OutputCursor<'_>,
    ) -> Result<&'a [u8], ValueError> {
        if let [b'"', quoted @ ..] = text {
            let special = |from: usize| {
                let mut at = from;
                loop {
                    at += json::plain_run(quoted.get(at..).unwrap_or_default());
                    match quoted.get(at) {
                        Some(b'"' | b'\\') => return Ok(at),
                        // A control character, which JSON escapes, has no meaning here.
                        Some(_) => at += 1,
                        None => return Err(ARRAY),
                    }
                }
            };
            scratch.clear();
            let (mut from, mut at) = (0, special(0)?);
            while quoted.get(at) == Some(&b'\\') {
                scratch.extend_from_slice(quoted.get(from..at).unwrap_or_default());
                from = at + 1;
                // The byte after a backslash is taken as it is.
                at = special(at + 2)?;
            }
            let last = quoted.get(from..at).unwrap_or_default();
            if from == 0 {
                self.element.write_to(last, cursor)?;
            } else {
                scratch.extend_from_slice(last);
                self.element.write_to(scratch, cursor)?;
            }
            return Ok(quoted.get(at + 1..).unwrap_or_default());
        }
        let is_end = |byte: &u8| *byte == self.delimiter || *byte == b'}';
        let (element, rest) = text.split_at(text.iter().position(is_end).ok_or(ARRAY)?);
        match element {
            b"" => return Err(ARRAY),
            b"NULL" => cursor.push(b"null"),
            element => self.element.write_to(element, cursor)?,
        }
        Ok(rest)
    }
}

/// Strips the bounds before an array whose indexes do not start at 1.
fn strip_bounds(text: &[u8]) -> Result<&[u8], ValueError> {
    if text.first() != Some(&b'[') {
        return Ok(text);
    }
    let end = text.iter().position(|&byte| byte == b'=').ok_or(ARRAY)?;
    let (bounds, rest) = text.split_at(end);
    if !bounds
        .iter()
        .all(|byte| byte.is_ascii_digit() || b"[]:-".contains(byte))
    {
        return Err(ARRAY);
    }
    Ok(rest.get(1..).unwrap_or_default())
}

/// Length of each dimension, found while reading: the number of items in the first list that ends
/// at its level.
#[derive(Default)]
struct Dimensions {
    depth: usize,
    counts: [u64; MAX_DIMENSIONS],
    lengths: [Option<u64>; MAX_DIMENSIONS],
    is_empty: bool,
}

impl Dimensions {
    fn open(&mut self) -> Result<(), ValueError> {
        *self.counts.get_mut(self.depth).ok_or(ARRAY)? = 0;
        self.depth += 1;
        Ok(())
    }

    fn count(&mut self) {
        if let Some(count) = self.counts.get_mut(self.depth.wrapping_sub(1)) {
            *count += 1;
        }
    }

    /// Ends a level, which is one item of the level around it. Returns whether it was the outermost
    /// level.
    fn close(&mut self) -> bool {
        self.depth -= 1;
        if let (Some(length), Some(count)) = (
            self.lengths.get_mut(self.depth),
            self.counts.get(self.depth),
        ) {
            length.get_or_insert(*count);
        }
        self.count();
        self.depth == 0
    }

    fn close_empty(&mut self) {
        self.is_empty = true;
    }

    fn known(&self) -> impl Iterator<Item = u64> {
        self.lengths
            .iter()
            .copied()
            .map_while(|length| length.filter(|_| !self.is_empty))
    }
}
