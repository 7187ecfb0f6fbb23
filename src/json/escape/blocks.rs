//! Loops over blocks that the vector implementations share. The [module's documentation](super)
//! has the algorithm.

use super::super::output_cursor::OutputCursor;
use super::super::short::padded;
use super::plain::plain_run_16;
use super::scalar::{escape_of, write_repaired};
use super::scan::{BlockScan, PlainRun};

/// Appends a JSON string, in blocks of `N` bytes.
///
/// `scan` scans a whole block, which is copied here. `append_tail` copies and scans fewer than `N`
/// bytes; in its result, bits after the last byte may be set. Each byte has `BITS` bits in
/// [`BlockScan::escapes`].
///
/// This function and the closures are inlined, so that all of it is compiled for the instructions
/// of the caller.
#[inline(always)]
pub(super) fn write<const N: usize, const BITS: u32>(
    text: &[u8],
    parent: &mut OutputCursor<'_>,
    scan: impl Fn(&[u8; N]) -> BlockScan,
    append_tail: impl Fn(&[u8], &mut OutputCursor<'_>) -> BlockScan,
) {
    // Includes memory for some escapes, and for the block that extends past the end of the text.
    parent.reserve(text.len() + text.len() / 8 + N);
    let mut cursor = parent.reborrow();
    let string = cursor.position();
    cursor.push(b"\"");
    let mut non_ascii = false;
    let mut rest = text;
    while !rest.is_empty() {
        let (seen, written) = match rest.first_chunk::<N>() {
            Some(block) => {
                cursor.push(block);
                (scan(block), N)
            }
            None => (append_tail(rest, &mut cursor), rest.len()),
        };
        non_ascii |= seen.non_ascii;
        if seen.escapes != 0 && rest.len() >= 2 * N {
            cursor.step_back(written);
            escape_all::<N, BITS>(rest, seen.escapes, &mut cursor);
            rest = rest.get(written..).unwrap_or_default();
            continue;
        }
        // Less than another block follows: one escape at a time.
        let plain = (seen.escapes.trailing_zeros() / BITS) as usize;
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
    if non_ascii {
        ensure_utf8(text, string, parent);
    }
}

/// Appends the first block of a text of at least two blocks, with its escapes. The bytes of the
/// block are in place already.
#[inline(always)]
fn escape_all<const N: usize, const BITS: u32>(
    text: &[u8],
    escapes: u64,
    cursor: &mut OutputCursor<'_>,
) {
    let mut escapes = escapes;
    // Index in the block of the first byte that is not appended yet. From there on, the bytes of
    // the text are in place.
    let mut from = 0;
    while escapes != 0 {
        let at = escapes.trailing_zeros() / BITS;
        escapes &= !(((1 << BITS) - 1) << (at * BITS));
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

/// Copies the bytes at the start of a text that need no escape, in blocks of `N` bytes. `scan`
/// copies and scans a whole block, `append_tail` fewer bytes, and never counts bytes after the last
/// one.
#[inline(always)]
pub(super) fn copy_plain<const N: usize>(
    text: &[u8],
    output: &mut [u8],
    scan: impl Fn(&[u8; N], &mut [u8; N]) -> PlainRun,
    append_tail: impl Fn(&[u8], &mut [u8; N]) -> PlainRun,
) -> PlainRun {
    let mut copied = PlainRun {
        length: 0,
        non_ascii: false,
    };
    let mut rest = text;
    while let Some(window) = output
        .get_mut(copied.length..)
        .and_then(<[u8]>::first_chunk_mut)
    {
        let plain = match rest.split_first_chunk() {
            Some((block, remainder)) => {
                rest = remainder;
                scan(block, window)
            }
            None => append_tail(std::mem::take(&mut rest), window),
        };
        copied.length += plain.length;
        copied.non_ascii |= plain.non_ascii;
        if plain.length < N {
            break;
        }
    }
    copied
}

/// Copies the bytes at the start of a text that need no escape, in blocks of 16 bytes.
pub(super) fn copy_plain_16(text: &[u8], output: &mut [u8]) -> PlainRun {
    let scan = |block: &[u8; 16], window: &mut [u8; 16]| {
        *window = *block;
        plain_run_16(block, 0)
    };
    copy_plain(text, output, scan, |rest, window| {
        scan(&padded(rest).to_le_bytes(), window)
    })
}

/// Appends the escape sequence of the byte at this index of the text.
#[inline(always)]
fn escape(text: &[u8], at: usize, cursor: &mut OutputCursor<'_>) {
    let escape = text.get(at).and_then(|byte| escape_of(*byte));
    if let Some(escape @ [.., length]) = escape {
        cursor.push_prefix(escape, usize::from(*length));
    }
}

/// Writes the string that starts at position `start` again with replacement characters, if its text
/// is not UTF-8.
#[cold]
#[inline(never)]
fn ensure_utf8(text: &[u8], start: usize, cursor: &mut OutputCursor<'_>) {
    if simdutf8::basic::from_utf8(text).is_err() {
        cursor.resume_at(start);
        cursor.append_with(|out| write_repaired(text, out));
    }
}
