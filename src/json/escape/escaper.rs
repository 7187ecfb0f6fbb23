//! Choice of the implementation that writes strings, once per process.

use std::sync::OnceLock;

use super::super::output_cursor::OutputCursor;
use super::super::short::push_part;
#[cfg(target_arch = "aarch64")]
use super::aarch64;
use super::kernel::{KernelTask, PortableKernel, VALUE_WINDOW};
use super::scan::PlainRun;
#[cfg(target_arch = "x86_64")]
use super::x86_64;
use super::{blocks, scalar};
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

impl OutputCursor<'_> {
    /// Appends a JSON string; each byte that is not UTF-8 becomes U+FFFD.
    #[inline(always)]
    pub(crate) fn push_string(&mut self, text: &[u8]) {
        let escaper = Escaper::best();
        if self
            .window()
            .is_some_and(|window| escaper.quote(text, window))
        {
            self.advance(text.len() + 2);
        } else {
            escaper.write_long(text, self);
        }
    }
}

/// One implementation of writing strings.
///
/// [`write_string`] uses the best one; tests and benchmarks compare it with the others.
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
    /// Returns the implementations that this processor can run, the best one last.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self(Implementation::Scalar)];
        #[cfg(target_arch = "x86_64")]
        all.extend(x86_64::Level::detect().map(|level| Self(Implementation::X86(level))));
        #[cfg(target_arch = "aarch64")]
        all.extend(aarch64::Neon::detect().map(|neon| Self(Implementation::Neon(neon))));
        all
    }

    /// Returns the best implementation for this processor, which is detected once.
    #[inline]
    pub fn best() -> Self {
        static BEST: OnceLock<Escaper> = OnceLock::new();
        *BEST.get_or_init(|| {
            let scalar = Self(Implementation::Scalar);
            Self::all().last().copied().unwrap_or(scalar)
        })
    }

    /// Returns the name of the instructions that the implementation uses.
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

    /// Appends a JSON string; each byte that is not UTF-8 becomes U+FFFD. Does not try
    /// [`Escaper::quote`] first.
    #[inline(never)]
    pub(in crate::json) fn write_long(self, text: &[u8], cursor: &mut OutputCursor<'_>) {
        match self.0 {
            Implementation::Scalar => cursor.append_with(|out| scalar::write(text, out)),
            #[cfg(target_arch = "x86_64")]
            Implementation::X86(level) => level.write(text, cursor),
            #[cfg(target_arch = "aarch64")]
            Implementation::Neon(neon) => neon.write(text, cursor),
        }
    }

    /// Runs a loop that was compiled for the instructions of this implementation.
    #[inline]
    pub(crate) fn run<C: KernelTask>(self, task: C) -> C::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Implementation::X86(level) => level.run(task),
            _ => task.run(PortableKernel),
        }
    }

    /// Copies the bytes at the start of a text that need no escape. `output` is longer than the
    /// text by [`VALUE_WINDOW`], because whole blocks are written.
    #[inline]
    pub(in crate::json) fn copy_plain(self, text: &[u8], output: &mut [u8]) -> PlainRun {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Implementation::X86(level) => level.copy_plain(text, output),
            _ => blocks::copy_plain_16(text, output),
        }
    }

    /// Writes a JSON string to the start of `window` if the text is short, ASCII and needs no
    /// escape; the string is then two bytes longer than the text. Otherwise returns false, and the
    /// contents of the window are unspecified.
    #[inline]
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(unused_variables, reason = "only x86-64 has a way for short strings")
    )]
    pub(in crate::json) fn quote(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Implementation::X86(level) => level.quote(text, window),
            _ => false,
        }
    }
}
