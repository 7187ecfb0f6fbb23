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
