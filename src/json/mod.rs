//! JSON text: strings, numbers, raw values.
