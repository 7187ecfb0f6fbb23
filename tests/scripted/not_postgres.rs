//! Peers that are no PostgreSQL server, as the connector reports them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::connector::{Failure, Launch};
use crate::support::messages::Codec;
use crate::support::scene::advanced;
use crate::support::task::Task;

/// A server that answers everybody in its own way, and a task that asks it.
fn stranger(answer: fn(TcpStream)) -> Task {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
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

fn last_words(failure: &Failure) -> String {
    let lines = failure.log.lines();
    let last = lines.last().expect("it has logged");
    last.fields.to_string()
}

/// Reads the request and answers with the same bytes for as long as they are taken.
fn repeat(mut stream: TcpStream, first: &[u8], bytes: &[u8], pause: Duration) {
    let _ = stream.read(&mut [0; 1024]);
    let _ = stream.write_all(first);
    while stream.write_all(bytes).is_ok() {
        thread::sleep(pause);
    }
}

#[test]
fn what_is_not_postgresql_is_told_so() {
    let strangers: [fn(TcpStream); 4] = [
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
    for answer in strangers {
        for mode in ["prefer", "disable", "require"] {
            let mut task = stranger(answer);
            advanced(&mut task, &json!({"sslmode": mode}));
            let failure = task.discover().expect_err("nobody is there");
            let address = task.config["address"].as_str().expect("a text");
            let words = last_words(&failure);
            assert!(words.contains(address), "{words}");
        }
    }
}

/// Those that keep a connection busy, or do not say anything, are left after a while.
#[test]
fn a_server_that_does_not_come_to_the_point_is_left() {
    let strangers: [fn(TcpStream); 2] = [
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
    let waiting = strangers.map(|answer| {
        thread::spawn(move || {
            let failure = stranger(answer).discover().expect_err("nobody is there");
            last_words(&failure)
        })
    });
    for words in waiting {
        let words = words.join().expect("it ends");
        assert!(words.contains("longer than"), "{words}");
    }
}
