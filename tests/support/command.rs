//! The command `source-postgres capture`, with its files in a temporary folder.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

use super::folder::Guarded;
use super::json::parse;
use super::task::Document;
use super::wait;

/// A folder with the files that the command reads and writes.
pub(crate) struct CommandFolder {
    folder: Guarded,
    runs: usize,
}

impl CommandFolder {
    pub(crate) fn new() -> Self {
        Self {
            folder: Guarded::new("cli"),
            runs: 0,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("a file is written");
        path.to_str().expect("UTF-8").to_owned()
    }

    pub(crate) fn state_path(&self) -> String {
        self.path("state.json").to_str().expect("UTF-8").to_owned()
    }

    /// Returns the content of the state file, or null if the file does not exist.
    pub(crate) fn state(&self) -> Value {
        match fs::read_to_string(self.path("state.json")) {
            Ok(text) => parse(text.as_bytes()).expect("the state is whole whenever it is read"),
            Err(_) => Value::Null,
        }
    }

    /// Starts the command, with standard output and standard error redirected to files.
    pub(crate) fn start(&mut self, arguments: &[&str]) -> Run {
        self.runs += 1;
        let output = self.path(&format!("output{}", self.runs));
        let log = self.path(&format!("log{}", self.runs));
        let file = |path: &Path| File::create(path).expect("a file is made");
        let child = command(arguments)
            .stdout(file(&output))
            .stderr(file(&log))
            .spawn()
            .expect("the command starts");
        Run { child, output, log }
    }
}

/// Returns the command `source-postgres capture` with these arguments.
pub(crate) fn command(arguments: &[&str]) -> Command {
    // The command gets the signal when the test's thread ends, so that no process remains.
    let mut command = Command::new("setpriv");
    command
        .args([
            "--pdeathsig",
            "KILL",
            env!("CARGO_BIN_EXE_source-postgres"),
            "capture",
        ])
        .args(arguments)
        .stdin(Stdio::null());
    for name in ["SHUTDOWN_AFTER_POLLING", "LOG_LEVEL", "LOG_FORMAT"] {
        command.env_remove(name);
    }
    command
}

/// A running command.
pub(crate) struct Run {
    pub(crate) child: Child,
    output: PathBuf,
    log: PathBuf,
}

impl Run {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("the log is UTF-8")
    }

    /// Returns the documents written so far, under the names of their collections. An incomplete
    /// last line is left out.
    pub(crate) fn documents(&self) -> Vec<Document> {
        let text = fs::read_to_string(&self.output).expect("the output is UTF-8");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(document).collect()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait::until("the end of the command", || {
            self.child.try_wait().expect("a child can be waited for")
        })
    }

    /// Waits for the command to end, which it must do without an error. Returns documents and log.
    pub(crate) fn finish(mut self) -> (Vec<Document>, String) {
        let status = self.wait();
        assert!(status.success(), "{status}\n{}", self.log());
        (self.documents(), self.log())
    }

    /// Waits for the command to end, which it must do with an error. Returns the log.
    pub(crate) fn fail(mut self) -> String {
        let status = self.wait();
        assert_eq!(status.code(), Some(1), "{}", self.log());
        self.log()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the process is killed");
        let status = self.child.wait().expect("the process has ended");
        assert_eq!(
            status.signal(),
            Some(9),
            "the command had already ended\n{}",
            self.log()
        );
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Both fail if the command has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Parses a line of output: `["collection", document]`, with one space after the comma.
pub(crate) fn document(line: &str) -> Document {
    let parsed = parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
    let Value::Array(mut parts) = parsed else {
        panic!("not an array: {line}");
    };
    assert_eq!(parts.len(), 2, "{line}");
    let value = parts.remove(1);
    let table = parts[0].as_str().expect("the collection's name").to_owned();
    assert_eq!(
        line,
        format!("[{}, {}]", parts[0], document_text(line)),
        "another form than [\"collection\", document]"
    );
    Document {
        table,
        value,
        text: String::new(),
    }
}

/// Returns the text of the document in a line of output.
fn document_text(line: &str) -> &str {
    let start = line.find(", ").expect("the line has a separator") + 2;
    &line[start..line.len() - 1]
}
