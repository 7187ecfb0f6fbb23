//! Documents that have to agree with the repository.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the names of the direct dependencies of a manifest, dev-dependencies included.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_listed = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_listed = matches!(line, "[dependencies]" | "[dev-dependencies]");
        } else if is_listed
            && !line.starts_with('#')
            && let Some((name, _)) = line.split_once([' ', '.', '='])
        {
            names.push(name);
        }
    }
    names
}

#[test]
fn every_direct_dependency_has_a_reason() {
    let manifests = [read("Cargo.toml"), read("protocol/Cargo.toml")];
    let readme = read("tests/README.md");
    let (_, tables) = readme
        .split_once("## Dependencies")
        .expect("tests/README.md has a section on dependencies");
    let listed: Vec<&str> = tables
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    for name in manifests.iter().flat_map(|manifest| dependencies(manifest)) {
        assert!(
            listed.contains(&name),
            "{name} has no reason in tests/README.md"
        );
    }
}
