//! The command line, as far as it does without a server.

use std::fs;

use crate::support::command::{Place, command};

#[test]
fn the_help_says_what_is_guaranteed() {
    let output = command(&["--help"]).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success());
    for part in [
        "--config <FILE>",
        "--state <FILE>",
        "--capture <NAME>",
        "--exit-when-caught-up",
        "at least once",
        "SHUTDOWN_AFTER_POLLING",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
}

#[test]
fn a_state_that_cannot_be_used_is_refused_and_left_alone() {
    let mut place = Place::new();
    // Nothing is asked of a server before.
    let config = place.write(
        "config.json",
        r#"{"address":"127.0.0.1:1","user":"u","password":"p"}"#,
    );
    let state = place.state_path();
    for text in [
        "{\"cursor\":\"0/16B37",
        "",
        "{\"cursor\":\"0/1\",\"more\":1}",
    ] {
        place.write("state.json", text);
        let log = place
            .start(&["--config", &config, "--state", &state])
            .fail();
        assert!(
            log.contains("state.json cannot be used and was left unchanged"),
            "{log}"
        );
        assert_eq!(fs::read_to_string(&state).expect("it is there"), text);
    }
}
