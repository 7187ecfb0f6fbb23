//! PostgreSQL servers: one data directory, one port and one postmaster for each [`Server`].

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::certificates::{self, Identity};
use super::folder::{self, Guarded};
use super::wait;

/// A supported major version of PostgreSQL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32);

impl Version {
    /// Every supported version.
    pub(crate) const ALL: [Self; 9] = [
        Self(10),
        Self(11),
        Self(12),
        Self(13),
        Self(14),
        Self(15),
        Self(16),
        Self(17),
        Self(18),
    ];

    /// The version that every test runs against unless it is about others.
    pub(crate) const MAIN: Self = Self(15);

    /// Returns the folder with the programs of this version.
    fn home(self) -> PathBuf {
        let folder = std::env::var_os("POSTGRES_SERVERS").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/postgres-servers"),
            PathBuf::from,
        );
        let home = folder.join(self.0.to_string());
        assert!(
            home.join("bin/postgres").exists(),
            "PostgreSQL {self} is not installed in {}: run tests/support/install-servers.sh",
            home.display(),
        );
        fs::canonicalize(home).expect("the folder exists")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {}", self.0)
    }
}

/// Settings of every server. Sizes are small because several servers run at the same time.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 60
max_wal_senders = 20
max_replication_slots = 20
wal_level = logical
shared_buffers = 32MB
fsync = off
full_page_writes = off
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %u@%d '
";

/// Differences of a server from the default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// Lines for `postgresql.conf`.
    pub(crate) settings: Vec<String>,
    /// Lines of `pg_hba.conf`; if empty, initdb's file is kept, which trusts everyone.
    pub(crate) access: Vec<String>,
    /// Whether to offer TLS, with a self-signed certificate for `localhost` and 127.0.0.1.
    pub(crate) tls: bool,
    /// A certificate to offer TLS with, in place of the self-signed one.
    pub(crate) identity: Option<Identity>,
    /// Locales that the server has in addition to the machine's, each as `language_COUNTRY`, in
    /// UTF-8.
    pub(crate) locales: &'static [&'static str],
}

impl Options {
    pub(crate) fn setting(mut self, line: &str) -> Self {
        self.settings.push(line.to_owned());
        self
    }
}

/// A running server, stopped and removed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    version: Version,
    guarded: Guarded,
    port: u16,
    certificate: Option<String>,
    /// Folder of the locales that the server has in addition to the machine's.
    locales: Option<PathBuf>,
}

impl Server {
    /// Starts a new server with the default settings.
    pub(crate) fn start(version: Version) -> Self {
        Self::with(version, &Options::default())
    }

    /// Starts a new server.
    pub(crate) fn with(version: Version, options: &Options) -> Self {
        let guarded = Guarded::new(&format!("pg{version}"));
        copy_folder(&template(version), &guarded.path().join("data"));
        let mut server = Self {
            version,
            guarded,
            port: 0,
            certificate: None,
            locales: None,
        };
        server.locales = (!options.locales.is_empty()).then(|| compile_locales(options.locales));
        for line in &options.settings {
            server.configure("postgresql.conf", line);
        }
        if !options.access.is_empty() {
            let path = server.data().join("pg_hba.conf");
            fs::write(path, options.access.join("\n") + "\n").expect("pg_hba.conf is written");
        }
        if let Some(identity) = &options.identity {
            server.present_certificate(identity);
        } else if options.tls {
            server.present_certificate(&certificates::self_signed(
                "server",
                &["localhost", "127.0.0.1"],
            ));
        }
        server.resume();
        server
    }

