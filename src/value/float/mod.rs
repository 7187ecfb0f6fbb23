//! Floating-point numbers: from the server's notation to the shortest digits.
//!
//! From version 12 on, the server writes the shortest digits, with one exception: it does not use a
//! decimal that lies exactly halfway between two numbers, and so writes `9.999999999999999e+22`
//! where `1e23` is shorter. Earlier versions write more digits than needed.
//!
//! Digits are taken from the text if there are so few of them that no shorter ones exist, and are
//! computed from the number otherwise. Most texts are recognised as being in the output's notation
//! already, and are copied ([`is_verbatim`]).

mod digits;
mod verbatim;
mod width;

pub(super) use digits::{Digits, Float};
pub(super) use verbatim::is_verbatim;
pub(super) use width::Width;
