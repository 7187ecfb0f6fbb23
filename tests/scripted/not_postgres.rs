//! Peers that are not PostgreSQL servers, with the connector's default settings.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::connector::{Failure, Launch};
use crate::support::messages::Codec;
use crate::support::scene::advanced;
use crate::support::task::Task;

/// Starts a peer that handles each connection with `answer`, and returns a task that connects to
/// it.
fn task_with_peer(answer: fn(TcpStream)) -> Task {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener
        .local_addr()
        .expect("the listener is bound")
        .to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(stream));
        }
    });
    let config = json!({
        "address": address,
        "database": "scene",
        "user": "postgres",
        "historyMode": false,
        "credentials": {"auth_type": "UserPassword", "password": "unused"},
    });
    Task::new(Launch::new(Codec::Proto), config)
}

fn last_line(failure: &Failure) -> String {
    let lines = failure.log.lines();
    let last = lines.last().expect("a line was logged");
    last.fields.to_string()
}

/// Reads the first request, answers with `first`, and then repeats `bytes` until writing fails.
fn repeat(mut stream: TcpStream, first: &[u8], bytes: &[u8], pause: Duration) {
    let _ = stream.read(&mut [0; 1024]);
    let _ = stream.write_all(first);
    while stream.write_all(bytes).is_ok() {
        thread::sleep(pause);
    }
}

#[test]
fn an_error_names_the_address_of_a_peer_that_is_not_postgresql() {
    let answers: [fn(TcpStream); 4] = [
        |mut stream| {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        },
        drop,
        |stream| repeat(stream, b"", b"NNNNNNNN", Duration::ZERO),
        |stream| {
            repeat(
                stream,
                b"N",
                b"R\0\0\0\x08\0\0\0\0S\xff\xff\xff\xff",
                Duration::ZERO,
            )
        },
    ];
    for answer in answers {
        for mode in ["prefer", "disable", "require"] {
            let mut task = task_with_peer(answer);
            advanced(&mut task, &json!({"sslmode": mode}));
            let failure = task.discover().expect_err("the peer is not PostgreSQL");
            let address = task.config["address"].as_str().expect("a text");
            let line = last_line(&failure);
            assert!(line.contains(address), "{line}");
        }
    }
}

/// One peer sends notices without end, the other sends nothing. The default connect timeout is 20
/// s.
#[test]
fn a_peer_that_never_completes_the_login_runs_into_the_default_timeout() {
    let answers: [fn(TcpStream); 2] = [
        |mut stream| {
            let _ = stream.read(&mut [0; 8]);
            let _ = stream.write_all(b"N");
            let notice = b"N\0\0\0\x1aSNOTICE\0C00000\0Mwait\0\0";
            repeat(stream, b"", notice, Duration::from_millis(1));
        },
        |mut stream| {
            let _ = stream.read_to_end(&mut Vec::new());
        },
    ];
    let waiting = answers.map(|answer| {
        thread::spawn(move || {
            let failure = task_with_peer(answer)
                .discover()
                .expect_err("the peer is not PostgreSQL");
            last_line(&failure)
        })
    });
    for thread in waiting {
        let line = thread.join().expect("the thread ends");
        assert!(line.contains("longer than"), "{line}");
    }
}
