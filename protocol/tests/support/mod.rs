//! What the tests of this crate share.

pub mod scenario;
pub mod transcript;
