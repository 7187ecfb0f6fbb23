//! Checks of the imports in `src/` against the architecture that the crate documentation states.
//!
//! - The table of rooms names every module of the crate root, and a room imports only rooms that
//!   come later in the table, read row by row and within a row from left to right.
//! - The files of one room import each other without a circle.
//!
//! An import is a `use` declaration or a path with `crate::`, `super::` or the name of a module. It
//! leads to the file that defines the item: re-exports are followed, and a `mod.rs` that only
//! declares and re-exports depends on nothing. A re-exported name counts as an import where the code
//! of the same file mentions it. Code under `#[cfg(test)]` is left out, and so are uses of a type
//! that is not named, such as calls of its methods.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use source::{File, ModulePath, collect, module_of, parse_file, remove_tests, tokens};

/// Imports that are allowed although they break a rule: from, to, reason. A first name that ends in
/// a slash stands for every file of that folder.
const ALLOWED: &[(&str, &str, &str)] = &[];

#[test]
fn the_table_of_rooms_names_every_room_once() {
    let root = fs::read_to_string(folder().join("lib.rs")).unwrap();
    let rooms = table_of_rooms(&root);
    let unique: BTreeSet<&String> = rooms.iter().collect();
    assert_eq!(unique.len(), rooms.len(), "a room stands twice: {rooms:?}");
    let declared: BTreeSet<String> = root
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    assert_eq!(rooms.into_iter().collect::<BTreeSet<_>>(), declared);
}

#[test]
fn rooms_import_only_rooms_that_come_later_in_the_table() {
    let files = Files::read(&folder());
    let rooms = table_of_rooms(&fs::read_to_string(folder().join("lib.rs")).unwrap());
    let against = files.imports_against(&rooms);
    let wrong: Vec<&Arrow> = against.iter().filter(|arrow| !arrow.is_allowed()).collect();
    assert!(
        wrong.is_empty(),
        "against the table of rooms:\n{}",
        list(&wrong)
    );
}

#[test]
fn the_files_of_a_room_form_no_circle() {
    let files = Files::read(&folder());
    let mut text = String::new();
    for (room, circle) in files.circles(Arrow::is_allowed) {
        let arrows: Vec<&Arrow> = circle.iter().collect();
        writeln!(text, "in {room}:\n{}", list(&arrows)).unwrap();
    }
    assert!(
        text.is_empty(),
        "files import each other in a circle, {text}"
    );
}

/// Without this check an exception would outlive its reason.
#[test]
fn every_exception_is_needed() {
    let files = Files::read(&folder());
    let rooms = table_of_rooms(&fs::read_to_string(folder().join("lib.rs")).unwrap());
    let against = files.imports_against(&rooms);
    let mut text = String::new();
    for exception in ALLOWED {
        let (from, to, reason) = exception;
        let others = ALLOWED.iter().filter(|other| *other != exception);
        let is_allowed = |arrow: &Arrow| others.clone().any(|(from, to, _)| arrow.is(from, to));
        let circles = files.circles(is_allowed);
        let mut broken = against
            .iter()
            .chain(circles.iter().flat_map(|(_, arrows)| arrows));
        if !broken.any(|arrow| arrow.is(from, to)) {
            writeln!(text, "  {from} -> {to}: {reason}").unwrap();
        }
    }
    assert!(text.is_empty(), "exceptions to be removed:\n{text}");
}

