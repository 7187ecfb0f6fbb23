//! Plays a hostile server's half of a SCRAM exchange.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| protocol::fuzzing::scram(data));
