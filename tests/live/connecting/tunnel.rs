//! SSH tunnels: kinds of keys, TLS through the tunnel, and failures.

use std::fs;
use std::io::{self, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use source_postgres::client::Client;
use source_postgres::config::{Config, Environment};
use source_postgres::net::{ConnectConfig, Purpose};

use crate::support::certificates::Authority;
use crate::support::connect::{connect, refused, told};
use crate::support::folder::Guarded;
use crate::support::postgres::{Options, Server, Version};
use crate::support::scene;
use crate::support::sshd::{Sshd, make_key};

/// A private key, and the line for `authorized_keys`.
struct Key {
    private: String,
    public: String,
}

fn keys(folder: &Guarded) -> Vec<(&'static str, Key)> {
    let by_ssh_keygen = [
        ("RSA, OpenSSH", &["-t", "rsa", "-b", "2048"][..]),
        ("RSA, PKCS#1", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("RSA, PKCS#8", &["-t", "rsa", "-b", "3072", "-m", "PKCS8"]),
        ("ECDSA 256, OpenSSH", &["-t", "ecdsa", "-b", "256"]),
        (
            "ECDSA 256, SEC1",
            &["-t", "ecdsa", "-b", "256", "-m", "PEM"],
        ),
        (
            "ECDSA 384, PKCS#8",
            &["-t", "ecdsa", "-b", "384", "-m", "PKCS8"],
        ),
        (
            "ECDSA 521, SEC1",
            &["-t", "ecdsa", "-b", "521", "-m", "PEM"],
        ),
        ("Ed25519, OpenSSH", &["-t", "ed25519"]),
    ];
    let by_ssh_keygen = by_ssh_keygen
        .into_iter()
        .enumerate()
        .map(|(number, (name, options))| {
            let path: PathBuf = folder.path().join(format!("key{number}"));
            let public = make_key(&path, options);
            let private = fs::read_to_string(&path).expect("the key was written");
            (name, Key { private, public })
        });
    let by_openssl = [
        ("RSA, PKCS#8 of OpenSSL", "-algorithm RSA"),
        (
            "ECDSA 256, PKCS#8 of OpenSSL",
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        ),
    ]
    .map(|(name, options)| {
        let private = openssl(&format!("genpkey {options}"), b"");
        let path = folder.write("openssl", &private);
        let public = run("ssh-keygen", &format!("-y -f {path}"), b"");
        (name, Key { private, public })
    });
    by_ssh_keygen
        .chain(by_openssl)
        .chain([("Ed25519, PKCS#8 of OpenSSL", ed25519_of_openssl())])
        .collect()
}

/// Makes an Ed25519 key in OpenSSL's form. OpenSSH cannot read that form before version 9.6, so the
/// public key is encoded here as in RFC 8709: the name and the key, each preceded by its length.
fn ed25519_of_openssl() -> Key {
    let private = openssl("genpkey -algorithm ed25519", b"");
    let public = openssl("pkey -pubout", private.as_bytes());
    let public: String = public
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let public = BASE64.decode(public).expect("PEM is base64");
    // The key is at the end of the DER encoding.
    let (_, public) = public.split_at(public.len() - 32);
    let name = b"ssh-ed25519";
    let encoded = [&11u32.to_be_bytes()[..], name, &32u32.to_be_bytes(), public].concat();
    Key {
        private,
        public: format!("ssh-ed25519 {} test\n", BASE64.encode(encoded)),
    }
}

fn openssl(arguments: &str, input: &[u8]) -> String {
    run("openssl", arguments, input)
}

/// Runs a program, which must succeed, and returns its standard output.
fn run(program: &str, arguments: &str, input: &[u8]) -> String {
    let mut child = Command::new(program)
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut pipe = child.stdin.take().expect("standard input is piped");
    pipe.write_all(input).expect("the program reads its input");
    drop(pipe);
    let output = child.wait_with_output().expect("the program ends");
    assert!(output.status.success(), "{program} {arguments}");
    String::from_utf8(output.stdout).expect("the output is UTF-8")
}

fn config(address: &str, endpoint: &str, key: &str, advanced: Value) -> Value {
    json!({
        "address": address,
        "user": "postgres",
        "database": "postgres",
        "password": "",
        "advanced": advanced,
        "networkTunnel": {"sshForwarding": {"sshEndpoint": endpoint, "privateKey": key}},
    })
}

#[test]
fn every_kind_of_private_key_is_accepted() {
    let folder = Guarded::new("keys");
    let keys = keys(&folder);
    let lines: Vec<_> = keys.iter().map(|(_, key)| key.public.as_str()).collect();
    let sshd = Sshd::start(&lines.concat(), "");
    let server = Server::start(Version::MAIN);
    let disable = || json!({"sslmode": "disable"});
    for (name, key) in &keys {
        let config = config(&server.address(), &sshd.endpoint(), &key.private, disable());
        connect(&config).unwrap_or_else(|error| panic!("{name}: {}", told(&error)));
    }
    let stranger = make_key(&folder.path().join("stranger"), &["-t", "ed25519"]);
    assert!(!stranger.is_empty());
    let stranger = fs::read_to_string(folder.path().join("stranger")).expect("the key was written");
    let error = refused(&config(
        &server.address(),
        &sshd.endpoint(),
        &stranger,
        disable(),
    ));
    assert!(error.contains("does not let user"), "{error}");
    assert!(error.contains("authorized_keys"), "{error}");
}

#[test]
fn a_key_with_a_passphrase_is_refused_with_the_remedy() {
    let folder = Guarded::new("encrypted-keys");
    let by_ssh_keygen = [
        "-t ed25519",
        "-t ecdsa -m PEM",
        "-t rsa -b 2048 -m PEM",
        "-t rsa -b 2048 -m PKCS8",
    ];
    let by_ssh_keygen = by_ssh_keygen.iter().enumerate().map(|(number, options)| {
        let path = folder.path().join(format!("key{number}"));
        let file = path.to_str().expect("temporary folders are UTF-8");
        run(
            "ssh-keygen",
            &format!("-q -N hunter2 -f {file} {options}"),
            b"",
        );
        fs::read_to_string(path).expect("the key was written")
    });
    let by_openssl = openssl(
        "genpkey -algorithm ed25519 -aes-256-cbc -pass pass:hunter2",
        b"",
    );
    for key in by_ssh_keygen.chain([by_openssl]) {
        let config = config("127.0.0.1:1", "ssh://me@127.0.0.1:1", &key, json!({}));
        let error = refused(&config);
        assert!(error.contains("encrypted"), "{error}");
        assert!(error.contains("ssh-keygen -p"), "{error}");
        let secret = key.lines().nth(2).expect("the key has several lines");
        assert!(!error.contains(secret), "{error}");
    }
}

#[test]
fn tls_through_a_tunnel_verifies_the_configured_host_name() {
    let folder = Guarded::new("tunnel-tls");
    let path = folder.path().join("key");
    let public = make_key(&path, &["-t", "ed25519"]);
    let key = fs::read_to_string(&path).expect("the key was written");
    let sshd = Sshd::start(&public, "");
    let authority = Authority::new("the authority");
    let server = Server::with(
        Version::MAIN,
        &Options {
            access: vec![
                "hostssl all all 127.0.0.1/32 trust".to_owned(),
                "hostnossl all postgres 127.0.0.1/32 trust".to_owned(),
            ],
            identity: Some(authority.issue("server", &["localhost"])),
            ..Options::default()
        },
    );
    let with = |host: &str, sslmode: &str| {
        let advanced = json!({"sslmode": sslmode, "sslrootcert": authority.certificate()});
        let address = format!("{host}:{}", server.port());
        config(&address, &sshd.endpoint(), &key, advanced)
    };
    assert!(
        connect(&with("localhost", "verify-full"))
            .expect("the certificate has the name")
            .is_encrypted()
    );
    assert!(
        connect(&with("127.0.0.1", "verify-ca"))
            .expect("verify-ca accepts any name")
            .is_encrypted()
    );
    let error = refused(&with("127.0.0.1", "verify-full"));
    assert!(error.contains("is for another name (localhost)"), "{error}");
}

#[test]
fn each_failure_of_a_tunnel_has_a_clear_error() {
    let folder = Guarded::new("tunnel-failures");
    let path = folder.path().join("key");
    let public = make_key(&path, &["-t", "ed25519"]);
    let key = fs::read_to_string(&path).expect("the key was written");
    let server = Server::start(Version::MAIN);
    let mut sshd = Sshd::start(&public, "");
    let strict = Sshd::start(&public, "AllowTcpForwarding no");
    let disable = || json!({"sslmode": "disable"});
    let ask = |address: &str, endpoint: &str| refused(&config(address, endpoint, &key, disable()));

    let error = ask(&server.address(), &strict.endpoint());
    assert!(
        error.contains("does not forward connections to 127.0.0.1"),
        "{error}"
    );
    let error = ask("127.0.0.1:1", &sshd.endpoint());
    assert!(error.contains("cannot reach 127.0.0.1:1"), "{error}");
    let error = ask(&server.address(), "ssh://me@127.0.0.1:1");
    assert!(
        error.contains("SSH server of networkTunnel cannot be reached"),
        "{error}"
    );
    let error = ask(&server.address(), "ssh://me@nowhere.invalid");
    assert!(error.contains("nowhere.invalid"), "{error}");
    let http = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = http.local_addr().expect("the listener is bound").port();
    let answer = std::thread::spawn(move || {
        let (mut socket, _) = http.accept().expect("a client connects");
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let error = ask(&server.address(), &format!("ssh://me@127.0.0.1:{port}"));
    assert!(error.contains("SSH"), "{error}");
    answer.join().expect("the thread ends");

    connect(&config(
        &server.address(),
        &sshd.endpoint(),
        &key,
        disable(),
    ))
    .expect("the login succeeds");
    sshd.restart_with_new_host_key();
    let error = ask(&server.address(), &sshd.endpoint());
    assert!(
        error.contains("has another host key than before"),
        "{error}"
    );
}

/// A proxy whose connections can be cut off.
struct Proxy {
    port: u16,
    sockets: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("the listener is bound").port();
        let sockets = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&sockets);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(("127.0.0.1", target)).expect("the server listens");
                for (mut from, mut to) in [(clone(&near), clone(&far)), (clone(&far), clone(&near))]
                {
                    std::thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                kept.lock().expect("no thread panicked").extend([near, far]);
            }
        });
        Self { port, sockets }
    }

    fn cut(&self) {
        for socket in self.sockets.lock().expect("no thread panicked").drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn clone(socket: &TcpStream) -> TcpStream {
    socket.try_clone().expect("the socket is cloned")
}

#[test]
fn a_tunnel_that_was_cut_off_is_reported_and_can_be_opened_again() {
    let folder = Guarded::new("tunnel-session");
    let path = folder.path().join("key");
    let public = make_key(&path, &["-t", "ed25519"]);
    let key = fs::read_to_string(&path).expect("the key was written");
    let sshd = Sshd::start(&public, "");
    let server = Server::start(Version::MAIN);
    let proxy = Proxy::to(sshd.port());
    let endpoint = format!("ssh://{}@127.0.0.1:{}", Sshd::user(), proxy.port);
    let config = config(
        &server.address(),
        &endpoint,
        &key,
        json!({"sslmode": "disable"}),
    );
    let config = Config::parse(&config.to_string()).expect("the configuration is valid");
    let connect = ConnectConfig::with_environment(&config, Environment::default())
        .expect("the key can be read");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime is made");
    runtime.block_on(async {
        let mut first = Client::connect(&connect, Purpose::Query)
            .await
            .expect("the connection succeeds");
        let mut second = Client::connect(&connect, Purpose::Replication)
            .await
            .expect("the connection succeeds");
        assert_eq!(proxy.sockets.lock().expect("no thread panicked").len(), 4);
        let rows = first
            .query("select repeat('x', 3000000)", &[])
            .await
            .expect("the query succeeds");
        assert_eq!(
            rows.one().expect("a row").text(0).expect("a value").len(),
            3_000_000
        );
        second
            .execute_script("IDENTIFY_SYSTEM")
            .await
            .expect("the query succeeds");

        proxy.cut();
        let error = first
            .query("select 1", &[])
            .await
            .expect_err("the connection was cut off");
        assert!(error.is_retryable());
        assert!(
            told(&error).contains("the SSH connection to"),
            "{}",
            told(&error)
        );
        let mut third = Client::connect(&connect, Purpose::Query)
            .await
            .expect("the connection succeeds again");
        third
            .query("select 1", &[])
            .await
            .expect("the query succeeds");
    });
}

#[test]
fn a_capture_through_a_tunnel_continues_after_the_tunnel_was_cut() {
    let folder = Guarded::new("tunnel-capture");
    let path = folder.path().join("key");
    let public = make_key(&path, &["-t", "ecdsa"]);
    let sshd = Sshd::start(&public, "");
    let server = Server::start(Version::MAIN);
    let proxy = Proxy::to(sshd.port());
    let (mut client, mut task) = scene::create(
        &server,
        "create table t(id int primary key, wide text);
         create table busy(id int primary key);
         insert into t select i, repeat('w', 300) from generate_series(1, 40000) i",
    );
    // Rows are read ahead while the stream continues, so that much data waits in the tunnel.
    scene::advanced(&mut task, &json!({"backfill_chunk_size": 500}));
    task.config["networkTunnel"] = json!({"sshForwarding": {
        "sshEndpoint": format!("ssh://{}@127.0.0.1:{}", Sshd::user(), proxy.port),
        "privateKey": fs::read_to_string(&path).expect("the key was written"),
    }});
    task.bind(&["public.t", "public.busy"]);
    let mut session = task.open();
    session.until("the first chunk", |session| {
        session.task.binding_state("public.t")["backfilled"].as_u64() > Some(0)
    });
    scene::execute(
        &mut client,
        "insert into busy select generate_series(1, 20000)",
    );
    session.until_active();
    session.until_id("public.busy", 20_000);
    scene::execute(&mut client, "insert into t values (50001, 'streamed')");
    session.until_id("public.t", 50001);
    proxy.cut();
    let run = session.finish();
    run.assert_failed(&["SSH connection to"]);
    assert!(!run.log.to_string().contains("PRIVATE KEY"));
    scene::execute(&mut client, "insert into t values (50002, 'later')");
    let mut session = task.open();
    session.until_id("public.t", 50002);
    session.kill();
    scene::assert_captured(&mut client, &task, "public.t", &["id"]);
}
