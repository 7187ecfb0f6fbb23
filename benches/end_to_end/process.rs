//! Processes whose time and memory are measured.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wait4::Wait4;

/// The size of the reads of a process's output: that of the largest pipe an ordinary user may have.
const READ_SIZE: usize = 1 << 20;

/// How often the memory of a process is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// How long a process may take: whatever is measured takes seconds.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// What a process has used from its start to its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    pub(crate) wall: Duration,
    /// When the first row was there, as far as it is known.
    pub(crate) first: Option<Duration>,
    /// Time on a CPU, in user mode and in the kernel.
    pub(crate) cpu: Duration,
    /// The most memory that was resident, in bytes.
    pub(crate) peak_memory: u64,
    /// Bytes of rows that were read or written, as far as they are known.
    pub(crate) bytes: Option<u64>,
}

/// Returns a command that ends with the thread that starts it, however that ends.
pub(crate) fn guarded(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// Runs a command to its end, which has to be a good one. Its output goes to `take` in pieces,
/// with how much time has passed.
pub(crate) fn run(
    mut command: Command,
    input: &[u8],
    mut take: impl FnMut(&[u8], Duration),
) -> Usage {
    // A process has the peak of the one that started it until it has one of its own.
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
    // A process that ends early says why on standard error.
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

/// Reads what a process says on standard error.
pub(crate) fn read_log(mut errors: ChildStderr) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = Vec::new();
        let _ = errors.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// Looks at the memory of a running process.
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
                // It is set anew when the process becomes another program.
                peak = peak_memory(&process).unwrap_or(peak);
                if start.elapsed() > LIMIT {
                    eprintln!("process {process} does not end");
                    std::process::exit(1);
                }
                thread::sleep(GLANCE);
            }
            peak
        });
        Self { done, thread }
    }

    /// Returns the peak.
    fn stop(self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().expect("it does not panic")
    }
}

/// Returns the peak of a running process in bytes, if it runs still.
fn peak_memory(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}
