//! State of a capture in a file, as JSON in the format of Flow.
//!
//! A state file is always replaced as a whole, so that it holds the state of exactly one checkpoint
//! at any time, even after a crash. Once [`StateFile::commit`] has returned, it holds the state of
//! that checkpoint or a later one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::merge_patch::merge_patch;
use crate::capture::State;
use crate::error::{Error, ErrorKind, Result};

/// Permissions for the owner only, since positions of scans are keys of rows.
const MODE: u32 = 0o600;

/// State file, locked against use by other processes.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    folder: PathBuf,
    /// File that is written first and then renamed to `path`.
    temporary: PathBuf,
    /// State as of the last checkpoint.
    value: Value,
    _lock: Lock,
}

impl StateFile {
    /// Locks a state file and reads the state. A missing file means an empty state.
    ///
    /// # Errors
    ///
    /// Fails if another process uses the file, or if the content is not a state. The file stays
    /// unchanged in that case.
    pub(super) fn open(path: &Path) -> Result<(Self, State)> {
        // Resolves symbolic links, so that the target is replaced and not the link.
        let path = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(io_error("cannot be opened", path, error)),
        };
        let Some(name) = path.file_name().filter(|_| !path.is_dir()) else {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "{} cannot be a state file: expected the path of a file",
                    path.display()
                ),
            ));
        };
        let sibling = |suffix: &str| {
            let mut name = name.to_owned();
            name.push(suffix);
            path.with_file_name(name)
        };
        let lock = Lock::take(sibling(".lock"), &path)?;
        let (value, state) = match fs::read(&path) {
            Ok(bytes) => parse(&bytes, &path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (Value::Object(Map::new()), State::default())
            }
            Err(error) => return Err(io_error("cannot be read", &path, error)),
        };
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let file = Self {
            temporary: sibling(".new"),
            folder,
            value,
            path,
            _lock: lock,
        };
        Ok((file, state))
    }

    /// Merges a patch into the state. On return, the new state is on disk.
    ///
    /// # Errors
    ///
    /// Fails if the state cannot be written. The file then holds the state of an earlier
    /// checkpoint.
    pub(super) fn commit(&mut self, patch: &str) -> Result<()> {
        let patch = serde_json::from_str(patch).map_err(|error| {
            Error::new(
                ErrorKind::Internal,
                "the state of a checkpoint is not valid JSON",
            )
            .with_source(error)
        })?;
        merge_patch(&mut self.value, patch);
        self.replace(format!("{}\n", self.value).as_bytes())
            .map_err(|error| io_error("cannot be written", &self.path, error))
    }

    /// Replaces the content of the file atomically and synchronises it to disk.
    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(MODE)
            .open(&self.temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        // The rename is durable once the folder is synchronised, too.
        File::open(&self.folder)?.sync_all()
    }
}

fn parse(bytes: &[u8], path: &Path) -> Result<(Value, State)> {
    let unusable = |error: Error| {
        error.context(format!(
            "state file {} cannot be used and was left unchanged: repair it, or remove it to start \
             from the beginning with a backfill of all tables",
            path.display()
        ))
    };
    let text = str::from_utf8(bytes).map_err(|_| unusable(invalid_state("it is not UTF-8")))?;
    // This connector never writes an empty file, and a start from the beginning would lose the
    // position of the slot.
    if text.trim().is_empty() {
        return Err(unusable(invalid_state("it is empty")));
    }
    let state = State::parse(text).map_err(unusable)?;
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok((value, state)),
        _ => Err(unusable(invalid_state("it is not a JSON object"))),
    }
}

fn invalid_state(what: &str) -> Error {
    Error::new(ErrorKind::State, what)
}

fn io_error(what: &str, path: &Path, error: io::Error) -> Error {
    Error::new(
        ErrorKind::Io,
        format!("state file {} {what}", path.display()),
    )
    .with_source(error)
}

/// Exclusive use of a state file, by a lock on a second file, since the state file itself is
/// replaced.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    /// Open lock file; the lock ends when it is closed.
    file: File,
}

