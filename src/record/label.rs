//! The names of members as they stand in documents.

use crate::json::{self, Room};

/// `,"name":` as a piece of JSON.
#[derive(Debug)]
pub(super) struct Label {
    /// Its start: all of it for most names.
    start: [u8; START],
    /// How many bytes of the start are used.
    length: usize,
    /// What does not fit there.
    rest: Vec<u8>,
}

const START: usize = 32;

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
        Self {
            start,
            length,
            rest,
        }
    }

    /// Appends it.
    #[inline(always)]
    pub(super) fn write(&self, room: &mut Room<'_>) {
        room.push_part(&self.start, self.length);
        if !self.rest.is_empty() {
            room.extend(&self.rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_length_have_their_label() {
        for length in 0..80 {
            let name = "n".repeat(length) + "\"";
            let mut out = b"before".to_vec();
            let mut room = Room::new(&mut out, 10);
            Label::new(&name).write(&mut room);
            room.finish();
            let expected = format!("before,\"{}\\\"\":", "n".repeat(length));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
