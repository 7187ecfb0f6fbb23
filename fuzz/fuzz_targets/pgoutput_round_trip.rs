//! Parses a message of `pgoutput`, encodes it, and parses the result.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| protocol::fuzzing::pgoutput_round_trip(data));
