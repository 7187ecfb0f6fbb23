//! The loop that the implementations with special instructions share.

use super::scalar::write_escape;

/// What an implementation has seen in a block of bytes.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// How many bytes from the start stand for themselves; all of them if none needs an escape.
    pub(super) plain: usize,
    /// Whether a byte is not ASCII. It may lie behind one that needs an escape.
    pub(super) beyond_ascii: bool,
}

/// Appends a JSON string.
///
/// `look` sees to whole blocks, which are copied here. `finish` appends less than a block, or a
/// part of it that ends behind the first byte that needs an escape.
///
/// Each is inlined, so that all of it is compiled for the instructions of the caller.
#[inline(always)]
pub(super) fn write<const N: usize>(
    text: &[u8],
    out: &mut Vec<u8>,
    look: impl Fn(&[u8; N]) -> Seen,
    finish: impl Fn(&[u8], &mut Vec<u8>) -> Seen,
) {
    let string = out.len();
    // Room for the quotes, and for what is copied beyond the end of the text.
    out.reserve(text.len() + N + 2);
    out.push(b'"');
    let mut beyond_ascii = false;
    let mut rest = text;
    while !rest.is_empty() {
        let start = out.len();
        let length = rest.len().min(N);
        let seen = match rest.first_chunk::<N>() {
            Some(block) => {
                out.extend_from_slice(block);
                look(block)
            }
            None => finish(rest, out),
        };
        beyond_ascii |= seen.beyond_ascii;
        if seen.plain >= length {
            rest = rest.get(length..).unwrap_or_default();
            continue;
        }
        out.truncate(start + seen.plain);
        let Some((byte, after)) = rest.get(seen.plain..).and_then(<[u8]>::split_first) else {
            break;
        };
        write_escape(*byte, out);
        rest = after;
    }
    out.push(b'"');
    if beyond_ascii {
        super::ensure_utf8(text, string, out);
    }
}
