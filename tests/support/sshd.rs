//! An OpenSSH server on a port of its own, without privileges.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::folder::{self, Guarded};
use super::postgres::free_port;
use super::wait;

/// A running SSH server, stopped and removed when dropped.
#[derive(Debug)]
pub(crate) struct Sshd {
    guarded: Guarded,
    port: u16,
}

impl Sshd {
    /// Starts a server that accepts the given public keys, with additional lines of configuration.
    pub(crate) fn start(authorized_keys: &str, settings: &str) -> Self {
        let guarded = Guarded::new("sshd");
        let mut sshd = Self {
            guarded,
            port: free_port(),
        };
        let authorized = sshd.write("authorized_keys", authorized_keys);
        sshd.make_host_key();
        // Without PAM, sshd regards accounts that have no password as locked.
        let config = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {authorized}\n\
             PidFile none\nUsePAM yes\nStrictModes no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n{settings}\n",
            sshd.port,
            sshd.path("host_key"),
        );
        sshd.write("config", &config);
        sshd.resume();
        sshd
    }

    /// Returns the user to log in as, which is the user that the server runs as.
    pub(crate) fn user() -> String {
        if folder::account().is_some() {
            return "nobody".to_owned();
        }
        let output = Command::new("id").arg("-un").output().expect("id runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the server's address in the form of the connector's configuration.
    pub(crate) fn endpoint(&self) -> String {
        format!("ssh://{}@127.0.0.1:{}", Self::user(), self.port)
    }

    /// Restarts the server on the same port with a new host key.
    pub(crate) fn restart_with_new_host_key(&mut self) {
        self.guarded.stop("stop");
        self.make_host_key();
        self.resume();
    }

    fn make_host_key(&self) {
        let key = PathBuf::from(self.path("host_key"));
        let _ = fs::remove_file(&key);
        make_key(&key, &["-t", "ed25519"]);
        folder::give_to_account(&key);
    }

    fn resume(&mut self) {
        let log = fs::File::create(self.path("log")).expect("the log opens");
        let config = self.path("config");
        let program = Path::new("/usr/sbin/sshd");
        assert!(
            program.exists(),
            "sshd is missing: run tests/support/install-servers.sh"
        );
        self.guarded
            .run(program, &["-D", "-e", "-f", &config], Stdio::from(log))
            .expect("serve.sh starts");
        wait::until("sshd to listen", || {
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
    }

    fn path(&self, name: &str) -> String {
        let path = self.guarded.path().join(name);
        path.to_str()
            .expect("temporary folders are UTF-8")
            .to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.guarded.write(name, text);
        folder::give_to_account(Path::new(&path));
        path
    }
}

/// Creates a key without a passphrase, and returns the public key.
pub(crate) fn make_key(path: &Path, options: &[&str]) -> String {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-C", "test", "-f"])
        .arg(path)
        .args(options)
        .status()
        .expect("ssh-keygen runs");
    assert!(status.success(), "ssh-keygen {options:?}");
    fs::read_to_string(path.with_extension("pub")).expect("ssh-keygen wrote the public key")
}
