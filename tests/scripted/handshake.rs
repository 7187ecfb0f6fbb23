//! The ClientHello of a TLS handshake.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use serde_json::json;

use crate::support::connect::connect_in;

#[test]
fn the_handshake_sends_the_host_name_unless_it_is_an_address() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("the listener is bound").port();
    let (sender, hellos) = mpsc::channel();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let _ = sender.send(hello(&mut socket));
        }
    });
    let without = &[("PGSSLSNI", "0")][..];
    for (host, variables, is_named) in [
        ("localhost", &[][..], true),
        ("localhost", without, false),
        ("127.0.0.1", &[], false),
    ] {
        let config = json!({
            "address": format!("{host}:{port}"),
            "user": "u",
            "database": "d",
            "advanced": {"sslmode": "require"},
        });
        connect_in(&config, variables).expect_err("the peer closes the connection");
        let hello = hellos.recv().expect("the peer was connected to");
        let hello = hello.expect("a whole message arrived");
        let names = hello
            .windows(host.len())
            .filter(|part| *part == host.as_bytes());
        assert_eq!(names.count() > 0, is_named, "{host} {variables:?}");
    }
}

/// Agrees to TLS and reads the first message of the handshake.
fn hello(socket: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    socket.read_exact(&mut [0; 8])?;
    socket.write_all(b"S")?;
    let mut header = [0; 5];
    socket.read_exact(&mut header)?;
    let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    socket.read_exact(&mut hello)?;
    Ok(hello)
}
