//! Background thread for tasks that must not wait for the session.
//!
//! A session runs on the main thread, which also waits for the session's sockets, so that incoming
//! data wakes one thread instead of two. That thread blocks while the reader of its output does not
//! take the output. Tasks that must run meanwhile are spawned on the background thread: status
//! updates, acknowledgements, signals.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::error::Result;

/// Runtime of the background thread, once [`start`] was called.
static BACKGROUND: OnceLock<Handle> = OnceLock::new();

/// Starts the background thread, which ends when the returned runtime is dropped. [`spawn`] uses
/// the runtime of the first call only.
///
/// # Errors
///
/// Fails if the operating system cannot create the thread.
pub fn start() -> Result<Runtime> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("background")
        .enable_all()
        .build()?;
    // Fails if a runtime is set already, which then stays in use.
    let _ = BACKGROUND.set(runtime.handle().clone());
    Ok(runtime)
}

/// Runs a task on the background thread; if [`start`] was not called, on the caller's runtime.
pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    match BACKGROUND.get() {
        Some(background) => background.spawn(task),
        None => tokio::spawn(task),
    }
}
