//! Strings: quoting, escaping, and the repair of what is not UTF-8.
//!
//! Escaped are the quote, the backslash and U+0000 to U+001F, nothing else. `scalar` is the
//! reference implementation; the others, which need a certain processor, produce the same bytes.
//! All of them copy as they go and look at the copy's source for what needs more than that: first
//! for bytes to escape, and once at the end for bytes that are not ASCII. Only a text that has such
//! bytes is looked at again, whether it is UTF-8.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod blocks;
mod scalar;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::sync::OnceLock;

use super::number::short_integer;
use super::output_cursor::OutputCursor;
use super::short::{padded, push_part};
use crate::buffer::Buffer;

/// Appends a JSON string; each byte that is not UTF-8 becomes U+FFFD.
#[inline]
pub fn write_string(text: impl AsRef<[u8]>, out: &mut Vec<u8>) {
    Escaper::best().write(text.as_ref(), out);
}

/// Appends a JSON string.
#[inline]
pub fn write_str(text: &str, out: &mut Vec<u8>) {
    write_string(text, out);
}

/// The start of a text that stands for itself in a JSON string.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlainRun {
    pub(super) length: usize,
    /// Whether a byte is not ASCII. It may lie behind the end.
    pub(super) non_ascii: bool,
}

/// Returns the start of 16 bytes that stands for itself, whatever its first byte is if `any` is 1.
#[inline(always)]
pub(super) fn plain_run_16(bytes: &[u8; 16], any: usize) -> PlainRun {
    #[cfg(target_arch = "x86_64")]
    let plain = x86_64::plain_run_16(bytes, any);
    #[cfg(not(target_arch = "x86_64"))]
    let plain = PlainRun {
        length: any + scalar::plain_run(bytes.get(any..).unwrap_or_default()),
        non_ascii: !bytes.is_ascii(),
    };
    plain
}

/// Returns how many bytes from the start stand for themselves in a JSON string.
#[inline]
pub(crate) fn plain_run(bytes: &[u8]) -> usize {
    let (blocks, rest) = bytes.as_chunks();
    for (index, block) in blocks.iter().enumerate() {
        let length = plain_run_16(block, 0).length;
        if length < block.len() {
            return index * block.len() + length;
        }
    }
    // The zeros behind the last byte are not plain.
    let rest = plain_run_16(&padded(rest).to_le_bytes(), 0).length;
    bytes.len() - bytes.len() % 16 + rest
}

/// One implementation of the writing of strings.
///
/// [`write_string`] takes the best one; they are told apart to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escaper(Implementation);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Implementation {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    X86(x86_64::Level),
    #[cfg(target_arch = "aarch64")]
    Neon(aarch64::Neon),
}

