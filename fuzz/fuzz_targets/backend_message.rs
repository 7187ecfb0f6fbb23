//! Parses the input as one message, and plays it to a session as the bytes of a server.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| protocol::fuzzing::backend_message(data));
