//! Child processes, with the time and memory that they use.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wait4::Wait4;

/// Size of a read of a process's output: that of the largest pipe that an ordinary user may have.
const READ_SIZE: usize = 1 << 20;

/// Interval between two looks at the memory of a process.
const MEMORY_INTERVAL: Duration = Duration::from_millis(10);

/// Longest time that a process may take. What is measured takes seconds.
const TIMEOUT: Duration = Duration::from_secs(20 * 60);

/// Time and memory that a process has used, from its start to its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    pub(crate) wall: Duration,
    /// Time until the first row, if it is known.
    pub(crate) first: Option<Duration>,
    /// CPU time, in user mode and in the kernel.
    pub(crate) cpu: Duration,
    /// Peak of the resident memory, in bytes.
    pub(crate) peak_memory: u64,
    /// Bytes of rows that were read or written, if they are known.
    pub(crate) bytes: Option<u64>,
}

/// Returns a command whose process is killed when the thread that starts it ends.
pub(crate) fn guarded(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// Runs a command to its end, and panics if it fails. Its output goes to `take` in pieces, each
/// with the time since the start.
pub(crate) fn run(
    mut command: Command,
    input: &[u8],
    mut take: impl FnMut(&[u8], Duration),
) -> Usage {
    // Until a process exceeds it, its peak is that of the process that started it.
    let inherited = peak_memory("self").expect("this process runs");
    let mut buffer = vec![0; READ_SIZE];
    let mut bytes = 0;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());

    let start = Instant::now();
    let mut child = command.spawn().expect("the process starts");
    let log = read_log(child.stderr.take().expect("standard error is piped"));
    let watch = Watch::start(child.id());
    let mut pipe = child.stdin.take().expect("standard input is piped");
    // A process that ends early reports the reason on standard error.
    let _ = pipe.write_all(input);
    drop(pipe);
    let mut output = child.stdout.take().expect("standard output is piped");
    loop {
        let count = output.read(&mut buffer).expect("a pipe can be read");
        if count == 0 {
            break;
        }
        bytes += count as u64;
        take(&buffer[..count], start.elapsed());
    }
    let end = child.wait4().expect("the process can be waited for");
    let wall = start.elapsed();

    let seen = watch.stop();
    let log = log.join().expect("the log was read");
    assert!(
        end.status.success(),
        "{command:?} ended with {}\n{log}",
        end.status
    );
    let resident = end.rusage.maxrss;
    Usage {
        wall,
        first: None,
        cpu: end.rusage.utime + end.rusage.stime,
        peak_memory: if resident > inherited { resident } else { seen },
        bytes: Some(bytes),
    }
}

/// Reads the standard error of a process, in a thread.
pub(crate) fn read_log(mut errors: ChildStderr) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = Vec::new();
        let _ = errors.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// Observes the memory of a running process.
struct Watch {
    done: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watch {
    fn start(process: u32) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let is_done = Arc::clone(&done);
        let process = process.to_string();
        let thread = thread::spawn(move || {
            let mut peak = 0;
            let start = Instant::now();
            while !is_done.load(Ordering::Relaxed) {
                // The peak is reset when the process executes another program.
                peak = peak_memory(&process).unwrap_or(peak);
                if start.elapsed() > TIMEOUT {
                    eprintln!(
                        "process {process} has not ended within {} s",
                        TIMEOUT.as_secs()
                    );
                    std::process::exit(1);
                }
                thread::sleep(MEMORY_INTERVAL);
            }
            peak
        });
        Self { done, thread }
    }

    /// Stops observing, and returns the peak in bytes.
    fn stop(self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().expect("the thread does not panic")
    }
}

/// Returns the peak of a process's resident memory in bytes, or `None` if it has ended.
fn peak_memory(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}
