//! Waiting for conditions. A test waits for a condition rather than for a fixed time.

use std::time::{Duration, Instant};

/// Time limit of a wait for an event that is due soon. It allows for a machine that is busy with
/// other tests.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// Polls `condition` until it returns a value. Panics after [`TIMEOUT`], with `what` in the
/// message.
pub(crate) fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    within(TIMEOUT, condition).unwrap_or_else(|| panic!("waited {TIMEOUT:?} for {what}"))
}

/// Polls `condition` until it returns a value or `limit` has passed.
pub(crate) fn within<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if start.elapsed() >= limit {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
