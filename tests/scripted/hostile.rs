//! Peers that are not PostgreSQL or are malicious: each causes a clear error in bounded time and
//! memory.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;
use source_postgres::error::Error;

use crate::support::connect::{connect_in, told};
use crate::support::connector::Launch;
use crate::support::messages::Codec;
use crate::support::scene::says;
use crate::support::task::Task;

/// Starts a thread that handles one connection after another with `script`, and returns its port.
fn serve(script: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("the listener is bound").port();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let _ = socket.set_read_timeout(Some(Duration::from_secs(20)));
            let _ = script(&mut socket);
        }
    });
    port
}

/// Memory in bytes that must be enough for the connector in each of these tests.
const MEMORY: u64 = 64 << 20;

/// Connects with the library and with the program, whose memory is limited. Both must fail with a
/// message that contains `due`.
#[track_caller]
fn refused(port: u16, sslmode: &str, due: &str) -> Error {
    let config = json!({
        "address": format!("127.0.0.1:{port}"),
        "user": "u",
        "database": "d",
        "password": "hunter2",
        "advanced": {"sslmode": sslmode},
    });
    // A short timeout for each address, so that the tests of slow peers take little time.
    let timeout = ("PGCONNECT_TIMEOUT", "2");
    let error = connect_in(&config, &[timeout]).expect_err("the peer is not PostgreSQL");
    assert!(told(&error).contains(due), "{} | due: {due}", told(&error));
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");

    let mut launch = Launch::new(Codec::Proto).variable(timeout.0, timeout.1);
    launch.data_limit = Some(MEMORY);
    let failure = Task::new(launch, config)
        .discover()
        .expect_err("the peer is not PostgreSQL");
    let log = failure.log.to_string();
    assert_eq!(failure.status.code(), Some(1), "{log}");
    let lines = failure.log.lines();
    let last = lines.last().expect("the error was logged");
    assert!(last.level == "fatal" && says(last, due), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    error
}

/// Reads a message without a tag, such as the startup message.
fn startup(socket: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
    socket.read_exact(&mut body)?;
    Ok(body)
}

/// Reads a message with a tag, and returns its body.
fn message(socket: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    socket.read_exact(&mut [0])?;
    startup(socket)
}

/// Reads until the client closes the connection.
fn read_to_end(socket: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn send(socket: &mut TcpStream, tag: u8, body: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(body.len() + 4).expect("the body is short");
    socket.write_all(&[&[tag][..], &length.to_be_bytes(), body].concat())
}

fn authentication(socket: &mut TcpStream, code: u32, data: &[u8]) -> std::io::Result<()> {
    send(socket, b'R', &[&code.to_be_bytes()[..], data].concat())
}

const SCRAM: &[u8] = b"SCRAM-SHA-256\0\0";

/// Returns the client's nonce from its first SCRAM message.
fn nonce(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    text.rsplit_once("r=")
        .map_or_else(String::new, |(_, nonce)| nonce.to_owned())
}

fn challenge(socket: &mut TcpStream, iterations: &str) -> std::io::Result<()> {
    startup(socket)?;
    authentication(socket, 10, SCRAM)?;
    let nonce = nonce(&message(socket)?);
    let first = format!("r={nonce}more,s=c2FsdHNhbHRzYWx0c2FsdA==,i={iterations}");
    authentication(socket, 11, first.as_bytes())
}

#[test]
fn the_memory_limit_of_these_tests_takes_effect() {
    let mut launch = Launch::new(Codec::Proto);
    launch.data_limit = Some(MEMORY / 64);
    let config = json!({"address": "127.0.0.1:1", "user": "u", "database": "d", "password": ""});
    let failure = Task::new(launch, config)
        .discover()
        .expect_err("the process has too little memory to start");
    assert_ne!(failure.status.code(), Some(1), "{}", failure.log);
}

#[test]
fn servers_of_other_protocols_are_recognized_as_not_postgresql() {
    for banner in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x4a\0\0\0\x0a8.0.36\0",
        b"-ERR unknown command\r\n",
    ] {
        for sslmode in ["disable", "prefer", "require"] {
            let port = serve(move |socket| {
                socket.write_all(banner)?;
                startup(socket)?;
                std::thread::sleep(Duration::from_millis(50));
                Ok(())
            });
            let error = refused(port, sslmode, "does not answer as a PostgreSQL server does");
            assert!(!error.is_retryable());
        }
    }
    let port = serve(|socket| startup(socket).map(drop));
    assert!(refused(port, "prefer", "closed the connection").is_retryable());
}

#[test]
fn a_server_that_cannot_prove_that_it_knows_the_password_is_refused() {
    let port = serve(|socket| {
        challenge(socket, "4096")?;
        message(socket)?;
        authentication(
            socket,
            12,
            b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        )
    });
    refused(port, "disable", "cannot prove that it knows the password");
    let port = serve(|socket| {
        challenge(socket, "4096")?;
        message(socket)?;
        authentication(socket, 0, b"")
    });
    refused(port, "disable", "cannot prove that it knows the password");
    let port = serve(|socket| {
        startup(socket)?;
        authentication(socket, 10, SCRAM)?;
        message(socket)?;
        authentication(socket, 11, b"r=anothernonce,s=c2FsdA==,i=4096")
    });
    refused(port, "disable", "cannot prove that it knows the password");
    let port = serve(|socket| challenge(socket, "4000000000"));
    refused(port, "disable", "more SCRAM iterations than are allowed");
}

#[test]
fn a_server_cannot_downgrade_tls_channel_binding_or_the_method() {
    // An attacker refuses TLS and asks for the password in clear text.
    for (sslmode, due) in [
        ("allow", "in clear text"),
        ("prefer", "in clear text"),
        ("require", "does not support TLS"),
    ] {
        let (sender, stolen) = mpsc::channel();
        let port = serve(move |socket| {
            if startup(socket)?.len() == 4 {
                socket.write_all(b"N")?;
                if startup(socket).is_err() {
                    let _ = sender.send(Vec::new());
                    return Ok(());
                }
            }
            authentication(socket, 3, b"")?;
            let _ = sender.send(read_to_end(socket)?);
            Ok(())
        });
        refused(port, sslmode, due);
        assert_eq!(stolen.recv().expect("the peer was connected to"), b"");
    }
    // An offer of channel binding without TLS shows that an attacker has removed TLS.
    let port = serve(|socket| {
        startup(socket)?;
        authentication(socket, 10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")
    });
    refused(
        port,
        "disable",
        "channel binding over a connection without TLS",
    );
    for (code, data, name) in [
        (7, &b""[..], "GSSAPI"),
        (9, b"", "SSPI"),
        (2, b"", "Kerberos"),
        (10, b"OAUTHBEARER\0\0", "OAUTHBEARER"),
    ] {
        let port = serve(move |socket| {
            startup(socket)?;
            authentication(socket, code, data)
        });
        refused(port, "disable", name);
    }
}

#[test]
fn bytes_from_before_the_tls_handshake_are_not_used() {
    for early in [
        &b"SR\0\0\0\x08\0\0\0\0"[..],
        b"S\x15\x03\x03\0\x02\x02\x28",
        b"N!",
    ] {
        let (sender, more) = mpsc::channel();
        let port = serve(move |socket| {
            startup(socket)?;
            socket.write_all(early)?;
            let _ = sender.send(read_to_end(socket)?);
            Ok(())
        });
        refused(port, "require", "bytes arrived after the answer");
        assert_eq!(
            more.recv().expect("the peer was connected to"),
            b"",
            "the client sent more"
        );
    }
    let port = serve(|socket| {
        startup(socket)?;
        socket.write_all(b"E\0\0\0\x20SFATAL\0MAn error of anybody\0\0")
    });
    let error = refused(port, "require", "cannot start a session");
    assert!(error.is_retryable() && !told(&error).contains("anybody"));
}

#[test]
fn message_lengths_and_endless_messages_are_bounded() {
    for (tag, length) in [
        (b'R', u32::MAX),
        (b'E', 0x7fff_ffff),
        (b'N', 3),
        (b'S', 0x4000_0000),
    ] {
        let port = serve(move |socket| {
            startup(socket)?;
            socket.write_all(&[&[tag][..], &length.to_be_bytes()].concat())?;
            read_to_end(socket).map(drop)
        });
        refused(port, "disable", "announces");
    }
    // A certificate of 16 MB, in records of 16 KB.
    let port = serve(|socket| {
        startup(socket)?;
        socket.write_all(b"S")?;
        socket.read_exact(&mut [0; 64])?;
        socket.write_all(b"\x16\x03\x03\x40\x00\x0b\xff\xff\xff")?;
        socket.write_all(&[0; 0x4000 - 4])?;
        loop {
            socket.write_all(b"\x16\x03\x03\x40\x00")?;
            socket.write_all(&[0; 0x4000])?;
        }
    });
    assert!(!refused(port, "require", "the TLS handshake with").is_retryable());
    // Endless notices, then endless parameters.
    let port = serve(|socket| {
        startup(socket)?;
        loop {
            send(socket, b'N', b"SNOTICE\0C00000\0Mhello\0\0")?;
        }
    });
    let error = refused(port, "disable", "took longer than 2 s");
    assert!(error.is_retryable());
    let port = serve(|socket| {
        startup(socket)?;
        authentication(socket, 0, b"")?;
        for number in 0u64.. {
            send(
                socket,
                b'S',
                format!("parameter{number}\0value\0").as_bytes(),
            )?;
        }
        Ok(())
    });
    refused(port, "disable", "more run-time parameters");
}

#[test]
fn a_peer_that_sends_slowly_runs_into_the_timeout() {
    let port = serve(|socket| {
        startup(socket)?;
        for byte in b"N\0\0\x10\0S".iter().cycle() {
            socket.write_all(&[*byte])?;
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    });
    let error = refused(port, "disable", "took longer than 2 s");
    assert!(error.is_retryable());
    // A slow peer during the TLS handshake.
    let port = serve(|socket| {
        startup(socket)?;
        socket.write_all(b"S")?;
        loop {
            socket.read_exact(&mut [0; 64])?;
            std::thread::sleep(Duration::from_millis(1000));
        }
    });
    refused(port, "require", "took longer than 2 s");
}
