//! PostgreSQL's own clients.

use std::path::PathBuf;

/// Returns the path of a program in the newest of Debian's packages. The program of that name in
/// `PATH` is a wrapper script, whose time would be measured too.
pub(crate) fn newest(program: &str) -> PathBuf {
    let packages = std::fs::read_dir("/usr/lib/postgresql");
    let mut found: Vec<(u32, PathBuf)> = packages
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|version| {
            let number = version.file_name().to_str()?.parse().ok()?;
            Some((number, version.path().join("bin").join(program)))
        })
        .filter(|(_, path)| path.exists())
        .collect();
    found.sort();
    let (_, path) = found
        .pop()
        .unwrap_or_else(|| panic!("{program} is in Debian's package postgresql-client"));
    path
}
