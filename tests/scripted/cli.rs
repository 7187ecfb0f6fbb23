//! The command line without a server.

use std::fs;

use crate::support::command::{CommandFolder, command};

#[test]
fn the_help_names_the_options_and_the_delivery_guarantee() {
    let output = command(&["--help"]).output().expect("the command runs");
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
fn an_invalid_state_file_is_refused_and_not_changed() {
    let mut files = CommandFolder::new();
    // The state is read before the connector connects.
    let config = files.write(
        "config.json",
        r#"{"address":"127.0.0.1:1","user":"u","password":"p"}"#,
    );
    let state = files.state_path();
    for text in [
        "{\"cursor\":\"0/16B37",
        "",
        "{\"cursor\":\"0/1\",\"more\":1}",
    ] {
        files.write("state.json", text);
        let log = files
            .start(&["--config", &config, "--state", &state])
            .fail();
        assert!(
            log.contains("state.json cannot be used and was left unchanged"),
            "{log}"
        );
        assert_eq!(
            fs::read_to_string(&state).expect("the state file exists"),
            text
        );
    }
}
