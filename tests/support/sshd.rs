//! OpenSSH's server, on a port of its own and without privileges.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::folder::{self, Guarded};
use super::postgres::free_port;
use super::wait;

/// A running server, stopped and removed when dropped.
#[derive(Debug)]
pub(crate) struct Sshd {
    guarded: Guarded,
    port: u16,
}

impl Sshd {
    /// Starts a server that lets in whoever has one of these keys, with further lines of
    /// configuration.
    pub(crate) fn start(authorized_keys: &str, settings: &str) -> Self {
        let guarded = Guarded::new("sshd");
        let mut sshd = Self {
            guarded,
            port: free_port(),
        };
        let authorized = sshd.write("authorized_keys", authorized_keys);
        sshd.make_host_key();
        // Without PAM, it takes accounts without a password of their own for locked.
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

    /// The user to log in as: the one that it runs as.
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

    /// Its address as the connector's configuration names it.
    pub(crate) fn endpoint(&self) -> String {
        format!("ssh://{}@127.0.0.1:{}", Self::user(), self.port)
    }

    /// Starts it again at the same port, as another host.
    pub(crate) fn become_another(&mut self) {
        self.guarded.stop("stop");
        self.make_host_key();
        self.resume();
    }

    fn make_host_key(&self) {
        let key = PathBuf::from(self.path("host_key"));
        let _ = fs::remove_file(&key);
        make_key(&key, &["-t", "ed25519"]);
        folder::hand_over(&key);
    }

    fn resume(&mut self) {
        let log = fs::File::create(self.path("log")).expect("the log opens");
        let config = self.path("config");
        let program = Path::new("/usr/sbin/sshd");
        assert!(
            program.exists(),
            "there is no sshd: run tests/support/install-servers.sh"
        );
        self.guarded
            .run(program, &["-D", "-e", "-f", &config], Stdio::from(log))
            .expect("the shell starts");
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
        folder::hand_over(Path::new(&path));
        path
    }
}

/// Makes a key without a passphrase; returns its public part.
pub(crate) fn make_key(path: &Path, options: &[&str]) -> String {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-C", "test", "-f"])
        .arg(path)
        .args(options)
        .status()
        .expect("ssh-keygen runs");
    assert!(status.success(), "ssh-keygen {options:?}");
    fs::read_to_string(path.with_extension("pub")).expect("it has a public part")
}