impl Escaper {
    /// Returns those that this processor can run, the best one last.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self(Implementation::Scalar)];
        #[cfg(target_arch = "x86_64")]
        all.extend(x86_64::Level::detect().map(|level| Self(Implementation::X86(level))));
        #[cfg(target_arch = "aarch64")]
        all.extend(aarch64::Neon::detect().map(|neon| Self(Implementation::Neon(neon))));
        all
    }

    /// Returns the best one, which is found out once.
    #[inline]
    pub fn best() -> Self {
        static BEST: OnceLock<Escaper> = OnceLock::new();
        *BEST.get_or_init(|| {
            let scalar = Self(Implementation::Scalar);
            Self::all().last().copied().unwrap_or(scalar)
        })
    }

    /// Returns what it is called: its instructions.
    pub fn name(self) -> &'static str {
        match self.0 {
            Implementation::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Implementation::X86(level) => level.name(),
            #[cfg(target_arch = "aarch64")]
            Implementation::Neon(_) => "NEON",
        }
    }

    /// Appends a JSON string; each byte that is not UTF-8 becomes U+FFFD.
    #[inline]
    pub fn write(self, text: &[u8], out: &mut Vec<u8>) {
        let mut window = [0; VALUE_WINDOW];
        if self.quote(text, &mut window) {
            push_part(&window, text.len() + 2, out);
            return;
        }
        match self.0 {
            Implementation::Scalar => scalar::write(text, out),
            _ => Buffer::wrap(out, |out| {
                let mut cursor = OutputCursor::new(out, 0);
                self.write_long(text, &mut cursor);
                cursor.finish();
            }),
        }
    }

    /// Writes a JSON string likewise, without a look whether it is a short one.
    #[inline(never)]
    pub(super) fn write_long(self, text: &[u8], cursor: &mut OutputCursor<'_>) {
        match self.0 {
            Implementation::Scalar => cursor.append_with(|out| scalar::write(text, out)),
            #[cfg(target_arch = "x86_64")]
            Implementation::X86(level) => level.write(text, cursor),
            #[cfg(target_arch = "aarch64")]
            Implementation::Neon(neon) => neon.write(text, cursor),
        }
    }

    /// Runs what is compiled for each set of instructions, with those of this implementation.
    #[inline]
    pub(crate) fn run<C: KernelTask>(self, task: C) -> C::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Implementation::X86(level) => level.run(task),
            _ => task.run(PortableKernel),
        }
    }

    /// Copies the start of a text that stands for itself. The place is longer by [`VALUE_WINDOW`]: blocks are
    /// written there.
    #[inline]
    pub(super) fn copy_plain(self, text: &[u8], output: &mut [u8]) -> PlainRun {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Implementation::X86(level) => level.copy_plain(text, output),
            _ => blocks::copy_plain_16(text, output),
        }
    }

    /// Writes a JSON string to the start of `place`, if it is short, all of it is ASCII and nothing
    /// in it needs an escape: then it is two bytes longer than the text. Otherwise returns false, and
    /// what the place holds is of no use.
    #[inline]
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(unused_variables, reason = "nothing is short there")
    )]
    pub(super) fn quote(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Implementation::X86(level) => level.quote(text, window),
            _ => false,
        }
    }
}

/// How large the place of a short string is.
pub(crate) const VALUE_WINDOW: usize = 64;

/// Writes one short value to the start of a place, with certain instructions.
///
/// What its functions return is the length of what was written. `None` says nothing about the value
/// but that another way has to be taken; what the place holds is of no use then.
pub(crate) trait Kernel: Copy {
    /// Writes a JSON string, if all of it is ASCII and nothing in it needs an escape.
    fn quote(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> Option<usize>;

    /// Writes an integer that is also one in JSON.
    #[inline(always)]
    fn integer(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        let characters = short_integer(text)?.to_le_bytes();
        // In halves, as the number is in registers.
        let (halves, _) = characters.as_chunks::<8>();
        for (window, half) in window.as_chunks_mut::<8>().0.iter_mut().zip(halves) {
            *window = *half;
        }
        Some(text.len())
    }

    /// Writes a timestamp in UTC, with a space between date and time and without an offset, as a JSON
    /// string in the spelling of RFC 3339.
    #[inline(always)]
    fn timestamp(self, _: &[u8], _: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        None
    }
}

/// A loop over values, compiled for each set of instructions, so that what a [`Kernel`] does becomes
/// a part of it: see [`Escaper::run`].
pub(crate) trait KernelTask {
    /// What it returns.
    type Output;

    /// Runs it. To be inlined always: the caller is what is compiled for the instructions.
    fn run<K: Kernel>(self, kernel: K) -> Self::Output;
}

/// The instructions that every processor has.
#[derive(Clone, Copy)]
struct PortableKernel;

impl Kernel for PortableKernel {
    #[inline(always)]
    fn quote(self, _: &[u8], _: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        None
    }
}

/// Repairs a string that was written from `start` on, if it is not UTF-8.
#[cold]
#[inline(never)]
fn ensure_utf8(text: &[u8], start: usize, cursor: &mut OutputCursor<'_>) {
    if simdutf8::basic::from_utf8(text).is_err() {
        cursor.resume_at(start);
        cursor.append_with(|out| scalar::write_repaired(text, out));
    }
}