    /// Starts a standby of `primary`, from a copy of its data directory. The primary is stopped
    /// while it is copied, and started again.
    pub(crate) fn standby_of(primary: &mut Self, options: &Options) -> Self {
        let version = primary.version;
        let guarded = Guarded::new(&format!("pg{version}-standby"));
        primary.stop();
        copy_folder(&primary.data(), &guarded.path().join("data"));
        primary.resume();

        let mut standby = Self {
            version,
            guarded,
            port: 0,
            certificate: None,
            locales: None,
        };
        let source = format!(
            "primary_conninfo = 'host=127.0.0.1 port={} user=postgres'",
            primary.port
        );
        if version < Version(12) {
            standby.configure("recovery.conf", "standby_mode = on");
            standby.configure("recovery.conf", &source);
        } else {
            standby.configure("standby.signal", "");
            standby.configure("postgresql.conf", &source);
        }
        standby.configure("postgresql.conf", "hot_standby = on");
        for line in &options.settings {
            standby.configure("postgresql.conf", line);
        }
        standby.resume();
        standby
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the server's address in the form of the connector's configuration.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the certificate of a server with TLS, as PEM.
    pub(crate) fn certificate(&self) -> &str {
        self.certificate
            .as_deref()
            .expect("the server was started with TLS")
    }

    fn data(&self) -> PathBuf {
        self.guarded.path().join("data")
    }

    /// Returns the server's log so far.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.guarded.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Connects as the superuser `postgres`.
    pub(crate) fn connect(&self, database: &str) -> Client {
        self.connect_as("postgres", database)
    }

    /// Connects as `user`, without a password.
    pub(crate) fn connect_as(&self, user: &str, database: &str) -> Client {
        self.try_connect(user, database)
            .unwrap_or_else(|error| panic!("connecting to {:?}: {error:?}", self.version))
    }

    fn try_connect(&self, user: &str, database: &str) -> Result<Client, postgres::Error> {
        Config::new()
            .host("127.0.0.1")
            .port(self.port)
            .user(user)
            .dbname(database)
            .connect_timeout(Duration::from_secs(10))
            .connect(NoTls)
    }

    /// Stops the server with a fast shutdown, which disconnects its clients, and keeps its data.
    pub(crate) fn stop(&mut self) {
        self.guarded.stop("stop");
    }

    /// Stops the server with an immediate shutdown, so that it recovers at the next start.
    pub(crate) fn crash(&mut self) {
        self.guarded.stop("crash");
    }

    /// Starts a stopped server, on the same port if that is still free.
    pub(crate) fn resume(&mut self) {
        for _ in 0..20 {
            if self.port == 0 {
                self.port = free_port();
            }
            if self.try_resume() {
                return;
            }
            self.port = 0;
        }
        panic!("found no free port for {:?}", self.version);
    }

    /// Returns false if another process uses the port.
    fn try_resume(&mut self) -> bool {
        let log = self.guarded.path().join("log");
        let from = fs::metadata(&log).map_or(0, |metadata| metadata.len());
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .expect("the log opens");
        let data = self.data();
        let data = data
            .to_str()
            .expect("temporary folders are UTF-8")
            .to_owned();
        let port = self.port.to_string();
        let program = self.version.home().join("bin/postgres");
        let program = program.to_str().expect("the folder is UTF-8");
        let locales = self.locales.as_ref();
        let locales = locales.map(|folder| format!("LOCPATH={}:/usr/lib/locale", folder.display()));
        let mut arguments: Vec<&str> = locales.as_deref().into_iter().collect();
        arguments.extend([program, "-D", &data, "-p", &port]);
        self.guarded
            .run(Path::new("env"), &arguments, Stdio::from(log))
            .expect("serve.sh starts");

        let deadline = Instant::now() + wait::TIMEOUT;
        loop {
            let log = self.log();
            let log = log
                .get(usize::try_from(from).expect("the log fits in memory")..)
                .unwrap_or_default();
            if log.contains("Address already in use") {
                self.stop();
                return false;
            }
            if let Ok(mut client) = self.try_connect("postgres", "postgres") {
                let found = query(&mut client, "show data_directory");
                if found == [[data.as_str()]] {
                    return true;
                }
            }
            assert!(
                Instant::now() < deadline && !log.contains("database system is shut down"),
                "{:?} does not start:\n{log}",
                self.version,
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Appends a line to a file in the data directory.
    fn configure(&self, file: &str, line: &str) {
        let path = self.data().join(file);
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .expect("a file of the data directory opens");
        writeln!(file, "{line}").expect("the line is written");
        folder::give_to_account(&path);
    }

    /// Restarts the server with `ssl_ca_file` set to the certificate of `authority`, so that it
    /// asks clients for certificates.
    pub(crate) fn request_client_certificates(&mut self, authority: &str) {
        let path = self.data().join("root.crt");
        fs::write(&path, authority).expect("the file is written");
        folder::give_to_account(&path);
        self.configure("postgresql.conf", "ssl_ca_file = 'root.crt'");
        self.stop();
        self.resume();
    }

    fn present_certificate(&mut self, identity: &Identity) {
        let key = self.data().join("server.key");
        fs::write(self.data().join("server.crt"), &identity.certificate)
            .expect("the file is written");
        fs::write(&key, &identity.key).expect("the file is written");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("the mode is set");
        folder::give_to_account(&key);
        self.configure("postgresql.conf", "ssl = on");
        self.certificate = Some(identity.certificate.clone());
    }
}

/// Runs a simple query and returns its rows as text, a null value as `NULL`.
pub(crate) fn query(client: &mut Client, sql: &str) -> Vec<Vec<String>> {
    let messages = client
        .simple_query(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let mut rows = Vec::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            let columns = 0..row.len();
            rows.push(
                columns
                    .map(|i| row.get(i).unwrap_or("NULL").to_owned())
                    .collect(),
            );
        }
    }
    rows
}

/// Runs a simple query that returns a single value.
pub(crate) fn value(client: &mut Client, sql: &str) -> String {
    let mut rows = query(client, sql);
    assert!(
        rows.len() == 1 && rows[0].len() == 1,
        "{sql}: not a single value: {rows:?}"
    );
    rows.remove(0).remove(0)
}

/// A shared server, used by one test at a time.
///
/// The databases, slots and settings of the role `postgres` that earlier tests made are removed
/// before the server is handed to the next.
#[derive(Debug)]
pub(crate) struct Lease {
    server: Option<Server>,
}

impl Lease {
    /// Takes an idle server of this version, or starts a new one.
    pub(crate) fn take(version: Version) -> Self {
        let idle = idle(version).pop();
        let server = idle.unwrap_or_else(|| Server::start(version));
        let lease = Self {
            server: Some(server),
        };
        lease.clean();
        lease
    }

    /// Removes the databases, slots and role settings that tests have made.
    pub(crate) fn clean(&self) {
        let mut client = self.connect("postgres");
        // Dropping a slot fails until its walsender has noticed that the client is gone.
        wait::until("the slots to be dropped", || {
            query(
                &mut client,
                "select pg_terminate_backend(pid) from pg_stat_activity \
                 where pid <> pg_backend_pid() and datname is not null",
            );
            let slots = "select slot_name, active from pg_replication_slots";
            for slot in query(&mut client, slots) {
                if slot[1] == "f" {
                    // This fails if the slot has become active since.
                    let _ = client.execute("select pg_drop_replication_slot($1)", &[&slot[0]]);
                }
            }
            query(&mut client, slots).is_empty().then_some(())
        });
        let databases = "select quote_ident(datname) from pg_database \
                         where not datistemplate and datname <> 'postgres'";
        for database in query(&mut client, databases) {
            // This fails until the terminated sessions have ended.
            wait::until("the database to be dropped", || {
                client
                    .batch_execute(&format!("drop database {}", database[0]))
                    .ok()
            });
        }
        client
            .batch_execute("alter role postgres reset all")
            .expect("the role is reset");
    }
}

impl Deref for Lease {
    type Target = Server;

    fn deref(&self) -> &Server {
        self.server
            .as_ref()
            .expect("the server is held until the drop")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Server {
        self.server
            .as_mut()
            .expect("the server is held until the drop")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // After a failed test the server may be in any state, so it is not used again.
        if let Some(server) = self.server.take()
            && !std::thread::panicking()
        {
            let version = server.version;
            idle(version).push(server);
        }
    }
}

/// Idle servers of a version. A static is not dropped; `serve.sh` stops the servers when the test
/// process ends.
struct Idle(MutexGuard<'static, BTreeMap<Version, Vec<Server>>>, Version);

fn idle(version: Version) -> Idle {
    static IDLE: Mutex<BTreeMap<Version, Vec<Server>>> = Mutex::new(BTreeMap::new());
    Idle(IDLE.lock().unwrap_or_else(PoisonError::into_inner), version)
}

impl Idle {
    fn pop(mut self) -> Option<Server> {
        self.0.get_mut(&self.1)?.pop()
    }

    fn push(mut self, server: Server) {
        self.0.entry(self.1).or_default().push(server);
    }
}

/// Returns the data directory that those of servers are copied from. It is made once for each
/// version and test process.
fn template(version: Version) -> PathBuf {
    type Cell = Arc<OnceLock<Guarded>>;
    static TEMPLATES: Mutex<BTreeMap<Version, Cell>> = Mutex::new(BTreeMap::new());
    let cell = TEMPLATES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(version)
        .or_default()
        .clone();
    let guarded = cell.get_or_init(|| {
        let guarded = Guarded::new(&format!("pg{version}-template"));
        let data = guarded.path().join("data");
        let output = folder::unprivileged(&version.home().join("bin/initdb"))
            .arg("-D")
            .arg(&data)
            .args([
                "-U",
                "postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "-N",
            ])
            .current_dir("/")
            .output()
            .expect("initdb starts");
        assert!(
            output.status.success(),
            "initdb of {version:?}: {}",
            String::from_utf8_lossy(&output.stderr),
        );
        let mut file = OpenOptions::new()
            .append(true)
            .open(data.join("postgresql.conf"))
            .expect("initdb created the file");
        file.write_all(SETTINGS.as_bytes())
            .expect("the line is written");
        guarded
    });
    guarded.path().join("data")
}

/// Compiles locales from the sources of the C library, because few are installed. Each is compiled
/// once per test process.
fn compile_locales(names: &[&str]) -> PathBuf {
    static FOLDER: Mutex<Option<Guarded>> = Mutex::new(None);
    let mut folder = FOLDER.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder.get_or_insert_with(|| Guarded::new("locales")).path();
    for name in names {
        let target = folder.join(format!("{name}.UTF-8"));
        if target.exists() {
            continue;
        }
        let output = Command::new("localedef")
            .args(["--no-archive", "-f", "UTF-8", "-i", name])
            .arg(&target)
            .output()
            .expect("localedef runs");
        assert!(
            output.status.success(),
            "localedef {name} failed; tests/support/install-servers.sh installs its source: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    folder.to_owned()
}

fn copy_folder(from: &Path, to: &Path) {
    let status = Command::new("cp")
        .args(["-a", "--reflink=auto"])
        .args([from, to])
        .status()
        .expect("cp starts");
    assert!(status.success(), "copying {}", from.display());
    // Left over if the server was stopped just before.
    let _ = fs::remove_file(to.join("postmaster.pid"));
}

/// Returns a port that was free when this function looked.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("the listener is bound").port()
}