#[test]
fn imports_lead_to_the_file_that_defines_an_item() {
    let files = [
        ("lib.rs", "pub mod upper; pub mod lower;"),
        (
            "upper/mod.rs",
            "mod a; mod b; pub use a::{A, helper}; pub use b::B as Renamed;",
        ),
        (
            "upper/a.rs",
            "//! use crate::upper::Renamed;
             use super::Renamed; use crate::lower::Low;
             pub struct A<'a>(&'a str, char); const Q: char = '\''; /* super::Renamed */
             #[cfg(test)] mod tests { use super::super::b::B; }",
        ),
        (
            "upper/b.rs",
            "pub(in crate::upper) struct B; fn f() -> &'static str { super::helper(r#\"crate::x\"#) }",
        ),
        (
            "lower.rs",
            "pub struct Low; fn up() { crate::upper::helper() }",
        ),
    ];
    let files = Files::parse(&files.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let arrow = |from: &str, to: &str, path: &str| Arrow {
        from: from.to_owned(),
        to: to.to_owned(),
        path: path.to_owned(),
    };
    let rooms = ["upper", "lower"].map(str::to_owned);
    let against = arrow("lower.rs", "upper/a.rs", "upper::helper");
    assert_eq!(files.imports_against(&rooms), [against]);
    let circle = vec![
        arrow("upper/a.rs", "upper/b.rs", "upper::Renamed"),
        arrow("upper/b.rs", "upper/a.rs", "upper::helper"),
    ];
    assert_eq!(files.circles(|_| false), [("upper".to_owned(), circle)]);
    assert!(files.circles(|arrow| arrow.from == "upper/b.rs").is_empty());
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Returns the modules in the first column of the table in the crate documentation.
fn table_of_rooms(root: &str) -> Vec<String> {
    root.lines()
        .filter_map(|line| line.strip_prefix("//! | ")?.split('|').next())
        .flat_map(|cell| cell.split("[`").skip(1))
        .filter_map(|name| Some(name.split_once("`]")?.0.to_owned()))
        .collect()
}

/// An import of one file by another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Arrow {
    from: String,
    to: String,
    /// The path as imported.
    path: String,
}

impl Arrow {
    fn is_allowed(&self) -> bool {
        ALLOWED.iter().any(|(from, to, _)| self.is(from, to))
    }

    fn is(&self, from: &str, to: &str) -> bool {
        let is_from = match from.ends_with('/') {
            true => self.from.starts_with(from),
            false => self.from == from,
        };
        is_from && self.to == to
    }
}

fn list(arrows: &[&Arrow]) -> String {
    let lines: BTreeSet<String> = arrows
        .iter()
        .map(|Arrow { from, to, path }| format!("  {from} -> {to} ({path})\n"))
        .collect();
    lines.into_iter().collect()
}

/// The source files of the crate, by the path of the module that each is.
struct Files {
    modules: BTreeMap<ModulePath, File>,
}

impl Files {
    fn read(folder: &Path) -> Self {
        let mut texts = Vec::new();
        collect(folder, &mut Vec::new(), &mut texts);
        Self::parse(&texts)
    }

    /// Reads files given as name below `src/` and text.
    fn parse(texts: &[(String, String)]) -> Self {
        let mut tests = BTreeSet::new();
        let mut modules = BTreeMap::new();
        for (name, text) in texts {
            let module = module_of(name);
            let mut tokens = tokens(text);
            for child in remove_tests(&mut tokens) {
                let mut path = module.clone();
                path.push(child);
                tests.insert(path);
            }
            modules.insert(module.clone(), parse_file(name, &module, &tokens));
        }
        modules.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        Self { modules }
    }

    /// Returns the imports of a room by one that comes later in the table.
    fn imports_against(&self, rooms: &[String]) -> Vec<Arrow> {
        let rank = |room: &String| rooms.iter().position(|known| known == room);
        let mut wrong = Vec::new();
        for (module, file) in &self.modules {
            for path in self.imports(file) {
                let (Some(from), Some(to)) = (module.first(), path.first()) else {
                    continue;
                };
                let (Some(from), Some(to)) = (rank(from), rank(to)) else {
                    continue;
                };
                if to < from {
                    wrong.push(self.arrow(file, &path));
                }
            }
        }
        wrong
    }

