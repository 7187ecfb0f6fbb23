//! Parts that several tests of this crate share.

pub(crate) mod scenario;
pub(crate) mod transcript;
