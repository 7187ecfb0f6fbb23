//! What the database holds: tables, columns, types, keys, publication, slot, prerequisites.