    /// Returns the circles among the files of each room, as the arrows that form them, without
    /// regard to the arrows that `left_out` names.
    fn circles(&self, left_out: impl Fn(&Arrow) -> bool) -> Vec<(String, Vec<Arrow>)> {
        let mut arrows: BTreeMap<&String, BTreeMap<(String, String), Arrow>> = BTreeMap::new();
        for (module, file) in &self.modules {
            let Some(room) = module.first() else { continue };
            for path in self.imports(file) {
                let arrow = self.arrow(file, &path);
                if path.first() == Some(room) && arrow.from != arrow.to && !left_out(&arrow) {
                    let ends = (arrow.from.clone(), arrow.to.clone());
                    arrows.entry(room).or_default().insert(ends, arrow);
                }
            }
        }
        let mut circles = Vec::new();
        for (room, arrows) in arrows {
            let reached = reached(arrows.keys());
            let on_circle: Vec<Arrow> = arrows
                .into_values()
                .filter(|Arrow { from, to, .. }| reached[to].contains(from))
                .collect();
            if !on_circle.is_empty() {
                circles.push((room.clone(), on_circle));
            }
        }
        circles
    }

    fn arrow(&self, file: &File, path: &ModulePath) -> Arrow {
        let to = self.definition(path, 0);
        Arrow {
            from: file.name.clone(),
            to: to.map_or_else(|| file.name.clone(), |file| file.name.clone()),
            path: path.join("::"),
        }
    }

    /// Returns the paths of this crate that a file imports, from the crate root.
    fn imports(&self, file: &File) -> Vec<ModulePath> {
        let mut imports = Vec::new();
        for import in &file.uses {
            let Some(path) = self.absolute(&import.module, &import.path) else {
                continue;
            };
            // Items used through an imported module are among the paths of the code.
            let is_module = self.modules.contains_key(&path) && import.name != "*";
            if !is_module && (!import.is_reexport || import.is_mentioned) {
                imports.push(path);
            }
        }
        for (module, path) in &file.paths {
            let imported = file.uses.iter().find(|import| import.name == path[0]);
            let full = match imported {
                Some(import) => self
                    .absolute(&import.module, &import.path)
                    .filter(|path| self.modules.contains_key(path))
                    .map(|prefix| [&prefix, &path[1..]].concat()),
                None => self.absolute(module, path),
            };
            imports.extend(full);
        }
        imports
    }

    /// Returns a path as written in `module` as one from the crate root; `None` if it leads to
    /// another crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<ModulePath> {
        let mut from_root = module.to_vec();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                from_root.clear();
                rest = &path[1..];
            }
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|name| name == "super") {
                    from_root.pop()?;
                    rest = &rest[1..];
                }
            }
            name => {
                let child = [module, &[name.to_owned()]].concat();
                if !self.modules.contains_key(&child) {
                    return None;
                }
            }
        }
        from_root.extend_from_slice(rest);
        Some(from_root)
    }

    /// Returns the file that defines what a path from the crate root names.
    fn definition(&self, path: &[String], depth: usize) -> Option<&File> {
        let module = (0..=path.len())
            .rev()
            .map(|length| &path[..length])
            .find(|module| self.modules.contains_key(*module))?;
        let file = self.modules.get(module)?;
        let rest = &path[module.len()..];
        let Some(name) = rest.first() else {
            return Some(file);
        };
        let import = file.uses.iter().find(|import| import.name == *name);
        let followed = import
            .filter(|_| depth < 16)
            .and_then(|import| self.absolute(&import.module, &import.path))
            .and_then(|path| self.definition(&[&path, &rest[1..]].concat(), depth + 1));
        Some(followed.unwrap_or(file))
    }
}

/// Returns the files that can be reached from each file.
fn reached<'a>(
    arrows: impl Iterator<Item = &'a (String, String)> + Clone,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut reached: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to) in arrows.clone() {
        reached.entry(from.clone()).or_default().insert(to.clone());
        reached.entry(to.clone()).or_default();
    }
    loop {
        let before = reached.clone();
        for (from, to) in arrows.clone() {
            let further = before[to].clone();
            reached.entry(from.clone()).or_default().extend(further);
        }
        if reached == before {
            return reached;
        }
    }
}
