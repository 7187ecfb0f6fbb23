//! JSON strings: quotes, escapes, and U+FFFD in place of bytes that are not UTF-8.
//!
//! The quote, the backslash and U+0000 to U+001F are escaped, no other character is. `scalar` is
//! the reference implementation. The others use vector instructions of one processor architecture
//! and produce the same bytes. They share one algorithm, written in `blocks`, for blocks of N
//! bytes:
//!
//! ```text
//! write(text):
//!     append '"'
//!     while bytes of the text are left:
//!         block     = the next N bytes, or fewer at the end of the text
//!         copy the block to the output, before anything is known of it
//!         escapes   = the bytes of the block that are below 0x20, '"' or '\\'
//!         non_ascii = true if a byte of the block is 0x80 or above, else unchanged
//!         if there are no escapes:
//!             append all of the block
//!         else if another N bytes follow the block:
//!             for each escape, in order:
//!                 append the bytes before it, which are in place already
//!                 append the escape sequence
//!                 copy the N bytes of the text that follow it
//!             append the bytes after the last escape
//!         else:
//!             append the bytes before the first escape, then the escape sequence,
//!             and take the byte after it as the start of the next block
//!     append '"'
//!     if non_ascii and the text is not UTF-8:
//!         take the string back and write it again with replacement characters
//! ```
//!
//! Appending moves the end of the output over bytes that were copied before. Most blocks have no
//! escapes, so most of the work is one load, one store and three comparisons per block. UTF-8 is
//! validated once for each text that is not ASCII, not for each block.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod blocks;
mod escaper;
mod kernel;
mod plain;
mod scalar;
mod scan;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use escaper::{Escaper, write_str, write_string};
pub(crate) use kernel::{Kernel, KernelTask, VALUE_WINDOW};
pub(crate) use plain::plain_run;
pub(super) use plain::plain_run_16;
