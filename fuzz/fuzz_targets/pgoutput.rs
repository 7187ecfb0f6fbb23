//! Parses replication messages and messages of pgoutput.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| protocol::fuzzing::pgoutput(data));
