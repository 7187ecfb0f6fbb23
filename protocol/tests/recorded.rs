//! Plays recorded sessions: for the bytes of the server, the output and the events of the session
//! must equal the recorded ones.

mod support;

use std::{fs, path::PathBuf};

use protocol::ProtocolError;
use support::scenario::{self, Player, Scenario};

struct Recording {
    scenario: Scenario,
    server: Vec<u8>,
    client: Vec<u8>,
}

fn path(name: &str, extension: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/{name}.{extension}"))
}

fn read(name: &str, extension: &str) -> Vec<u8> {
    let path = path(name, extension);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn recordings() -> impl Iterator<Item = Recording> {
    let all = scenario::all(read("startup_scram_plus", "server-end-point"));
    all.into_iter().map(|scenario| Recording {
        server: read(scenario.name, "server"),
        client: read(scenario.name, "client"),
        scenario,
    })
}

impl Recording {
    /// Returns up to `budget` positions in the server's bytes, fewer for sessions that take long.
    /// Without optimization the key derivation of SCRAM takes a large part of a second.
    fn positions(&self, budget: usize) -> impl Iterator<Item = usize> + use<> {
        let budget = match self.server.len() {
            _ if self.client.windows(5).any(|part| part == b"SCRAM") => 5,
            ..2000 => budget,
            2000..20_000 => budget.min(100),
            _ => 10,
        };
        (0..self.server.len()).step_by(self.server.len().div_ceil(budget))
    }
}

/// Output, events and final state of a session.
#[derive(PartialEq)]
struct Outcome {
    sent: Vec<u8>,
    transcript: String,
    /// Number of bytes that were not consumed.
    left: usize,
    /// Number of further bytes that the session needs.
    needed: usize,
    closed: bool,
    error: Option<ProtocolError>,
}

/// Passes the input to the session in chunks, as a caller with a receive buffer does.
fn play<'a>(scenario: &Scenario, chunks: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut player = Player::new(scenario.clone());
    let mut sent = Vec::new();
    let mut buffer = Vec::new();
    let mut drain = |player: &mut Player| {
        while let Some(output) = player.session.poll_transmit() {
            sent.extend_from_slice(&output);
        }
    };
    drain(&mut player);
    let mut error = None;
    'input: for chunk in chunks {
        // The response to SSLRequest is separate: the bytes after it follow the TLS handshake.
        let split = usize::from(player.transcript.text.is_empty() && buffer.is_empty());
        let (first, rest) = chunk.split_at(split.min(chunk.len()));
        for part in [first, rest] {
            buffer.extend_from_slice(part);
            match player.play(&buffer) {
                Ok(consumed) => drop(buffer.drain(..consumed)),
                Err(found) => {
                    error = Some(found);
                    break 'input;
                }
            }
            drain(&mut player);
        }
    }
    drain(&mut player);
    Outcome {
        sent,
        left: buffer.len(),
        needed: player.session.needed(&buffer),
        closed: player.session.is_closed(),
        transcript: player.transcript.text,
        error,
    }
}

#[test]
fn recorded_sessions_give_the_recorded_transcript_and_output() {
    let mut count = 0;
    for Recording {
        scenario,
        server,
        client,
    } in recordings()
    {
        let name = scenario.name;
        let outcome = play(&scenario, [&server[..]]);
        assert_eq!(outcome.error, None, "{name}");
        assert!(outcome.closed, "{name}: the session ends");
        if std::env::var_os("PROTOCOL_TESTS_WRITE").is_some() {
            fs::write(path(name, "transcript"), &outcome.transcript).unwrap();
        }
        let transcript = String::from_utf8(read(name, "transcript")).unwrap();
        for (found, expected) in outcome.transcript.lines().zip(transcript.lines()) {
            assert_eq!(found, expected, "{name}");
        }
        assert_eq!(outcome.transcript, transcript, "{name}");
        assert_eq!(outcome.sent, client, "{name}: what the client sent");
        assert_eq!(outcome.left, 0, "{name}: bytes left");
        let version = format!("\"server_version\", value: \"{}.", scenario.server);
        let version_known = transcript.contains("server_version");
        assert!(!version_known || transcript.contains(&version), "{name}");
        assert!(!transcript.contains("\nfailed: "), "{name}");
        count += 1;
    }
    // Every recording has a scenario.
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let files = fs::read_dir(folder).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|extension| extension == "server")
    });
    assert_eq!(files.count(), count);
}

#[test]
fn any_split_of_the_input_gives_the_same_output() {
    for recording in recordings() {
        let Recording {
            scenario, server, ..
        } = &recording;
        let name = scenario.name;
        let whole = play(scenario, [&server[..]]);
        for size in [1, 2, 3, 7, 1000] {
            let outcome = play(scenario, server.chunks(size));
            assert!(outcome == whole, "{name} in chunks of {size}");
        }
        for cut in recording.positions(1000) {
            let (first, rest) = server.split_at(cut);
            let outcome = play(scenario, [first, rest]);
            assert!(outcome == whole, "{name} split at {cut}");
        }
    }
}

#[test]
fn a_truncated_session_needs_more_bytes() {
    for recording in recordings() {
        let Recording {
            scenario, server, ..
        } = &recording;
        let name = scenario.name;
        for end in recording.positions(300) {
            let outcome = play(scenario, [&server[..end]]);
            assert_eq!(outcome.error, None, "{name} cut at {end}");
            let whole = [&server[..end], &server[end..][..outcome.needed]].concat();
            assert!(outcome.closed || outcome.needed > 0, "{name} cut at {end}");
            // The needed bytes exist, and are not more than the rest of the message.
            let next = play(scenario, [&whole[..]]);
            assert!(
                outcome.closed || next.left == 0 || next.needed > 0,
                "{name} cut at {end}: {} bytes more",
                outcome.needed
            );
        }
    }
}

#[test]
fn a_changed_byte_never_panics_or_exceeds_the_limits() {
    for recording in recordings() {
        let Recording {
            scenario, server, ..
        } = &recording;
        for at in recording.positions(150) {
            for change in [0x01, 0x20, 0x80, 0xff] {
                let mut server = server.clone();
                server[at] ^= change;
                let outcome = play(scenario, [&server[..]]);
                // A larger length needs more bytes, but never more than its limit.
                assert!(
                    outcome.needed <= 1 << 30,
                    "{} changed at {at}",
                    scenario.name
                );
            }
        }
    }
}

#[test]
fn a_server_with_a_wrong_signature_is_refused() {
    for Recording {
        scenario, server, ..
    } in recordings()
    {
        if !scenario.name.starts_with("startup_scram") {
            continue;
        }
        let text = b"v=";
        let at = server.windows(2).position(|window| window == text).unwrap() + 2;
        for index in [at, at + 42] {
            let mut server = server.clone();
            server[index] = if server[index] == b'A' { b'Q' } else { b'A' };
            let outcome = play(&scenario, [&server[..]]);
            let error = outcome.error.expect("the signature is wrong").to_string();
            assert!(error.contains("signature"), "{error}");
            assert!(!outcome.transcript.contains("Authenticated"));
        }
    }
}
