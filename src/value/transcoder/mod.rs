//! Transcoders: from the server's text of a value to JSON.

mod array;
mod bytea;
mod column;
mod fast_path;
mod geometry;
mod network;
mod range;
mod scalar;
#[cfg(test)]
mod tests;
mod time;

pub(super) use bytea::parse as parse_bytea;
pub use column::Transcoder;
pub(super) use scalar::parse_char;
