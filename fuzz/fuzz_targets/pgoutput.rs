//! Parses the input as a replication message and as a message of `pgoutput`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| protocol::fuzzing::pgoutput(data));
