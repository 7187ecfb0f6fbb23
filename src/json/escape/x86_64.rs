//! SSE2, AVX2 and AVX-512.
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

/// A set of instructions that this processor has: there is no other way to a value than
/// [`Level::detect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level(Instructions);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instructions {
    Sse2,
    Avx2,
    Avx512,
}

impl Level {
    /// Returns what this processor has, the best last.
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

    /// Writes a JSON string.
    #[inline]
    pub(super) fn write(self, text: &[u8], cursor: &mut OutputCursor<'_>) {
        match self.0 {
            // SAFETY: every processor of this architecture has SSE2.
            Instructions::Sse2 => unsafe { write_sse2(text, cursor) },
            // SAFETY: `detect` has seen AVX2 and BMI1, and nothing else makes this value.
            Instructions::Avx2 => unsafe { write_avx2(text, cursor) },
            // SAFETY: `detect` has seen AVX-512 F and BW, BMI1 and BMI2, and nothing else makes
            // this value.
            Instructions::Avx512 => unsafe { write_avx512(text, cursor) },
        }
    }

    /// Writes a short JSON string of ASCII without escapes, or returns false.
    #[inline]
    pub(super) fn quote(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> bool {
        match self.0 {
            // SAFETY: `detect` has seen AVX-512 F and BW, BMI1 and BMI2, and nothing else makes
            // this value.
            Instructions::Avx512 => unsafe { quote_avx512(text, window) },
            // SAFETY: every processor of this architecture has SSE2.
            Instructions::Sse2 | Instructions::Avx2 => unsafe { quote_sse2(text, window) },
        }
    }

    /// Runs what is compiled for each set of instructions.
    #[inline]
    pub(super) fn run<C: KernelTask>(self, task: C) -> C::Output {
        match self.0 {
            // SAFETY: `detect` has seen AVX-512 F and BW, AVX2, BMI1 and BMI2, and nothing else
            // makes this value.
            Instructions::Avx512 => unsafe { run_avx512(task) },
            Instructions::Sse2 | Instructions::Avx2 => task.run(Sse2Kernel),
        }
    }

    /// Copies whole blocks of what stands for itself.
    #[inline]
    pub(super) fn copy_plain(self, text: &[u8], window: &mut [u8]) -> PlainRun {
        match self.0 {
            // SAFETY: `detect` has seen AVX-512 F and BW, AVX2, BMI1 and BMI2, and nothing else
            // makes this value.
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

/// Every processor of this architecture has SSE2.
#[derive(Clone, Copy)]
struct Sse2Kernel;

impl Kernel for Sse2Kernel {
    #[inline(always)]
    fn quote(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        // SAFETY: every processor of this architecture has SSE2.
        unsafe { quote_sse2(text, window) }.then_some(text.len() + 2)
    }
}

/// Only [`run_avx512`] makes this value.
#[derive(Clone, Copy)]
struct Avx512Kernel(());

impl Kernel for Avx512Kernel {
    #[inline(always)]
    fn quote(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        // SAFETY: `run_avx512`, which has made this value, needs the same instructions and more.
        unsafe { quote_avx512(text, window) }.then_some(text.len() + 2)
    }

    #[inline(always)]
    fn integer(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        // SAFETY: as above.
        unsafe { integer_avx512(text, window) }.then_some(text.len())
    }

    #[inline(always)]
    fn timestamp(self, text: &[u8], window: &mut [u8; VALUE_WINDOW]) -> Option<usize> {
        // SAFETY: as above.
        unsafe { timestamp_avx512(text, window) }.then_some(text.len() + 3)
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx2,bmi1,bmi2")]
fn run_avx512<C: KernelTask>(task: C) -> C::Output {
    task.run(Avx512Kernel(()))
}
