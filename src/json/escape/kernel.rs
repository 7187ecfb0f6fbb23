//! Kernels.

use super::super::number::short_integer;

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
pub(super) struct PortableKernel;

impl Kernel for PortableKernel {
    #[inline(always)]
    fn quote(self, _: &[u8], _: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        None
    }
}
