//! Number of network round trips before a capture emits its first rows. With a high network latency
//! they are most of the time that a small table takes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use crate::support::scene::{Scene, execute};

/// Number of times that the client sent data after the server did, and which of them sent last.
#[derive(Debug, Default)]
struct Turns {
    client_was_last: bool,
    count: u32,
}

type Connection = Arc<Mutex<Turns>>;

/// Function that is called with the data of the client before the server receives it.
type Watch = dyn Fn(&[u8]) + Send + Sync;

/// Starts a proxy for a server, which runs until the test process ends. Returns its port, and the
/// counts of each connection in the order in which they were opened.
fn relay(server: u16, watch: Arc<Watch>) -> (u16, Arc<Mutex<Vec<Connection>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("the listener is bound").port();
    let connections = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&connections);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", server)).expect("the server listens");
            let turns = Connection::default();
            all.lock()
                .expect("no thread panicked")
                .push(Arc::clone(&turns));
            for (from, to, is_client) in [(&client, &server, true), (&server, &client, false)] {
                let from = from.try_clone().expect("the socket is cloned");
                let to = to.try_clone().expect("the socket is cloned");
                let turns = Arc::clone(&turns);
                let watch = is_client.then(|| Arc::clone(&watch));
                thread::spawn(move || carry(from, to, watch.as_deref(), &turns));
            }
        }
    });
    (port, connections)
}

fn carry(mut from: TcpStream, mut to: TcpStream, watch: Option<&Watch>, turns: &Mutex<Turns>) {
    let is_client = watch.is_some();
    let mut buffer = vec![0; 1 << 20];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if let Some(watch) = watch {
            watch(&buffer[..count]);
        }
        {
            let mut turns = turns.lock().expect("no thread panicked");
            turns.count += u32::from(is_client && !turns.client_was_last);
            turns.client_was_last = is_client;
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// The round trips are: TLS request, login, the queries of the prerequisite checks, their writes,
/// the initial wait for transactions, and a query of the server's health, which runs while rows
/// arrive.
#[test]
fn a_new_capture_takes_six_round_trips_on_its_query_connection() {
    let mut scene = Scene::new(
        "create table t(id int primary key, n int);
         insert into t select i, i from generate_series(1, 10) i",
    );
    scene.task.bind(&["public.t"]);
    // The first run creates what is missing, which takes more round trips.
    scene.task.backfill_all();
    let count = |connections: &Mutex<Vec<Connection>>, number: usize| {
        let connections = connections.lock().expect("no thread panicked");
        let turns = connections[number].lock().expect("no thread panicked");
        turns.count
    };

    let direct = scene.task.config["address"].clone();
    let (port, connections) = relay(scene.server.port(), Arc::new(|_| ()));
    scene.task.config["address"] = json!(format!("127.0.0.1:{port}"));
    scene.task.state = json!({});
    let session = scene.task.open_active();
    let turns = count(&connections, 0);
    // One more if the rows contain a change of another session that is not flushed yet.
    assert!((6..=7).contains(&turns), "{turns}");
    session.kill();
    scene.task.config["address"] = direct;
    scene.assert_captured("public.t", &["id"]);
}

/// The server would start the stream after the position confirmed by the other session, without an
/// error. The next run starts from the beginning.
#[test]
fn a_new_slot_that_is_advanced_before_its_stream_starts_stops_the_capture() {
    for mode in ["Normal", "Only Changes"] {
        let mut scene = Scene::new("create table t(id int primary key, n int)");
        scene.task.bind(&["public.t"]);
        scene.task.binding_mut("public.t").resource["mode"] = json!(mode);
        scene.task.config["advanced"]["sslmode"] = json!("disable");
        let other = Mutex::new(scene.connect());
        let watch = move |sent: &[u8]| {
            let starts = b"START_REPLICATION";
            if sent.windows(starts.len()).any(|window| window == starts) {
                let mut other = other.lock().expect("no thread panicked");
                // A change for the slot to advance past.
                execute(&mut other, "insert into t values (1, 1)");
                execute(
                    &mut other,
                    "select pg_replication_slot_advance('flow_slot', pg_current_wal_flush_lsn())",
                );
            }
        };
        let direct = scene.task.config["address"].clone();
        let (port, _) = relay(scene.server.port(), Arc::new(watch));
        scene.task.config["address"] = json!(format!("127.0.0.1:{port}"));
        scene
            .task
            .run()
            .assert_failed(&["flow_slot", "past the last checkpoint", "backfill"]);

        scene.task.config["address"] = direct;
        let mut session = scene.task.open_active();
        execute(&mut scene.client, "insert into t values (2, 2)");
        session.until_id("public.t", 2);
        session.kill();
        if mode == "Normal" {
            scene.assert_captured("public.t", &["id"]);
        }
    }
}
