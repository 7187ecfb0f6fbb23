//! Labels of document members: the comma, the quoted name and the colon.

use crate::json::{self, OutputCursor, VALUE_WINDOW};

/// The JSON text `,"name":`, prepared for one name.
#[derive(Debug)]
pub(super) struct Label {
    /// First bytes of the label; for most names, all of them.
    start: [u8; START],
    /// Number of bytes of `start` that belong to the label.
    length: usize,
    /// Equal to `length`; larger than any window if the label does not fit in `start`.
    end: usize,
    /// Bytes of the label that do not fit in `start`.
    remainder: Vec<u8>,
}

/// Size in bytes of the part of a label that is copied as an array.
const START: usize = 32;

/// Size in bytes of the output window for a label and a short value.
pub(super) const WINDOW: usize = START + VALUE_WINDOW;

impl Label {
    /// Prepares the label of a name.
    pub(super) fn new(name: &str) -> Self {
        let mut label = vec![b','];
        json::write_str(name, &mut label);
        label.push(b':');
        let length = label.len().min(START);
        let remainder = label.split_off(length);
        label.resize(START, 0);
        let start = label.first_chunk().copied().unwrap_or([0; START]);
        let end = if remainder.is_empty() {
            length
        } else {
            WINDOW + 1
        };
        Self {
            start,
            length,
            end,
            remainder,
        }
    }

    /// Writes the label to the start of a window. Returns its length and the part of the window
    /// after it, or `None` if the label is too long for the window.
    #[inline(always)]
    pub(super) fn put<'w>(
        &self,
        window: &'w mut [u8; WINDOW],
    ) -> Option<(usize, &'w mut [u8; VALUE_WINDOW])> {
        if let Some(target) = window.first_chunk_mut() {
            *target = self.start;
        }
        let value_window = window.get_mut(self.end..)?.first_chunk_mut()?;
        Some((self.end, value_window))
    }

    /// Appends the label.
    #[inline(always)]
    pub(super) fn write(&self, cursor: &mut OutputCursor<'_>) {
        cursor.push_prefix(&self.start, self.length);
        if !self.remainder.is_empty() {
            cursor.extend(&self.remainder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Buffer;

    #[test]
    fn labels_of_names_of_every_length_are_written() {
        for length in 0..80 {
            let name = "n".repeat(length) + "\"";
            let mut out = Buffer::new();
            out.extend_from_slice(b"before");
            let mut cursor = OutputCursor::new(&mut out, 10);
            let label = Label::new(&name);
            label.write(&mut cursor);
            cursor.finish();
            let expected = format!("before,\"{}\\\"\":", "n".repeat(length));
            assert_eq!(String::from_utf8_lossy(&out), expected);
            let mut window = [0; WINDOW];
            match label.put(&mut window) {
                Some((at, value_window)) => {
                    assert_eq!(value_window.len(), VALUE_WINDOW);
                    assert_eq!(window[..at], expected.as_bytes()["before".len()..]);
                }
                None => assert!(expected.len() - "before".len() > START),
            }
        }
    }
}
