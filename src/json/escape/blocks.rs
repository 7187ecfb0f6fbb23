//! The loop that the implementations with special instructions share.

use super::super::output_cursor::OutputCursor;
use super::super::short::padded;
use super::scalar::escape_of;
use super::{Plain, plain_of_16};

/// What an implementation has seen in a block of bytes.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// The bytes that need an escape, the first in the lowest bits. How many bits each has is the
    /// implementation's choice; all of them are set or none.
    pub(super) special: u64,
    /// Whether a byte is not ASCII. It may lie behind one that needs an escape.
    pub(super) beyond_ascii: bool,
}

/// Writes a JSON string.
///
/// `look` sees to whole blocks, which are copied here. `finish` appends less than a block, and may
/// count what is behind its end as in need of an escape. `BITS` is how many bits a byte has in
/// [`Seen::special`].
///
/// Each is inlined, so that all of it is compiled for the instructions of the caller.
#[inline(always)]
pub(super) fn write<const N: usize, const BITS: u32>(
    text: &[u8],
    parent: &mut OutputCursor<'_>,
    look: impl Fn(&[u8; N]) -> Seen,
    finish: impl Fn(&[u8], &mut OutputCursor<'_>) -> Seen,
) {
    // With some for escapes, and for what is written beyond the end.
    parent.reserve(text.len() + text.len() / 8 + N);
    let mut cursor = parent.reborrow();
    let string = cursor.position();
    cursor.push(b"\"");
    let mut beyond_ascii = false;
    let mut rest = text;
    while !rest.is_empty() {
        let (seen, written) = match rest.first_chunk::<N>() {
            Some(block) => {
                cursor.push(block);
                (look(block), N)
            }
            None => (finish(rest, &mut cursor), rest.len()),
        };
        beyond_ascii |= seen.beyond_ascii;
        if seen.special != 0 && rest.len() >= 2 * N {
            cursor.step_back(written);
            escape_all::<N, BITS>(rest, seen.special, &mut cursor);
            rest = rest.get(written..).unwrap_or_default();
            continue;
        }
        // Where less than another block follows, one escape at a time.
        let plain = (seen.special.trailing_zeros() / BITS) as usize;
        rest = if plain < written {
            cursor.step_back(written - plain);
            escape(rest, plain, &mut cursor);
            rest.get(plain + 1..).unwrap_or_default()
        } else {
            rest.get(written..).unwrap_or_default()
        };
    }
    cursor.push(b"\"");
    let end = cursor.position();
    parent.resume_at(end);
    if beyond_ascii {
        super::ensure_utf8(text, string, parent);
    }
}

/// Appends the first block of a text of two or more, whose bytes are there already.
#[inline(always)]
fn escape_all<const N: usize, const BITS: u32>(
    text: &[u8],
    special: u64,
    cursor: &mut OutputCursor<'_>,
) {
    let mut special = special;
    // What comes before this place is done; from here on the bytes of the text are in place.
    let mut from = 0;
    while special != 0 {
        let at = special.trailing_zeros() / BITS;
        special &= !(((1 << BITS) - 1) << (at * BITS));
        let at = at as usize;
        cursor.advance(at - from);
        escape(text, at, cursor);
        from = at + 1;
        if let Some(ahead) = text.get(from..).and_then(<[u8]>::first_chunk::<N>) {
            cursor.push_prefix(ahead, 0);
        }
    }
    cursor.advance(N - from);
}

/// Copies what stands for itself. `look` copies whole blocks, `finish` less than one, behind which
/// nothing is plain.
#[inline(always)]
pub(super) fn copy_plain<const N: usize>(
    text: &[u8],
    place: &mut [u8],
    look: impl Fn(&[u8; N], &mut [u8; N]) -> Plain,
    finish: impl Fn(&[u8], &mut [u8; N]) -> Plain,
) -> Plain {
    let mut copied = Plain {
        length: 0,
        beyond_ascii: false,
    };
    let mut rest = text;
    while let Some(place) = place
        .get_mut(copied.length..)
        .and_then(<[u8]>::first_chunk_mut)
    {
        let plain = match rest.split_first_chunk() {
            Some((block, behind)) => {
                rest = behind;
                look(block, place)
            }
            None => finish(std::mem::take(&mut rest), place),
        };
        copied.length += plain.length;
        copied.beyond_ascii |= plain.beyond_ascii;
        if plain.length < N {
            break;
        }
    }
    copied
}

/// The same for blocks of 16 bytes.
pub(super) fn copy_plain_16(text: &[u8], place: &mut [u8]) -> Plain {
    let look = |block: &[u8; 16], place: &mut [u8; 16]| {
        *place = *block;
        plain_of_16(block, 0)
    };
    copy_plain(text, place, look, |rest, place| {
        look(&padded(rest).to_le_bytes(), place)
    })
}

/// Appends the escape of a byte of the text.
#[inline(always)]
fn escape(text: &[u8], at: usize, cursor: &mut OutputCursor<'_>) {
    let escape = text.get(at).and_then(|byte| escape_of(*byte));
    if let Some(escape @ [.., length]) = escape {
        cursor.push_prefix(escape, usize::from(*length));
    }
}
