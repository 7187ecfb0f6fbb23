//! SSE2, AVX2 and AVX-512.
//!
//! # Scanning a block
//!
//! A register has one lane per byte: 16 with SSE2, 32 with AVX2, 64 with AVX-512.
//!
//! ```text
//! scan(register):
//!     controls    = lanes where min(lane, 0x1F) == lane, unsigned
//!     quotes      = lanes where lane == '"'
//!     backslashes = lanes where lane == '\\'
//!     escapes     = one bit per lane of controls | quotes | backslashes, lane 0 in bit 0
//!     non_ascii   = whether the highest bit of a lane is set
//! ```
//!
//! AVX-512 compares directly (`lane <= 0x1F`, unsigned) and has its results as bits.
//!
//! # Short strings
//!
//! ```text
//! quote_avx512(text of at most 62 bytes, window):
//!     text_lanes = lanes 1 to length
//!     register   = '"' in all lanes, then the text loaded into text_lanes, reading no other byte
//!     store the register to the window: a quote, the text, a quote, and quotes that are not used
//!     plain      = text_lanes where lane > 0x1F, signed, so that bytes above 0x7F are excluded,
//!                  and lane != '"' and lane != '\\'
//!     return plain == text_lanes
//!
//! quote_sse2(text of at most 32 bytes, window):
//!     up to 14 bytes: one register, made by shifting the text between two quotes
//!     16 to 32 bytes: one register for the first 16 bytes and one for the last 16, which overlap
//!     return whether the scans of the text's bytes found neither escapes nor bytes above 0x7F
//! ```
//!
//! # Short integers and timestamps
//!
//! ```text
//! integer_avx512(text of at most 18 bytes, window):
//!     register = the text, zeros after it; store it to the window
//!     digits   = lanes where lane - '0' <= 9, unsigned
//!     expected = lanes of the text without the sign
//!     return expected is not empty, digits contains expected, and no zero leads other digits
//! ```
//!
//! `timestamp` compares all characters of a timestamp with their bounds at once; see there.
//!
//! # Why the unsafe code is sound
//!
//! - *Instructions.* A function with `#[target_feature]` may run only on a processor that has these
//!   instructions. SSE2 is part of x86-64. For the others, a value is the proof: [`Level`] is made
//!   by [`Level::detect`] alone, which asks the processor, and [`Avx512Kernel`] by [`run_avx512`]
//!   alone, which itself requires AVX-512.
//! - *Memory.* A load or store of a whole register takes a reference to an array of the register's
//!   size, and uses the instruction for addresses of any alignment. A load of a part of a register
//!   has a mask whose set bits are the lanes of the slice; the memory of other lanes is not
//!   accessed.
#![allow(unsafe_code)]

mod avx2;
mod avx512;
mod bytes;
pub(super) mod sse2;
mod timestamp;

use super::super::output_cursor::OutputCursor;
use super::blocks;
use super::kernel::{Kernel, KernelTask, VALUE_WINDOW};
use super::scan::PlainRun;
use avx2::{load_256, scan_32};
use avx512::{integer_avx512, load_512, load_part, quote_avx512, scan_64, store_512};
use sse2::{append_tail, load_128, quote_sse2, scan_16};
use timestamp::timestamp_avx512;

/// Set of instructions that this processor is known to have, because only [`Level::detect`] makes a
/// value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level(Instructions);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instructions {
    Sse2,
    Avx2,
    Avx512,
}

impl Level {
    /// Returns the sets of instructions that this processor has, the best last.
    pub(super) fn detect() -> impl Iterator<Item = Self> {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1");
        let avx512 = avx2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("bmi2");
        [
            Some(Self(Instructions::Sse2)),
            avx2.then_some(Self(Instructions::Avx2)),
            avx512.then_some(Self(Instructions::Avx512)),
        ]
        .into_iter()
        .flatten()
    }

