//! Passes messages to a spool with little memory. In the input each follows a byte with its length.

#![no_main]

use std::ffi::{CStr, c_char};

use libfuzzer_sys::fuzz_target;
use protocol::{LogicalReplicationMessage, Lsn, TupleArena};
use source_postgres::replication::{Spool, SpoolOptions};

/// Suppressions for the leak sanitizer, which calls this function.
///
/// The spool frees files in threads of their own. If the sanitizer looks while such a thread starts or
/// ends, it takes the list of the thread's destructors, which belongs to the C library, for leaked.
#[unsafe(no_mangle)]
extern "C" fn __lsan_default_suppressions() -> *const c_char {
    const SUPPRESSIONS: &CStr = c"leak:__cxa_thread_atexit_impl";
    SUPPRESSIONS.as_ptr()
}

fuzz_target!(|data: &[u8]| {
    let options = SpoolOptions {
        memory: 2048,
        ..SpoolOptions::default()
    };
    let mut spool = Spool::new(&options).unwrap();
    let arena = TupleArena::default();
    let mut rest = data;
    let mut position = 0;
    while let Some((&length, after)) = rest.split_first() {
        let (message, after) = after.split_at(after.len().min(usize::from(length)));
        (rest, position) = (after, position + 1);
        let wal_start = Lsn::from(position);
        let stored = if spool.is_receiving() {
            spool.receive(wal_start, message).map(drop)
        } else {
            let Ok(parsed) = LogicalReplicationMessage::parse(message, Spool::CONTEXT, &arena)
            else {
                return;
            };
            spool.handle(&parsed, wal_start, message).map(drop)
        };
        if stored.is_err() {
            return;
        }
        // The stored messages are read back, unless one cannot be parsed.
        while spool.is_replaying() {
            if spool.next_message(&arena).is_err() {
                return;
            }
        }
    }
});
