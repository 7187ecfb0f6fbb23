//! The state of a capture in a file: the same JSON that Flow keeps.
//!
//! A file is only ever replaced whole. Whatever happens when, the path leads to the state of one
//! checkpoint, and once [`StateFile::commit`] has returned to that one or a later one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::merge_patch::merge_patch;
use crate::capture::State;
use crate::error::{Error, ErrorKind, Result};

/// Only for its owner: positions of scans are keys of rows.
const MODE: u32 = 0o600;

/// A state file that this process alone uses.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    folder: PathBuf,
    /// What is written first and then takes the file's place.
    temporary: PathBuf,
    value: Value,
    _lock: Lock,
}

impl StateFile {
    /// Takes hold of a state file and reads it. One that does not exist is a first start.
    ///
    /// # Errors
    ///
    /// Fails if another process has it, or if it does not hold a state; it stays as it is then.
    pub(super) fn open(path: &Path) -> Result<(Self, State)> {
        // The file that a link leads to is what is replaced, not the link.
        let path = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(io_error("cannot be opened", path, error)),
        };
        let Some(name) = path.file_name().filter(|_| !path.is_dir()) else {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!("{} is not the name of a file for the state", path.display()),
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

    /// Merges a patch into the state. When this returns the result is on disk.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written; the file then has the state of an earlier checkpoint.
    pub(super) fn commit(&mut self, patch: &str) -> Result<()> {
        let patch = serde_json::from_str(patch).map_err(|error| {
            Error::new(ErrorKind::Internal, "a checkpoint is not JSON").with_source(error)
        })?;
        merge_patch(&mut self.value, patch);
        self.replace(format!("{}\n", self.value).as_bytes())
            .map_err(|error| io_error("cannot be written", &self.path, error))
    }

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
        // The new name is an entry of the folder, which is written by itself.
        File::open(&self.folder)?.sync_all()
    }
}

fn parse(bytes: &[u8], path: &Path) -> Result<(Value, State)> {
    let unusable = |error: Error| {
        error.context(format!(
            "state file {} cannot be used; it is left as it is: repair it, or remove it to start \
             anew with a backfill of all tables",
            path.display()
        ))
    };
    let text = str::from_utf8(bytes).map_err(|_| unusable(invalid_state("it is not UTF-8")))?;
    // What is empty was not written here, and to start anew would give the slot's position away.
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

/// The right to use a state file: a lock on a file beside it, since the file itself is replaced.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    /// The lock is on the open file and ends with it.
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
            // Its last owner may have removed it meanwhile, and the next one made another.
            let locked = file.metadata().map_err(lock_error)?;
            let named = fs::metadata(&path);
            if named.is_ok_and(|named| (named.dev(), named.ino()) == (locked.dev(), locked.ino())) {
                // Whoever waits for it wants to know; a failure to say so is no reason to stop.
                let _ = file.set_len(0);
                let _ = writeln!(file, "{}", std::process::id());
                return Ok(Self { path, file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still locked: nobody takes one that is about to go for its own.
        let _ = fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own, removed at the end.
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
        // The lock file of a process that was killed locks nothing.
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
            "written in place"
        );
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, MODE);
        // Nothing can be written where a folder stands.
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
