//! Processes and folders that end with the test that made them, even if it is killed.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Account that the servers run as if the tests run as root, because PostgreSQL refuses root.
const ACCOUNT: &str = "nobody";

/// Returns whether the tests run as root.
fn is_root() -> bool {
    account().is_some()
}

/// Returns the user and group id of [`ACCOUNT`] if the tests run as root.
pub(crate) fn account() -> Option<(u32, u32)> {
    static IDS: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *IDS.get_or_init(|| {
        let id = |arguments: &[&str]| -> u32 {
            let output = Command::new("id")
                .args(arguments)
                .output()
                .expect("id runs");
            let text = String::from_utf8(output.stdout).expect("id prints text");
            text.trim().parse().expect("id prints a number")
        };
        (id(&["-u"]) == 0).then(|| (id(&["-u", ACCOUNT]), id(&["-g", ACCOUNT])))
    })
}

/// Changes the owner of a file or folder to the account of the servers.
pub(crate) fn give_to_account(path: &Path) {
    if let Some((user, group)) = account() {
        std::os::unix::fs::chown(path, Some(user), Some(group)).expect("root may chown");
    }
}

/// Returns a command that runs `program` as the account of the servers.
pub(crate) fn unprivileged(program: &Path) -> Command {
    let Some((user, group)) = account() else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={user}"))
        .arg(format!("--regid={group}"))
        .arg("--clear-groups")
        .arg(program);
    command
}

/// A temporary folder and a process that uses it. Both are removed when this value is dropped or
/// the test process ends.
///
/// The process is started by a shell script (`serve.sh`), whose standard input is a pipe from the
/// test process. The kernel closes the pipe when the test process dies for any reason, and the
/// script then stops the process and removes the folder.
#[derive(Debug)]
pub(crate) struct Guarded {
    folder: PathBuf,
    shell: Option<(Child, ChildStdin)>,
}

impl Guarded {
    /// Creates an empty folder that the account of the servers owns.
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!(
            "source-postgres-test-{}-{number}-{name}",
            process::id()
        ));
        fs::create_dir(&folder).expect("the temporary folder is created");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("the mode is set");
        give_to_account(&folder);
        let mut guarded = Self {
            folder,
            shell: None,
        };
        guarded
            .run(Path::new("true"), &[], Stdio::null())
            .expect("serve.sh starts");
        guarded
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Writes a file that only its owner can read, and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("the file is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the mode is set");
        path.to_str()
            .expect("temporary folders are UTF-8")
            .to_owned()
    }

    /// Stops the process that is running, if any, and runs `program` in its place.
    pub(crate) fn run(&mut self, program: &Path, arguments: &[&str], log: Stdio) -> io::Result<()> {
        self.stop("stop");
        let mut child = Command::new("/bin/sh")
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/support/serve.sh"
            ))
            .arg(&self.folder)
            .arg(if is_root() { ACCOUNT } else { "-" })
            .arg(program)
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()?;
        let pipe = child.stdin.take().expect("standard input is piped");
        self.shell = Some((child, pipe));
        Ok(())
    }

    /// Stops the process, and keeps the folder. `how` is a word that `serve.sh` knows.
    pub(crate) fn stop(&mut self, how: &str) {
        if let Some((mut child, mut pipe)) = self.shell.take() {
            // The pipe is closed if the script has already ended.
            let _ = writeln!(pipe, "{how}");
            drop(pipe);
            let _ = child.wait();
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        match self.shell.take() {
            Some((mut child, pipe)) => {
                drop(pipe);
                let _ = child.wait();
            }
            None => {
                let _ = fs::remove_dir_all(&self.folder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::wait;

    /// Drops only the pipe, as the kernel does for a parent that was killed.
    #[test]
    fn a_killed_parent_leaves_neither_process_nor_folder() {
        let mut guarded = Guarded::new("orphan");
        let folder = guarded.path().to_owned();
        let note = folder.join("pid");
        let script = format!("echo $$ >{}; exec sleep 1000", note.display());
        guarded
            .run(Path::new("/bin/bash"), &["-c", &script], Stdio::null())
            .expect("bash runs");
        let pid = wait::until("the process", || {
            fs::read_to_string(&note).ok()?.trim().parse::<u32>().ok()
        });

        let (mut shell, pipe) = guarded.shell.take().expect("the process runs");
        drop(pipe);
        shell.wait().expect("the shell ends");
        assert!(!folder.exists(), "the folder is left");
        assert!(
            !Path::new(&format!("/proc/{pid}")).exists(),
            "process {pid} is left"
        );
    }

    #[test]
    fn a_panic_removes_the_folder() {
        let folder = std::panic::catch_unwind(|| {
            let guarded = Guarded::new("panic");
            let folder = guarded.path().to_owned();
            assert!(folder.exists());
            std::panic::panic_any(folder);
        })
        .expect_err("the closure panics");
        let folder = folder
            .downcast::<PathBuf>()
            .expect("the panic carries the path");
        assert!(!folder.exists());
    }
}
