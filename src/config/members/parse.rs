//! JSON text of configurations.

use serde_json::Value;
use simd_json::Buffers;

use crate::error::{Error, ErrorKind, Result};

/// Limit of the nesting of arrays and objects, equal to that of serde_json.
const MAX_DEPTH: usize = 127;

/// Parses the text of a configuration, such as "the endpoint configuration".
///
/// # Errors
///
/// Fails for text that is not JSON.
pub(in crate::config) fn parse(text: &str, name: &str) -> Result<Value> {
    // The parser unescapes strings in place.
    let mut bytes = text.as_bytes().to_vec();
    let mut buffers = Buffers::with_max_depth(bytes.len(), MAX_DEPTH);
    if let Ok(value) = simd_json::serde::from_slice_with_buffers(&mut bytes, &mut buffers) {
        return Ok(value);
    }
    // serde_json has the last word on text that simd-json refuses. It accepts numbers that no f64
    // or 64-bit integer can hold, and its errors give line and column for every problem, while those
    // of simd-json lack the position within strings and repeat a character of the text.
    serde_json::from_str(text).map_err(|error| {
        Error::new(
            ErrorKind::Configuration,
            format!("{name} is not valid JSON"),
        )
        .with_source(error)
    })
}
