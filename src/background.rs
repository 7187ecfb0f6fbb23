//! The thread beside the session's own.
//!
//! A session runs on the main thread, which also waits for its sockets, so that what arrives wakes
//! one thread and not two. It blocks while its output is not taken. What has to go on meanwhile is
//! spawned here: status updates, acknowledgements, signals.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::error::Result;

static BACKGROUND: OnceLock<Handle> = OnceLock::new();

/// Starts the thread. It ends with what is returned. A second one serves nobody.
///
/// # Errors
///
/// If the system has no thread to give.
pub fn start() -> Result<Runtime> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("background")
        .enable_all()
        .build()?;
    // Where there was one already, that one stays.
    let _ = BACKGROUND.set(runtime.handle().clone());
    Ok(runtime)
}

/// Runs a task on that thread; where [`start`] was not called, on the runtime of the caller.
pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    match BACKGROUND.get() {
        Some(background) => background.spawn(task),
        None => tokio::spawn(task),
    }
}
