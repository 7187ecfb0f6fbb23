//! Floating-point numbers as the server writes them, spelled anew.
//!
//! From version 12 on the server writes the shortest digits, except for one rule: it never uses a
//! decimal that lies on the border between two numbers, where `1e23` is shorter than
//! `9.999999999999999e+22`. Before, it writes more digits than needed. So the digits are taken over
//! where the number has too few of them for a choice, and found anew otherwise. Most texts can be
//! seen to be what this makes of them.

mod digits;
mod verbatim;
mod width;

pub(super) use digits::{Digits, Float};
pub(super) use verbatim::is_verbatim;
pub(super) use width::Width;
