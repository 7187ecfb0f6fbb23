//! Connections that are given up during a query: the server is asked to cancel the query.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use source_postgres::config::Environment;

use crate::support::connect::connect_within;
use crate::support::folder::Guarded;
use crate::support::postgres::{Options, Server, Version, query, value};
use crate::support::sshd::{Sshd, make_key};
use crate::support::wait;

/// First bytes of a CancelRequest after its length.
const CANCEL_REQUEST: [u8; 4] = 80_877_102_u32.to_be_bytes();

/// A proxy that records the bytes that each client sends.
struct Recorder {
    port: u16,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recorder {
    fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("the listener is bound").port();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let kept: Arc<Mutex<Vec<Vec<u8>>>> = Arc::clone(&sent);
        std::thread::spawn(move || {
            for (number, near) in listener.incoming().map_while(Result::ok).enumerate() {
                let far = TcpStream::connect(("127.0.0.1", target)).expect("the server listens");
                let clone = |socket: &TcpStream| socket.try_clone().expect("the socket is cloned");
                let (mut back, mut there) = (clone(&far), clone(&near));
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut back, &mut there);
                    let _ = there.shutdown(Shutdown::Both);
                });
                kept.lock().expect("no thread panicked").push(Vec::new());
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || {
                    let (mut near, mut far) = (near, far);
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = near.read(&mut buffer) {
                        let bytes = &buffer[..count];
                        kept.lock().expect("no thread panicked")[number].extend_from_slice(bytes);
                        if far.write_all(bytes).is_err() {
                            break;
                        }
                    }
                    let _ = far.shutdown(Shutdown::Both);
                });
            }
        });
        Self { port, sent }
    }

    /// Returns for each connection whether it carried a CancelRequest in clear text.
    fn shows_requests(&self) -> Vec<bool> {
        let sent = self.sent.lock().expect("no thread panicked");
        let shows = |bytes: &Vec<u8>| bytes.windows(4).any(|window| window == CANCEL_REQUEST);
        sent.iter().map(shows).collect()
    }
}

/// Gives up a connection during a query, and waits until the server has ended the query.
fn give_up_during_query(server: &Server, config: &Value) {
    let mut client = server.connect("postgres");
    let busy = "select pid from pg_stat_activity where query like 'select pg_sleep(1000%'";
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime is made");
    let connection = runtime.block_on(async {
        let environment =
            Environment::new(std::iter::empty()).expect("an empty environment is valid");
        let connected = connect_within(config, environment).await;
        let mut connection = connected.expect("the connection succeeds");
        let session = connection.session();
        session
            .query("select pg_sleep(1000)")
            .expect("the query is queued");
        connection.send().await.expect("the query is sent");
        connection
    });
    wait::until("the query to run", || {
        (!query(&mut client, busy).is_empty()).then_some(())
    });
    let _entered = runtime.enter();
    connection.give_up();
    wait::until("the query to end", || {
        query(&mut client, busy).is_empty().then_some(())
    });
}

fn config(address: &str, advanced: Value) -> Value {
    json!({
        "address": address, "user": "postgres", "database": "postgres", "password": "",
        "advanced": advanced,
    })
}

#[test]
fn a_cancel_request_is_encrypted_if_the_connection_is() {
    let with_tls = Options {
        tls: true,
        ..Options::default()
    };
    let ways = [
        (15, "disable", "postgres", [false, true]),
        (15, "prefer", "postgres", [false, false]),
        (18, "require", "direct", [false, false]),
    ];
    for (version, sslmode, negotiation, shown) in ways {
        let server = Server::with(Version(version), &with_tls);
        let recorder = Recorder::to(server.port());
        let address = format!("127.0.0.1:{}", recorder.port);
        let advanced = json!({"sslmode": sslmode, "sslnegotiation": negotiation});
        give_up_during_query(&server, &config(&address, advanced));
        assert_eq!(recorder.shows_requests(), shown, "{version} {sslmode}");
    }
}

#[test]
fn a_cancel_request_goes_through_the_tunnel() {
    let folder = Guarded::new("tunnel-cancel");
    let path = folder.path().join("key");
    let public = make_key(&path, &["-t", "ed25519"]);
    let key = fs::read_to_string(&path).expect("the key was written");
    let sshd = Sshd::start(&public, "");
    let server = Server::start(Version::MAIN);
    let mut config = config(&server.address(), json!({"sslmode": "disable"}));
    config["networkTunnel"] =
        json!({"sshForwarding": {"sshEndpoint": sshd.endpoint(), "privateKey": key}});
    give_up_during_query(&server, &config);
    assert_eq!(value(&mut server.connect("postgres"), "select 1"), "1");
}
