//! The `source-postgres` binary.

fn main() {}
