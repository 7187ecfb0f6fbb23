//! Reading of source files: their `use` declarations and paths, by a scanner of tokens.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A path from the crate root.
pub(super) type ModulePath = Vec<String>;

/// A source file without its tests.
pub(super) struct File {
    /// Path below `src/`.
    pub(super) name: String,
    /// Imported names with their paths, and whether the code mentions each.
    pub(super) uses: Vec<Use>,
    /// Paths in the code outside `use` declarations, as written, and the module they stand in.
    pub(super) paths: Vec<(ModulePath, ModulePath)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Use {
    /// The module that the declaration stands in.
    pub(super) module: ModulePath,
    /// The path as written.
    pub(super) path: ModulePath,
    /// The name that it brings into scope; `*` for all names.
    pub(super) name: String,
    pub(super) is_reexport: bool,
    /// Whether the code of the file mentions the name.
    pub(super) is_mentioned: bool,
}

pub(super) fn collect(folder: &Path, below: &mut Vec<String>, texts: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            below.push(name);
            collect(&path, below, texts);
            below.pop();
        } else if name.ends_with(".rs") && !(below.is_empty() && name == "main.rs") {
            below.push(name);
            texts.push((below.join("/"), fs::read_to_string(&path).unwrap()));
            below.pop();
        }
    }
}

pub(super) fn module_of(name: &str) -> ModulePath {
    let mut module: ModulePath = name
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
        module.pop();
    }
    module
}

/// Splits code into identifiers, `::` and single characters, without comments and literals.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let mut index = 0;
    while index < chars.len() {
        let start = index;
        match chars[index] {
            '/' if at(index + 1) == '/' => {
                while index < chars.len() && chars[index] != '\n' {
                    index += 1;
                }
            }
            '/' if at(index + 1) == '*' => {
                let end = text_from(&chars, index).find("*/").unwrap();
                index += text_from(&chars, index)[..end].chars().count() + 2;
            }
            '"' => index = end_of_string(&chars, index),
            'r' if at(index + 1) == '"'
                || (at(index + 1) == '#' && "\"#".contains(at(index + 2))) =>
            {
                let hashes = chars[index + 1..].iter().take_while(|c| **c == '#').count();
                let close: Vec<char> = std::iter::once('"')
                    .chain(std::iter::repeat_n('#', hashes))
                    .collect();
                index += hashes + 2;
                while chars[index..index + close.len()] != close[..] {
                    index += 1;
                }
                index += close.len();
            }
            // A lifetime has no second quote.
            '\'' if at(index + 1) != '\\' && at(index + 2) != '\'' => index += 1,
            '\'' => {
                index += if at(index + 1) == '\\' { 3 } else { 2 };
                while at(index) != '\'' {
                    index += 1;
                }
                index += 1;
            }
            c if c.is_alphanumeric() || c == '_' => {
                while at(index).is_alphanumeric() || at(index) == '_' {
                    index += 1;
                }
                // The prefix of a literal is no name.
                if !"\"'".contains(at(index)) || !matches!(c, 'b' | 'c') {
                    tokens.push(chars[start..index].iter().collect());
                }
            }
            ':' if at(index + 1) == ':' => {
                tokens.push("::".to_owned());
                index += 2;
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(c.to_string());
                }
                index += 1;
            }
        }
    }
    tokens
}

fn text_from(chars: &[char], index: usize) -> String {
    chars[index..].iter().collect()
}

fn end_of_string(chars: &[char], start: usize) -> usize {
    let mut index = start + 1;
    while chars[index] != '"' {
        index += if chars[index] == '\\' { 2 } else { 1 };
    }
    index + 1
}

/// Removes the items under `#[cfg(test)]`, and returns the modules among them that have files.
pub(super) fn remove_tests(tokens: &mut Vec<String>) -> Vec<String> {
    let mut modules = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        if !is_test_attribute(&tokens[index..]) {
            index += 1;
            continue;
        }
        let close = closing(tokens, index + 1);
        let mut end = close + 1;
        while tokens[end] == "#" {
            end = closing(tokens, end + 1) + 1;
        }
        while !matches!(tokens[end].as_str(), ";" | "{") {
            end = if tokens[end] == "(" {
                closing(tokens, end)
            } else {
                end
            } + 1;
        }
        if tokens[end] == ";" && tokens[end - 2] == "mod" {
            modules.push(tokens[end - 1].clone());
        }
        if tokens[end] == "{" {
            end = closing(tokens, end);
        }
        tokens.drain(index..=end);
    }
    modules
}

