//! Parses one message, and plays the input to a session as what a server sends.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| protocol::fuzzing::backend_message(data));
