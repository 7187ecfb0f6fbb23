//! JSON text: strings, numbers and raw values, appended to a buffer.
//!
//! The writers take bytes from the network and never fail on them. Their output is always UTF-8:
//! each byte of a text that is not becomes U+FFFD. Only raw JSON (the types `json` and `jsonb`) can
//! be malformed.

mod escape;
mod number;
mod output_cursor;
mod raw;
mod short;

pub use escape::{Escaper, write_str, write_string};
pub(crate) use escape::{Kernel, KernelTask, VALUE_WINDOW, plain_run};
pub(crate) use number::{EIGHT_DIGITS, eight_digits, short_integer, up_to_eight_digits};
pub use number::{write_i64, write_u64};
pub(crate) use output_cursor::OutputCursor;
pub(crate) use raw::{compact, truncate_string};
pub(crate) use short::{padded, padded_word};