/// Returns whether the tokens begin with a `#[cfg(...)]` that names `test`.
fn is_test_attribute(tokens: &[String]) -> bool {
    tokens.starts_with(&["#", "[", "cfg"].map(str::to_owned))
        && tokens[..closing(tokens, 1)].contains(&"test".to_owned())
}

/// Returns the index of the bracket that closes the one at `open`; `open` itself if there is none.
fn closing(tokens: &[String], open: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth <= 0 {
            return index;
        }
    }
    open
}

pub(super) fn parse_file(name: &str, module: &[String], tokens: &[String]) -> File {
    let mut file = File {
        name: name.to_owned(),
        uses: Vec::new(),
        paths: Vec::new(),
    };
    let mut module = module.to_vec();
    let mut inline = Vec::new();
    let mut mentioned = BTreeSet::new();
    let mut index = 0;
    while index < tokens.len() {
        let token = tokens[index].as_str();
        let is_path = tokens.get(index + 1).is_some_and(|next| next == "::");
        if inline.last() == Some(&index) {
            inline.pop();
            module.pop();
        } else if token == "mod" && tokens.get(index + 2).is_some_and(|next| next == "{") {
            module.push(tokens[index + 1].clone());
            inline.push(closing(tokens, index + 2));
            index += 2;
        } else if token == "in" && tokens[..index].ends_with(&["(".to_owned()]) {
            // A visibility: `pub(in crate::flow)`.
            index = closing(tokens, index - 1);
        } else if token == "use" {
            let public = tokens[..index].last();
            let is_reexport = public.is_some_and(|last| matches!(last.as_str(), "pub" | ")"));
            let end = index + tokens[index..].iter().position(|t| t == ";").unwrap();
            for (path, name) in use_tree(&tokens[index + 1..end]) {
                file.uses.push(Use {
                    module: module.clone(),
                    path,
                    name,
                    is_reexport,
                    is_mentioned: false,
                });
            }
            index = end;
        } else if is_path && is_name(token) && !tokens[..index].ends_with(&["::".to_owned()]) {
            let mut path = vec![token.to_owned()];
            while tokens.get(index + 1).is_some_and(|next| next == "::")
                && tokens.get(index + 2).is_some_and(|next| is_name(next))
            {
                path.push(tokens[index + 2].clone());
                index += 2;
            }
            mentioned.insert(path[0].clone());
            file.paths.push((module.clone(), path));
        } else if is_name(token) && !tokens[..index].ends_with(&[".".to_owned()]) {
            mentioned.insert(token.to_owned());
        }
        index += 1;
    }
    for import in &mut file.uses {
        import.is_mentioned = mentioned.contains(&import.name);
    }
    file
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Returns each path of a `use` declaration with the name that it brings into scope.
fn use_tree(tokens: &[String]) -> Vec<(ModulePath, String)> {
    let mut path: ModulePath = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        match tokens[index].as_str() {
            "::" => {}
            "{" => {
                let close = closing(tokens, index);
                let mut found = Vec::new();
                for part in split(&tokens[index + 1..close]) {
                    for (tail, name) in use_tree(part) {
                        if tail == ["self"] {
                            found.push((path.clone(), path.last().unwrap().clone()));
                        } else {
                            found.push(([&path[..], &tail].concat(), name));
                        }
                    }
                }
                return found;
            }
            "*" => return vec![(path, "*".to_owned())],
            "as" => return vec![(path, tokens[index + 1].clone())],
            name => path.push(name.to_owned()),
        }
        index += 1;
    }
    let name = path.last().cloned().unwrap_or_default();
    if path.is_empty() {
        Vec::new()
    } else {
        vec![(path, name)]
    }
}

/// Splits at the commas that stand in no bracket.
fn split(tokens: &[String]) -> Vec<&[String]> {
    let mut parts = Vec::new();
    let (mut start, mut index) = (0, 0);
    while index < tokens.len() {
        match tokens[index].as_str() {
            "{" => index = closing(tokens, index),
            "," => {
                parts.push(&tokens[start..index]);
                start = index + 1;
            }
            _ => {}
        }
        index += 1;
    }
    parts.push(&tokens[start..]);
    parts
}
