//! NEON: 16 bytes in a register.
//!
//! ```text
//! scan(register):
//!     controls    = lanes where lane <= 0x1F, unsigned
//!     quotes      = lanes where lane == '"'
//!     backslashes = lanes where lane == '\\'
//!     escapes     = four bits per lane of controls | quotes | backslashes, lane 0 in bits 0 to 3
//!     non_ascii   = whether the greatest lane is 0x80 or above
//! ```
//!
//! NEON has no instruction that takes one bit of each lane. The nearest one shifts each pair of
//! lanes, seen as 16 bits, right by four and keeps the low 8 bits: four bits of either lane.
#![allow(unsafe_code)]

use std::arch::aarch64::{
    uint8x16_t, vceqq_u8, vcleq_u8, vdupq_n_u8, vget_lane_u64, vld1q_u8, vmaxvq_u8, vorrq_u8,
    vreinterpret_u64_u8, vreinterpretq_u16_u8, vshrn_n_u16,
};

use super::super::output_cursor::OutputCursor;
use super::super::short::padded;
use super::blocks;
use super::scan::BlockScan;

/// Proof that this processor has NEON, because only [`Neon::detect`] makes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Neon(());

impl Neon {
    /// Returns a value if this processor has NEON, as nearly all of this architecture do.
    pub(super) fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    /// Appends a JSON string.
    #[inline]
    pub(super) fn write(self, text: &[u8], cursor: &mut OutputCursor<'_>) {
        // SAFETY: only `detect` makes a value of this type, after it has found NEON.
        unsafe { write(text, cursor) }
    }
}

#[target_feature(enable = "neon")]
fn write(text: &[u8], cursor: &mut OutputCursor<'_>) {
    blocks::write::<16, 4>(
        text,
        cursor,
        |block| scan(load(block)),
        |rest, cursor| {
            let bytes = padded(rest).to_le_bytes();
            cursor.push_prefix(&bytes, rest.len());
            scan(load(&bytes))
        },
    );
}

#[inline]
#[target_feature(enable = "neon")]
fn scan(vector: uint8x16_t) -> BlockScan {
    let controls = vcleq_u8(vector, vdupq_n_u8(0x1F));
    let quotes = vceqq_u8(vector, vdupq_n_u8(b'"'));
    let backslashes = vceqq_u8(vector, vdupq_n_u8(b'\\'));
    let escapes = vorrq_u8(vorrq_u8(controls, quotes), backslashes);
    let nibbles = vshrn_n_u16::<4>(vreinterpretq_u16_u8(escapes));
    BlockScan {
        escapes: vget_lane_u64::<0>(vreinterpret_u64_u8(nibbles)),
        non_ascii: vmaxvq_u8(vector) >= 0x80,
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn load(block: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the reference is valid for the 16 bytes that are read; any alignment is allowed.
    unsafe { vld1q_u8(block.as_ptr()) }
}
