//! Plays the recorded sessions: the server's bytes in, and what comes out must be what was written
//! down when they were recorded.

mod support;

use std::{fs, path::PathBuf};

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

/// What came out of a session.
#[derive(PartialEq)]
struct Outcome {
    sent: Vec<u8>,
    transcript: String,
    left: usize,
}

/// Gives the session its input in pieces, as a caller with a receive buffer would.
fn play<'a>(scenario: &Scenario, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut player = Player::new(scenario.clone());
    let mut sent = Vec::new();
    let mut buffer = Vec::new();
    let mut drain = |player: &mut Player| {
        while let Some(output) = player.session.poll_transmit() {
            sent.extend_from_slice(&output);
        }
    };
    drain(&mut player);
    for piece in pieces {
        // The answer to SSLRequest stands alone: what follows comes after the handshake.
        let split = usize::from(player.transcript.text.is_empty() && buffer.is_empty());
        let (first, rest) = piece.split_at(split.min(piece.len()));
        for piece in [first, rest] {
            buffer.extend_from_slice(piece);
            let consumed = player.play(&buffer).expect(scenario.name);
            buffer.drain(..consumed);
            drain(&mut player);
        }
    }
    drain(&mut player);
    Outcome {
        sent,
        transcript: player.transcript.text,
        left: buffer.len(),
    }
}

#[test]
fn recorded_servers_are_understood_and_answered() {
    let mut count = 0;
    for Recording {
        scenario,
        server,
        client,
    } in recordings()
    {
        let name = scenario.name;
        let outcome = play(&scenario, [&server[..]]);
        if std::env::var_os("PROTOCOL_TESTS_WRITE").is_some() {
            fs::write(path(name, "transcript"), &outcome.transcript).unwrap();
        }
        let transcript = String::from_utf8(read(name, "transcript")).unwrap();
        for (found, due) in outcome.transcript.lines().zip(transcript.lines()) {
            assert_eq!(found, due, "{name}");
        }
        assert_eq!(outcome.transcript, transcript, "{name}");
        assert_eq!(outcome.sent, client, "{name}: what the client sent");
        assert_eq!(outcome.left, 0, "{name}: bytes left");
        count += 1;
    }
    // None is in the folder that no script belongs to.
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
