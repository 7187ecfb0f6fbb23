//! PostgreSQL types: text to JSON, row keys.
