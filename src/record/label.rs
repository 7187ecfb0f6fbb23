//! The names of members as they stand in documents.

use crate::json::{self, OutputCursor, VALUE_WINDOW};

/// `,"name":` as a piece of JSON.
#[derive(Debug)]
pub(super) struct Label {
    /// Its start: all of it for most names.
    start: [u8; START],
    /// How many bytes of the start are used.
    length: usize,
    /// The same, and more than a window has where there is a rest.
    end: usize,
    /// What does not fit there.
    rest: Vec<u8>,
}

const START: usize = 32;

/// Room for the start of a label and a short value.
pub(super) const WINDOW: usize = START + VALUE_WINDOW;

impl Label {
    /// Makes the label of a name.
    pub(super) fn new(name: &str) -> Self {
        let mut label = vec![b','];
        json::write_str(name, &mut label);
        label.push(b':');
        let length = label.len().min(START);
        let rest = label.split_off(length);
        label.resize(START, 0);
        let start = label.first_chunk().copied().unwrap_or([0; START]);
        let end = if rest.is_empty() { length } else { WINDOW + 1 };
        Self {
            start,
            length,
            end,
            rest,
        }
    }

    /// Writes it to the start of a window, and returns what is behind it; `None` where it is too long.
    #[inline(always)]
    pub(super) fn put<'w>(
        &self,
        window: &'w mut [u8; WINDOW],
    ) -> Option<(usize, &'w mut [u8; VALUE_WINDOW])> {
        if let Some(place) = window.first_chunk_mut() {
            *place = self.start;
        }
        let behind = window.get_mut(self.end..)?.first_chunk_mut()?;
        Some((self.end, behind))
    }

    /// Appends it.
    #[inline(always)]
    pub(super) fn write(&self, cursor: &mut OutputCursor<'_>) {
        cursor.push_prefix(&self.start, self.length);
        if !self.rest.is_empty() {
            cursor.extend(&self.rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Buffer;

    #[test]
    fn names_of_every_length_have_their_label() {
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
                Some((at, place)) => {
                    assert_eq!(place.len(), VALUE_WINDOW);
                    assert_eq!(window[..at], expected.as_bytes()["before".len()..]);
                }
                None => assert!(expected.len() - "before".len() > START),
            }
        }
    }
}
