//! What the connector does and when: bindings, state, the joining of backfill and stream, checkpoints.
