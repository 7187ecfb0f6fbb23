//! Collection schemas from catalog facts.
