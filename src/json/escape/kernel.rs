//! Writers of short values, each for one set of instructions, and the loops that are compiled for
//! them.

use super::super::number::short_integer;

/// Size in bytes of the output window that a short value is written to, whatever its length.
pub(crate) const VALUE_WINDOW: usize = 64;

/// Writer of one short value to the start of a window, with one set of instructions.
///
/// Each method returns the number of bytes that it has written. `None` means that the kernel does
/// not handle the value, valid or not: the caller has to write it in another way, and the contents
/// of the window are unspecified.
pub(crate) trait Kernel: Copy {
    /// Writes a JSON string, if its text is ASCII and needs no escape.
    fn quote(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> Option<usize>;

    /// Writes the text of an integer, if it is also an integer in JSON.
    #[inline(always)]
    fn integer(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        let characters = short_integer(text)?.to_le_bytes();
        // In two halves, because the number is in two registers.
        let (halves, _) = characters.as_chunks::<8>();
        for (window, half) in window.as_chunks_mut::<8>().0.iter_mut().zip(halves) {
            *window = *half;
        }
        Some(text.len())
    }

    /// Writes a timestamp in UTC as a JSON string in the format of RFC 3339. The text has a space
    /// between date and time and no offset.
    #[inline(always)]
    fn timestamp(self, _: &[u8], _: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        None
    }
}

/// Loop over values that is compiled once for each set of instructions, with the methods of that
/// set's [`Kernel`] inlined. [`Escaper::run`](super::Escaper::run) chooses the one to run.
pub(crate) trait KernelTask {
    /// Result of the loop.
    type Output;

    /// Runs the loop. Implementations are `#[inline(always)]`, because the instructions are enabled
    /// in the caller.
    fn run<K: Kernel>(self, kernel: K) -> Self::Output;
}

/// Kernel without special instructions.
#[derive(Clone, Copy)]
pub(super) struct PortableKernel;

impl Kernel for PortableKernel {
    #[inline(always)]
    fn quote(self, _: &[u8], _: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        None
    }
}