    /// Returns the name of the instructions.
    pub(super) fn name(self) -> &'static str {
        match self.0 {
            Instructions::Sse2 => "SSE2",
            Instructions::Avx2 => "AVX2",
            Instructions::Avx512 => "AVX-512",
        }
    }

    /// Appends a JSON string.
    #[inline]
    pub(super) fn write(self, text: &[u8], cursor: &mut OutputCursor<'_>) {
        match self.0 {
            // SAFETY: SSE2 is part of x86-64.
            Instructions::Sse2 => unsafe { write_sse2(text, cursor) },
            // SAFETY: only `detect` makes this value, after it has found AVX2 and BMI1.
            Instructions::Avx2 => unsafe { write_avx2(text, cursor) },
            // SAFETY: only `detect` makes this value, after it has found AVX-512 F and BW, AVX2,
            // BMI1 and BMI2.
            Instructions::Avx512 => unsafe { write_avx512(text, cursor) },
        }
    }

    /// Writes a short JSON string of ASCII without escapes to `window`. Returns false for other
    /// texts.
    #[inline]
    pub(super) fn quote(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> bool {
        match self.0 {
            // SAFETY: only `detect` makes this value, after it has found AVX-512 F and BW, and
            // BMI2.
            Instructions::Avx512 => unsafe { quote_avx512(text, window) },
            // SAFETY: SSE2 is part of x86-64.
            Instructions::Sse2 | Instructions::Avx2 => unsafe { quote_sse2(text, window) },
        }
    }

    /// Runs the loop that was compiled for AVX-512, or the one for SSE2.
    #[inline]
    pub(super) fn run<C: KernelTask>(self, task: C) -> C::Output {
        match self.0 {
            // SAFETY: only `detect` makes this value, after it has found AVX-512 F and BW, AVX2,
            // BMI1 and BMI2.
            Instructions::Avx512 => unsafe { run_avx512(task) },
            Instructions::Sse2 | Instructions::Avx2 => task.run(Sse2Kernel),
        }
    }

    /// Copies the bytes at the start of a text that need no escape, in whole blocks.
    #[inline]
    pub(super) fn copy_plain(self, text: &[u8], window: &mut [u8]) -> PlainRun {
        match self.0 {
            // SAFETY: only `detect` makes this value, after it has found AVX-512 F and BW, AVX2,
            // BMI1 and BMI2.
            Instructions::Avx512 => unsafe { copy_plain_avx512(text, window) },
            Instructions::Sse2 | Instructions::Avx2 => blocks::copy_plain_16(text, window),
        }
    }
}

#[target_feature(enable = "sse2")]
fn write_sse2(text: &[u8], cursor: &mut OutputCursor<'_>) {
    blocks::write::<16, 1>(
        text,
        cursor,
        |block| scan_16(load_128(block)),
        |rest, cursor| append_tail(rest, cursor),
    );
}

#[target_feature(enable = "avx2,bmi1")]
fn write_avx2(text: &[u8], cursor: &mut OutputCursor<'_>) {
    blocks::write::<32, 1>(
        text,
        cursor,
        |block| scan_32(load_256(block)),
        |rest, cursor| append_tail(rest, cursor),
    );
}

#[target_feature(enable = "avx512f,avx512bw,avx2,bmi1,bmi2")]
fn write_avx512(text: &[u8], cursor: &mut OutputCursor<'_>) {
    blocks::write::<64, 1>(
        text,
        cursor,
        |block| scan_64(load_512(block)),
        |rest, cursor| {
            let vector = load_part(rest);
            let mut bytes = [0; 64];
            store_512(vector, &mut bytes);
            cursor.push_prefix(&bytes, rest.len());
            scan_64(vector)
        },
    );
}

#[target_feature(enable = "avx512f,avx512bw,avx2,bmi1,bmi2")]
fn copy_plain_avx512(text: &[u8], window: &mut [u8]) -> PlainRun {
    let put = |vector, window: &mut [u8; 64]| {
        store_512(vector, window);
        let seen = scan_64(vector);
        PlainRun {
            length: seen.escapes.trailing_zeros() as usize,
            non_ascii: seen.non_ascii,
        }
    };
    blocks::copy_plain(
        text,
        window,
        |block, window| put(load_512(block), window),
        |rest, window| put(load_part(rest), window),
    )
}

/// Kernel that uses SSE2, which every x86-64 processor has.
#[derive(Clone, Copy)]
struct Sse2Kernel;

impl Kernel for Sse2Kernel {
    #[inline(always)]
    fn quote(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { quote_sse2(text, window) }.then_some(text.len() + 2)
    }
}

/// Kernel that uses AVX-512. Only [`run_avx512`] makes a value.
#[derive(Clone, Copy)]
struct Avx512Kernel(());

impl Kernel for Avx512Kernel {
    #[inline(always)]
    fn quote(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        // SAFETY: `run_avx512`, which made this value, runs only where AVX-512 F and BW, and BMI2
        // are.
        unsafe { quote_avx512(text, window) }.then_some(text.len() + 2)
    }

    #[inline(always)]
    fn integer(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        // SAFETY: `run_avx512`, which made this value, runs only where AVX-512 F and BW, and BMI2
        // are.
        unsafe { integer_avx512(text, window) }.then_some(text.len())
    }

    #[inline(always)]
    fn timestamp(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        // SAFETY: `run_avx512`, which made this value, runs only where AVX-512 F and BW, and BMI2
        // are.
        unsafe { timestamp_avx512(text, window) }.then_some(text.len() + 3)
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx2,bmi1,bmi2")]
fn run_avx512<C: KernelTask>(task: C) -> C::Output {
    task.run(Avx512Kernel(()))
}
