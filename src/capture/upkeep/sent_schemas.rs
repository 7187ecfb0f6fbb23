//! Schemas that were emitted in this session.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

/// Digests of the schemas that were emitted in this session, by binding. A schema is emitted again
/// only when it has changed.
#[derive(Debug, Default)]
pub(in crate::capture) struct SentSchemas {
    digests: HashMap<u32, [u8; 32]>,
}

impl SentSchemas {
    /// Notes a schema. Returns whether it differs from the last one of the binding.
    pub(super) fn note(&mut self, binding: u32, schema: &str) -> bool {
        let digest = Sha256::digest(schema.as_bytes()).into();
        self.digests.insert(binding, digest) != Some(digest)
    }
}
