//! A connector process, driven in the way a Flow runtime drives it.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::json::parse;
use super::messages::{Codec, Request, Response, Spec};
use super::wait::TIMEOUT;

/// Number of responses that are read before the test takes them.
///
/// A test that takes no responses thus blocks a connector whose output exceeds this and the pipe's
/// buffer, as a slow runtime does.
const BUFFERED_RESPONSES: usize = 16;

/// Settings of a connector process.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) codec: Codec,
    pub(crate) environment: Vec<(String, String)>,
    /// Largest size in bytes of a file that the process can write.
    pub(crate) file_size_limit: Option<u64>,
    /// Limit in bytes of the memory that the process allocates, its stacks included, whether in use
    /// or not. Exceeding it ends the process.
    pub(crate) data_limit: Option<u64>,
}

impl Launch {
    pub(crate) fn new(codec: Codec) -> Self {
        Self {
            codec,
            environment: Vec::new(),
            file_size_limit: None,
            data_limit: None,
        }
    }

    /// Sets an environment variable of the process.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes the capture end when it has caught up.
    pub(crate) fn until_caught_up(self) -> Self {
        self.variable("SHUTDOWN_AFTER_POLLING", "yes")
    }

    /// Starts the process.
    pub(crate) fn start(&self) -> Connector {
        // The connector gets the signal when the test's thread ends, so that no process remains.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(bytes) = self.file_size_limit {
            // With the signal ignored, the write fails as on a full disk instead of ending the
            // process.
            command.args(["env", "--ignore-signal=XFSZ", "prlimit"]);
            command.arg(format!("--fsize={bytes}"));
        }
        if let Some(bytes) = self.data_limit {
            command.args(["prlimit", &format!("--data={bytes}")]);
        }
        command.arg(env!("CARGO_BIN_EXE_source-postgres"));
        for name in [
            "FLOW_RUNTIME_CODEC",
            "SHUTDOWN_AFTER_POLLING",
            "DOCS_URL",
            "LOG_LEVEL",
        ] {
            command.env_remove(name);
        }
        command.env("LOG_FORMAT", "json").env("LOG_LEVEL", "debug");
        if self.codec == Codec::Json {
            command.env("FLOW_RUNTIME_CODEC", "json");
        }
        command.envs(self.environment.iter().cloned());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Connector::new(command.spawn().expect("the connector starts"), self.codec)
    }

    /// Starts a process, sends it Spec and `request`, and returns the response to `request`.
    pub(crate) fn ask(&self, request: &Request) -> Result<Response, Failure> {
        let mut connector = self.start();
        connector.ask_spec()?;
        connector.send(request);
        connector.close_input();
        let answer = connector.next();
        let end = connector.next();
        let status = connector.wait();
        match (answer, end) {
            (Some(response), None) if status.success() => Ok(response),
            (None, None) if !status.success() => Err(Failure {
                status,
                log: connector.log.clone(),
            }),
            (answer, end) => panic!(
                "answered {answer:?}, then {end:?}, and ended with {status}\n{}",
                connector.log
            ),
        }
    }
}

/// The end of a connector process with an error.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: ExitStatus,
    pub(crate) log: Log,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended with {}\n{}", self.status, self.log)
    }
}

/// A running connector.
#[derive(Debug)]
pub(crate) struct Connector {
    child: Child,
    input: Option<ChildStdin>,
    codec: Codec,
    /// `None` after the process was killed.
    responses: Option<Receiver<Response>>,
    pub(crate) log: Log,
    readers: Vec<JoinHandle<()>>,
}

/// Result of waiting for a response.
#[derive(Debug)]
pub(crate) enum Next {
    Response(Response),
    End,
    TimedOut,
}

impl Connector {
    fn new(mut child: Child, codec: Codec) -> Self {
        let input = child.stdin.take();
        let output = child.stdout.take().expect("standard output is piped");
        let errors = child.stderr.take().expect("standard error is piped");
        let log = Log::default();
        let (sender, responses) = mpsc::sync_channel(BUFFERED_RESPONSES);
        let pump = thread::spawn(move || {
            read_responses(output, codec, |response| sender.send(response).is_ok());
        });
        let lines = log.clone();
        let logger = thread::spawn(move || {
            for line in BufReader::new(errors).split(b'\n').map_while(Result::ok) {
                lines.push(&String::from_utf8_lossy(&line));
            }
        });
        Self {
            child,
            input,
            codec,
            responses: Some(responses),
            log,
            readers: vec![pump, logger],
        }
    }

    /// Sends Spec, which the runtime sends to every process first, and returns the response.
    pub(crate) fn ask_spec(&mut self) -> Result<Value, Failure> {
        self.send(&Request {
            spec: Some(Spec {
                config_json: b"{}".to_vec(),
                ..Spec::default()
            }),
            ..Request::default()
        });
        match self.next() {
            Some(Response::Spec(spec)) => Ok(spec),
            Some(other) => panic!("answered Spec with {other:?}"),
            None => {
                let status = self.wait();
                Err(Failure {
                    status,
                    log: self.log.clone(),
                })
            }
        }
    }

    /// Sends a request. A failure is ignored: a process that has ended is noticed by its exit
    /// status.
    pub(crate) fn send(&mut self, request: &Request) {
        self.send_bytes(&request.encode_with(self.codec));
    }

