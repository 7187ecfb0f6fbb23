//! A connector process, driven as a Flow runtime drives it.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::messages::{Codec, Request, Response, Spec};
use super::wait::PATIENCE;

/// How many responses wait for a test before the connector's output is no longer read.
///
/// A test that looks away so stops a connector with more to say than a pipe holds, as a slow
/// runtime does.
const WAITING_RESPONSES: usize = 16;

/// How to start a connector.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) codec: Codec,
    pub(crate) environment: Vec<(String, String)>,
    /// The size in bytes beyond which no file can be written.
    pub(crate) largest_file: Option<u64>,
    /// The size in bytes beyond which memory for data is refused, which ends the process: what a
    /// program allocates and its stacks, whether in use or not.
    pub(crate) most_data: Option<u64>,
}

impl Launch {
    pub(crate) fn new(codec: Codec) -> Self {
        Self {
            codec,
            environment: Vec::new(),
            largest_file: None,
            most_data: None,
        }
    }

    /// Sets an environment variable of the process.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Ends the capture when it has caught up.
    pub(crate) fn until_caught_up(self) -> Self {
        self.variable("SHUTDOWN_AFTER_POLLING", "yes")
    }

    /// Starts the process.
    pub(crate) fn start(&self) -> Connector {
        // The signal reaches it when the test's thread ends, so that none is left behind.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(bytes) = self.largest_file {
            // Writing fails then, as on a full disk, instead of ending the process.
            command.args(["env", "--ignore-signal=XFSZ", "prlimit"]);
            command.arg(format!("--fsize={bytes}"));
        }
        if let Some(bytes) = self.most_data {
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

    /// Sends Spec and one more request to a process of its own, and returns the answer to it.
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

/// A process that ended with an error.
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
    /// None after a kill.
    responses: Option<Receiver<Response>>,
    pub(crate) log: Log,
    readers: Vec<JoinHandle<()>>,
}

/// What a wait for a response came to.
#[derive(Debug)]
pub(crate) enum Next {
    Response(Response),
    End,
    Nothing,
}

impl Connector {
    fn new(mut child: Child, codec: Codec) -> Self {
        let input = child.stdin.take();
        let output = child.stdout.take().expect("standard output is piped");
        let errors = child.stderr.take().expect("standard error is piped");
        let log = Log::default();
        let (sender, responses) = mpsc::sync_channel(WAITING_RESPONSES);
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

    /// Sends Spec, as the runtime does first on every process, and returns the answer.
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

    /// Sends a request. A process that has ended does not take it, which its exit status tells.
    pub(crate) fn send(&mut self, request: &Request) {
        self.send_bytes(&request.encode_with(self.codec));
    }

    /// Sends bytes that need not be a request.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("the input is open");
        let _ = input.write_all(bytes).and_then(|()| input.flush());
    }

    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// Returns the next response, or none at the end of the output.
    pub(crate) fn next(&mut self) -> Option<Response> {
        match self.next_within(PATIENCE) {
            Next::Response(response) => Some(response),
            Next::End => None,
            Next::Nothing => panic!("no response within {PATIENCE:?}\n{}", self.log),
        }
    }

    pub(crate) fn next_within(&mut self, limit: Duration) -> Next {
        let responses = self.responses.as_ref().expect("not killed");
        match responses.recv_timeout(limit) {
            Ok(response) => Next::Response(response),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
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

    /// The most memory that the running process has had in use, in kB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .expect("a number of kB")
    }

    /// Kills the process with SIGKILL. What it has written and nobody has read is lost.
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
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Hands each whole response to `take`, until that returns false or the output ends.
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
        // A process that was killed leaves the last message short; nobody wants the rest of it.
        let count = output.read(&mut buffer[filled..]).unwrap_or(0);
        buffer.truncate(filled + count);
        if count == 0 {
            return;
        }
    }
}

/// The log of a connector, read while it runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<(Mutex<Vec<Line>>, Condvar)>);

/// One line of a log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) level: String,
    pub(crate) message: String,
    /// The whole line as JSON; null if it is not JSON.
    pub(crate) fields: Value,
}

impl Line {
    fn parse(text: &str) -> Self {
        let fields: Value = serde_json::from_str(text).unwrap_or_default();
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

    /// A field as text, whether it is a JSON text or something else.
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

    /// Every line so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.0
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The first line that satisfies `condition`, if there is one yet.
    pub(crate) fn find(&self, condition: impl Fn(&Line) -> bool) -> Option<Line> {
        let lines = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().find(|line| condition(line)).cloned()
    }

    /// Waits for a line that satisfies `condition`.
    pub(crate) fn wait_for(&self, what: &str, condition: impl Fn(&Line) -> bool) -> Line {
        let (lines, arrived) = &*self.0;
        let mut held = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = held.iter().find(|line| condition(line)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(held);
                panic!("no {what} in the log within {PATIENCE:?}\n{self}");
            }
            held = arrived
                .wait_timeout(held, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl fmt::Display for Log {
    /// The end of the log, for a failed test's message.
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
    fn log_lines_are_found_by_what_they_say() {
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
            .expect("it is there");
        assert!(plain.fields.is_null());
        assert!(log.find(|line| line.level == "fatal").is_none());
    }

    #[test]
    fn responses_come_whole_however_they_arrive() {
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