impl Lock {
    fn take(path: PathBuf, state_path: &Path) -> Result<Self> {
        let lock_error = |error| io_error("cannot be locked", state_path, error);
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(MODE)
                .open(&path)
                .map_err(lock_error)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => {
                    let process = io::read_to_string(file).unwrap_or_default();
                    return Err(Error::new(
                        ErrorKind::State,
                        format!(
                            "state file {} is in use by another capture (process {})",
                            state_path.display(),
                            process.trim()
                        ),
                    ));
                }
                Err(fs::TryLockError::Error(error)) => return Err(lock_error(error)),
            }
            // Between opening and locking, the previous owner may have removed the file and another
            // process created a new one. The lock counts only if the path still names this file.
            let locked = file.metadata().map_err(lock_error)?;
            let named = fs::metadata(&path);
            if named.is_ok_and(|named| (named.dev(), named.ino()) == (locked.dev(), locked.ino())) {
                // Names the owner for the error of a second process; the lock is valid without.
                let _ = file.set_len(0);
                let _ = writeln!(file, "{}", std::process::id());
                return Ok(Self { path, file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed before it is unlocked, so that no other process can lock a file that is about to
        // be removed.
        let _ = fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Temporary folder, removed at the end of the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let id = std::process::id();
            let path = std::env::temp_dir().join(format!("source-postgres-state-{id}-{name}"));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<_> = fs::read_dir(&self.0)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn patches_are_merged_and_the_state_is_read_back() {
        let folder = Folder::new("merged");
        let path = folder.0.join("state.json");
        let (mut file, state) = StateFile::open(&path).unwrap();
        assert!(state.cursor.is_none() && state.bindings.is_empty());
        assert!(!path.exists());
        file.commit(r#"{"cursor":null}"#).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n");
        file.commit(
            r#"{"cursor":"0/10","bindingStateV1":{"a":{"mode":"Backfill","key_columns":["id"],"scanned":"FQM=","backfilled":3}}}"#,
        )
        .unwrap();
        file.commit(
            r#"{"cursor":"0/20","bindingStateV1":{"a":{"mode":"Active","key_columns":["id"],"scanned":null,"backfilled":5}}}"#,
        )
        .unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            r#"{"bindingStateV1":{"a":{"backfilled":5,"key_columns":["id"],"mode":"Active"}},"cursor":"0/20"}"#
                .to_owned()
                + "\n"
        );
        assert_eq!(folder.names(), ["state.json", "state.json.lock"]);
        drop(file);
        assert_eq!(folder.names(), ["state.json"]);

        let (_file, state) = StateFile::open(&path).unwrap();
        assert_eq!(state.cursor.unwrap().to_string(), "0/20");
        assert_eq!(state.bindings["a"].backfilled, 5);
    }

    #[test]
    fn a_file_that_is_not_a_state_is_rejected_and_left_unchanged() {
        let folder = Folder::new("corrupt");
        let path = folder.0.join("state.json");
        for text in [
            &b""[..],
            b" \n",
            b"null",
            b"[]",
            b"{\"cursor\":\"0/1",
            b"{\"cursor\":1}",
            b"{\"x\":1}",
            b"\xff",
        ] {
            fs::write(&path, text).unwrap();
            let error = StateFile::open(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::State, "{error:?}");
            assert!(error.to_string().contains("state.json"), "{error}");
            assert!(error.causes().is_some(), "{error}");
            assert_eq!(fs::read(&path).unwrap(), text);
        }
        assert_eq!(folder.names(), ["state.json"]);
        let error = StateFile::open(&folder.0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    }

    #[test]
    fn only_one_process_may_use_a_state_file() {
        let folder = Folder::new("lock");
        let path = folder.0.join("state.json");
        let (file, _) = StateFile::open(&path).unwrap();
        let error = StateFile::open(&path).unwrap_err();
        let process = format!("in use by another capture (process {})", std::process::id());
        assert!(error.to_string().ends_with(&process), "{error}");
        drop(file);
        StateFile::open(&path).unwrap();
        // A lock file left by a killed process is not locked.
        fs::write(folder.0.join("state.json.lock"), "1\n").unwrap();
        StateFile::open(&path).unwrap();
    }

    #[test]
    fn a_failed_write_leaves_the_previous_state() {
        let folder = Folder::new("atomic");
        let path = folder.0.join("state.json");
        let (mut file, _) = StateFile::open(&path).unwrap();
        file.commit(r#"{"cursor":"0/10"}"#).unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        file.commit(r#"{"cursor":"0/20"}"#).unwrap();
        assert_ne!(
            fs::metadata(&path).unwrap().ino(),
            before,
            "the file was not replaced"
        );
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, MODE);
        // A folder at the path of the temporary file makes the write fail.
        fs::create_dir(folder.0.join("state.json.new")).unwrap();
        let error = file.commit(r#"{"cursor":"0/30"}"#).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"cursor\":\"0/20\"}\n"
        );
    }

    #[test]
    fn a_symbolic_link_is_kept_and_its_target_replaced() {
        let folder = Folder::new("link");
        let (real, link) = (folder.0.join("real.json"), folder.0.join("link.json"));
        fs::write(&real, "{}").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let (mut file, _) = StateFile::open(&link).unwrap();
        file.commit(r#"{"cursor":"0/10"}"#).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::read_to_string(&real).unwrap(),
            "{\"cursor\":\"0/10\"}\n"
        );
    }
}