    /// Sends bytes, which need not be a valid request.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("the input is open");
        let _ = input.write_all(bytes).and_then(|()| input.flush());
    }

    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// Returns the next response, or `None` at the end of the output.
    pub(crate) fn next(&mut self) -> Option<Response> {
        match self.next_within(TIMEOUT) {
            Next::Response(response) => Some(response),
            Next::End => None,
            Next::TimedOut => panic!("no response within {TIMEOUT:?}\n{}", self.log),
        }
    }

    pub(crate) fn next_within(&mut self, limit: Duration) -> Next {
        let responses = self.responses.as_ref().expect("not killed");
        match responses.recv_timeout(limit) {
            Ok(response) => Next::Response(response),
            Err(RecvTimeoutError::Timeout) => Next::TimedOut,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }

    /// Waits for the process to end of its own accord.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                self.join();
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the connector does not end\n{}",
                self.log
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the peak resident memory of the running process, in kB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .expect("a number of kB")
    }

    /// Kills the process with SIGKILL. Output that has not been read is lost.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the child can be killed");
        self.child.wait().expect("the child can be waited for");
        self.responses = None;
        self.join();
    }

    fn join(&mut self) {
        for reader in self.readers.drain(..) {
            if let Err(panic) = reader.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        // Both fail if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes each complete response to `take` until `take` returns false or the output ends.
fn read_responses(mut output: impl Read, codec: Codec, mut take: impl FnMut(Response) -> bool) {
    let mut buffer = Vec::new();
    let mut start = 0;
    loop {
        while let Some((length, response)) = Response::take(&buffer[start..], codec) {
            start += length;
            if !take(response) {
                return;
            }
        }
        buffer.drain(..start);
        start = 0;
        let filled = buffer.len();
        buffer.resize(filled + (64 << 10), 0);
        // A process that was killed may leave an incomplete last message, which is dropped.
        let count = output.read(&mut buffer[filled..]).unwrap_or(0);
        buffer.truncate(filled + count);
        if count == 0 {
            return;
        }
    }
}

/// The log of a connector process, which can be read while the process runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<(Mutex<Vec<Line>>, Condvar)>);

/// One line of a log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) level: String,
    pub(crate) message: String,
    /// The line as a JSON object; null if the line is not a JSON object.
    pub(crate) fields: Value,
}

impl Line {
    fn parse(text: &str) -> Self {
        let fields = parse(text.as_bytes()).unwrap_or_default();
        let member = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
        if fields.is_object() {
            Self {
                level: member("level"),
                message: member("msg"),
                fields,
            }
        } else {
            Self {
                level: String::new(),
                message: text.to_owned(),
                fields: Value::Null,
            }
        }
    }

    /// Returns a field as text: the content of a JSON string, the JSON of any other value.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        match self.fields.get(name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}

impl Log {
    fn push(&self, line: &str) {
        let (lines, arrived) = &*self.0;
        lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Line::parse(line));
        arrived.notify_all();
    }

    /// Returns every line logged so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.0
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns the first line logged so far that satisfies `condition`.
    pub(crate) fn find(&self, condition: impl Fn(&Line) -> bool) -> Option<Line> {
        let lines = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().find(|line| condition(line)).cloned()
    }

    /// Waits until a line that satisfies `condition` is logged. Panics with `what` if none is.
    pub(crate) fn wait_for(&self, what: &str, condition: impl Fn(&Line) -> bool) -> Line {
        let (lines, arrived) = &*self.0;
        let mut held = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(line) = held.iter().find(|line| condition(line)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(held);
                panic!("no {what} in the log within {TIMEOUT:?}\n{self}");
            }
            held = arrived
                .wait_timeout(held, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl fmt::Display for Log {
    /// Writes the last lines of the log, for the message of a failed test.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        let last = &lines[lines.len().saturating_sub(40)..];
        writeln!(f, "--- last {} of {} log lines", last.len(), lines.len())?;
        for line in last {
            if line.fields.is_null() {
                writeln!(f, "{}", line.message)?;
            } else {
                writeln!(f, "{}", line.fields)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn log_lines_are_found_by_message_and_field() {
        let log = Log::default();
        log.push(r#"{"level":"info","msg":"hello","xid":7,"name":"x"}"#);
        log.push("plain words");
        let line = log.wait_for("greeting", |line| line.message == "hello");
        assert_eq!(
            (line.level.as_str(), line.field("xid")),
            ("info", Some("7".to_owned()))
        );
        assert_eq!(line.field("name"), Some("x".to_owned()));
        assert_eq!(line.field("none"), None);
        let plain = log
            .find(|line| line.message.contains("plain"))
            .expect("the line was logged");
        assert!(plain.fields.is_null());
        assert!(log.find(|line| line.level == "fatal").is_none());
    }

    #[test]
    fn a_response_is_whole_even_if_it_arrives_byte_by_byte() {
        struct Drip<'a>(&'a [u8]);
        impl Read for Drip<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                let Some((first, rest)) = self.0.split_first() else {
                    return Ok(0);
                };
                buffer[0] = *first;
                self.0 = rest;
                Ok(1)
            }
        }
        let text = b"{\"applied\":{}}\n{\"captured\":{\"doc\":{\"n\":1.10}}}\n{\"appl";
        let mut found = Vec::new();
        read_responses(Drip(text), Codec::Json, |response| {
            found.push(response);
            true
        });
        let number: Value = serde_json::from_str("1.10").expect("a number");
        let document = json!({"n": number});
        let captured = Response::Captured {
            binding: 0,
            document,
            text: String::new(),
        };
        assert_eq!(found, [Response::Applied(String::new()), captured]);
    }
}
