//! Plays the input to a SCRAM client as the messages of a hostile server.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| protocol::fuzzing::scram(data));
