//! What a person gives to be captured: a Flow catalog, or an endpoint configuration alone.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::members::{Members, Place, items, text};
use super::yaml;
use crate::config::{Config, Resource};
use crate::error::{Error, ErrorKind, Result};

/// The member of documents that holds the transaction's id.
const TRANSACTION_ID: &str = "/_meta/source/txid";

/// What a file asks for.
#[derive(Debug)]
pub(super) enum Source {
    /// An endpoint: everything there is to be discovered.
    Endpoint(Box<Config>),
    /// A capture of a catalog.
    Capture(Box<Capture>),
}

/// A capture as a catalog describes it.
#[derive(Debug)]
pub(super) struct Capture {
    pub(super) name: String,
    pub(super) config: Config,
    /// Those that are not disabled.
    pub(super) bindings: Vec<Bound>,
}

/// A binding as a catalog describes it.
#[derive(Debug)]
pub(super) struct Bound {
    /// Where it stands, for errors.
    pub(super) place: Place,
    pub(super) resource: Resource,
    pub(super) collection: String,
    /// The backfill counter.
    pub(super) backfill: u32,
    /// The collection's key; `None` takes that of the table.
    pub(super) key: Option<Vec<String>>,
    pub(super) transaction_ids: bool,
}

/// A collection as a catalog describes it.
#[derive(Debug, Default)]
struct Collection {
    key: Option<Vec<String>>,
    transaction_ids: bool,
}

/// Reads the file; `-` is standard input.
///
/// # Errors
///
/// Fails with the first thing that is wrong, with file, member and what was due.
pub(super) fn read(path: &Path, capture: Option<&str>) -> Result<Source> {
    let is_stdin = path == Path::new("-");
    let file = if is_stdin {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let value = load(path, &file)?;
    // What a file refers to stands beside it; what standard input does, in the working folder.
    let folder = match path.parent() {
        Some(folder) if !is_stdin => folder.to_owned(),
        _ => PathBuf::new(),
    };
    interpret(&value, &file, &folder, capture)
}

fn load(path: &Path, file: &str) -> Result<Value> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().read_to_string(&mut text).map(|_| ())
    } else {
        fs::read_to_string(path).map(|read| text = read)
    };
    let unusable = |what: &str| Error::new(ErrorKind::Configuration, format!("{file} {what}"));
    read.map_err(|error| unusable("cannot be read").with_source(error))?;
    yaml::parse(&text).map_err(|error| unusable("is neither JSON nor YAML").with_source(error))
}

fn interpret(value: &Value, file: &str, folder: &Path, capture: Option<&str>) -> Result<Source> {
    const CATALOG: [&str; 3] = ["captures", "collections", "import"];
    let place = Place::root(file);
    if !CATALOG.iter().any(|name| value.get(name).is_some()) {
        if let Some(name) = capture {
            return Err(place.error(format_args!(
                "is an endpoint configuration, which has no capture {name:?}: leave --capture out, \
                 or give a catalog"
            )));
        }
        return Ok(Source::Endpoint(Box::new(endpoint(value, &place)?)));
    }
    let others = ["$schema", "materializations", "tests", "storageMappings"];
    let root = Members::of(value, place, &CATALOG, &others)?;
    let captures = root.map("captures")?;
    let (name, value, place) = choose(&captures, &root.place, capture)?;

    let known = ["endpoint", "bindings"];
    let others = [
        "autoDiscover",
        "createdAt",
        "delete",
        "expectBuildId",
        "expectPubId",
        "interval",
        "redactSalt",
        "reset",
        "shards",
    ];
    let members = Members::of(value, place, &known, &others)?;
    let (value, place) = members.required("endpoint", "an object with the member 'connector'")?;
    let config = match connector_config(value, place)? {
        (Value::String(path), place) => {
            let (value, place) = load_beside(folder, path, &place)?;
            endpoint(&value, &place)?
        }
        (value, place) => endpoint(value, &place)?,
    };
    let mut bindings = Vec::new();
    let (value, place) = members.required("bindings", "an array of bindings")?;
    for (value, place) in items((value, place.clone()))? {
        bindings.extend(bound(value, place, &root, folder)?);
    }
    if bindings.is_empty() {
        return Err(place.error("has no binding that is enabled: there is nothing to capture"));
    }
    Ok(Source::Capture(Box::new(Capture {
        name: name.to_owned(),
        config,
        bindings,
    })))
}

fn choose<'a, 'b>(
    captures: &'b [(&'a str, &'a Value, Place)],
    root: &Place,
    capture: Option<&str>,
) -> Result<(&'a str, &'a Value, Place)> {
    let names = || {
        let names: Vec<_> = captures.iter().map(|(name, ..)| *name).collect();
        names.join(", ")
    };
    let found: Option<&'b _> = match (capture, captures) {
        (_, []) => return Err(root.error("defines no captures")),
        (None, [only]) => Some(only),
        (None, _) => {
            return Err(root.error(format_args!(
                "defines several captures, say which with --capture: {}",
                names()
            )));
        }
        (Some(wanted), _) => captures.iter().find(|(name, ..)| *name == wanted),
    };
    found.cloned().ok_or_else(|| {
        let wanted = capture.unwrap_or_default();
        root.error(format_args!(
            "defines no capture {wanted:?}, but {}",
            names()
        ))
    })
}

/// Returns the configuration in an endpoint: of an image, or of a command.
fn connector_config(value: &Value, place: Place) -> Result<(&Value, Place)> {
    let endpoint = Members::of(value, place, &["connector", "local"], &[])?;
    let (value, place) = match endpoint.value("local") {
        Some(local) => local,
        None => endpoint.required("connector", "an object with the members image and config")?,
    };
    let others = ["command", "env", "image", "protobuf"];
    let connector = Members::of(value, place, &["config"], &others)?;
    connector.required(
        "config",
        "the endpoint configuration, or the path of its file",
    )
}

fn load_beside(folder: &Path, path: &str, place: &Place) -> Result<(Value, Place)> {
    let path = folder.join(path);
    let file = path.display().to_string();
    match load(&path, &file) {
        Ok(value) => Ok((value, Place::root(file))),
        Err(error) => Err(place
            .error("refers to a file that cannot be used")
            .with_source(error)),
    }
}

fn endpoint(value: &Value, place: &Place) -> Result<Config> {
    if value.get("sops").is_some_and(Value::is_object) {
        return Err(place.error("is encrypted with sops: give it decrypted"));
    }
    Config::parse(&value.to_string())
        .map_err(|error| error.context(format!("{place} is not a usable endpoint configuration")))
}

fn bound(value: &Value, place: Place, root: &Members<'_>, folder: &Path) -> Result<Option<Bound>> {
    let known = ["resource", "target", "disable", "backfill"];
    let members = Members::of(value, place, &known, &[])?;
    if members.boolean("disable")? {
        return Ok(None);
    }
    let backfill = members.counter("backfill")?;
    let collection = text(
        members.required("target", "the name of a collection")?,
        "the name of a collection",
    )?;
    let loaded;
    let (value, place) =
        match members.required("resource", "an object with namespace and stream")? {
            (Value::String(path), place) => {
                loaded = load_beside(folder, path, &place)?;
                (&loaded.0, loaded.1.clone())
            }
            inline => inline,
        };
    let resource = Resource::parse(&value.to_string())
        .map_err(|error| error.context(format!("{place} is not a usable resource")))?;
    let Collection {
        key,
        transaction_ids,
    } = collection_of(collection, &members, root)?;
    Ok(Some(Bound {
        place: members.place,
        resource,
        collection: collection.to_owned(),
        backfill,
        key,
        transaction_ids,
    }))
}

/// Finds the collection of a binding. One that the catalog does not define is as discovered.
fn collection_of(name: &str, binding: &Members<'_>, root: &Members<'_>) -> Result<Collection> {
    let collections = root.map("collections")?;
    let Some((_, value, place)) = collections.into_iter().find(|(known, ..)| *known == name) else {
        let imports = match root.value("import") {
            Some(import) => items(import)?.len(),
            None => 0,
        };
        if imports > 0 {
            return Err(binding.place.member("target").error(format_args!(
                "is the collection {name:?}, which is not defined in this file and may be in one \
                 that it imports, and imports are not read: define it here, or remove 'import' to \
                 capture with the table's own key"
            )));
        }
        return Ok(Collection {
            key: None,
            transaction_ids: true,
        });
    };
    let known = ["key", "projections", "schema", "readSchema", "writeSchema"];
    let others = [
        "delete",
        "derive",
        "expectBuildId",
        "expectPubId",
        "journals",
        "reset",
    ];
    let members = Members::of(value, place, &known, &others)?;
    let key = match members.value("key") {
        None => None,
        Some((value, place)) => Some(key(value, place)?),
    };
    let mut projected = false;
    for (_, value, place) in members.map("projections")? {
        let pointer = match value {
            Value::Object(_) => {
                let projection = Members::of(value, place, &["location", "partition"], &[])?;
                text(
                    projection.required("location", "a JSON pointer")?,
                    "a JSON pointer",
                )?
            }
            _ => text((value, place), "a JSON pointer")?,
        };
        projected |= pointer == TRANSACTION_ID;
    }
    // Flow projects every location that the schema names.
    let schemas: Vec<_> = ["schema", "readSchema", "writeSchema"]
        .iter()
        .filter_map(|name| members.value(name))
        .collect();
    let path = TRANSACTION_ID.split('/').skip(1).collect::<Vec<_>>();
    let named = schemas.is_empty() || schemas.iter().any(|(schema, _)| names(schema, &path));
    Ok(Collection {
        key,
        transaction_ids: projected || named,
    })
}

fn key(value: &Value, place: Place) -> Result<Vec<String>> {
    let mut key = Vec::new();
    for (value, place) in items((value, place.clone()))? {
        let pointer = text((value, place.clone()), "a JSON pointer")?;
        if !pointer.starts_with('/') {
            return Err(place.error("must be a JSON pointer, which starts with /"));
        }
        key.push(pointer.to_owned());
    }
    if key.is_empty() {
        return Err(place.error("is empty: it must be an array of JSON pointers"));
    }
    Ok(key)
}

/// Whether a schema names a location. One that stands in another file is taken to be as discovered.
fn names(schema: &Value, path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return true;
    };
    if schema.is_string() {
        return true;
    }
    let below = |schema: &Value| names(schema, path);
    schema
        .get("properties")
        .and_then(|properties| properties.get(first))
        .is_some_and(|schema| names(schema, rest))
        || ["allOf", "anyOf", "oneOf"].iter().any(|combined| {
            let schemas = schema.get(combined).and_then(Value::as_array);
            schemas.is_some_and(|schemas| schemas.iter().any(below))
        })
}

#[cfg(test)]
mod tests;
