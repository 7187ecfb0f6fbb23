//! Reader of the file to capture from: a Flow catalog, or an endpoint configuration alone.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::validate::TRANSACTION_ID;
use super::yaml;
use crate::config::{Config, Location, Members, Node, Resource};
use crate::error::{Error, ErrorKind, Result};

/// Contents of the file.
#[derive(Debug)]
pub(super) enum Source {
    /// An endpoint configuration: all discovered tables are captured.
    Endpoint(Box<Config>),
    /// A capture of a catalog.
    Capture(Box<Capture>),
}

/// Capture of a catalog.
#[derive(Debug)]
pub(super) struct Capture {
    pub(super) name: String,
    pub(super) config: Config,
    /// The bindings that are not disabled.
    pub(super) bindings: Vec<CatalogBinding>,
}

/// Binding of a catalog.
#[derive(Debug)]
pub(super) struct CatalogBinding {
    /// Position in the catalog, for errors.
    pub(super) location: Location,
    pub(super) resource: Resource,
    pub(super) collection: String,
    /// The backfill counter.
    pub(super) backfill: u32,
    /// The collection's key; `None` for the key of the table.
    pub(super) key: Option<Vec<String>>,
    pub(super) transaction_ids: bool,
}

/// Collection of a catalog.
#[derive(Debug, Default)]
struct Collection {
    key: Option<Vec<String>>,
    transaction_ids: bool,
}

/// Reads the file; `-` is standard input.
///
/// # Errors
///
/// Fails with the first problem: the file, the member and what was expected of it.
pub(super) fn read(path: &Path, capture: Option<&str>) -> Result<Source> {
    let is_stdin = path == Path::new("-");
    let file = if is_stdin {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let value = load(path, &file)?;
    // Paths in a file are relative to its folder, paths in standard input to the working folder.
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
    let unusable =
        |problem: &str| Error::new(ErrorKind::Configuration, format!("{file} {problem}"));
    read.map_err(|error| unusable("cannot be read").with_source(error))?;
    yaml::parse(&text).map_err(|error| unusable("is neither JSON nor YAML").with_source(error))
}

fn load_relative(folder: &Path, path: &str, referrer: &Node<'_>) -> Result<(Value, Location)> {
    let path = folder.join(path);
    let file = path.display().to_string();
    match load(&path, &file) {
        Ok(value) => Ok((value, Location::file(file))),
        Err(error) => Err(referrer
            .location()
            .error("refers to a file that cannot be used")
            .with_source(error)),
    }
}

fn interpret(value: &Value, file: &str, folder: &Path, capture: Option<&str>) -> Result<Source> {
    let root = Node::root(value, Location::file(file));
    let is_catalog = ["captures", "collections", "import"]
        .iter()
        .any(|name| value.get(name).is_some());
    if is_catalog {
        let catalog = Catalog::read(&root)?;
        let capture = catalog.capture(capture, folder)?;
        return Ok(Source::Capture(Box::new(capture)));
    }
    if let Some(name) = capture {
        return Err(root.location().error(format_args!(
            "is an endpoint configuration, which has no capture {name:?}: leave --capture out, or \
             give a catalog"
        )));
    }
    Ok(Source::Endpoint(Box::new(endpoint(
        value,
        root.location(),
    )?)))
}

/// Members of a catalog that a capture needs.
struct Catalog<'a> {
    location: Location,
    captures: Node<'a>,
    collections: Node<'a>,
    import: Node<'a>,
}

impl<'a> Catalog<'a> {
    fn read(root: &Node<'a>) -> Result<Self> {
        let mut members = Members::of(root, "a catalog")?;
        let catalog = Self {
            location: root.location().clone(),
            captures: members.member("captures"),
            collections: members.member("collections"),
            import: members.member("import"),
        };
        members.ignore(&["$schema", "materializations", "tests", "storageMappings"]);
        members.finish()?;
        Ok(catalog)
    }

    /// Reads the capture of this name, or the only one.
    fn capture(&self, wanted: Option<&str>, folder: &Path) -> Result<Capture> {
        let (name, capture) = self.choose(wanted)?;
        let mut members = Members::of(&capture, "a capture")?;
        let endpoint_node = members.member("endpoint");
        let bindings_node = members.member("bindings");
        members.ignore(&[
            "autoDiscover",
            "createdAt",
            "delete",
            "expectBuildId",
            "expectPubId",
            "interval",
            "redactSalt",
            "reset",
            "shards",
        ]);
        members.finish()?;

        let config = match connector_config(&endpoint_node)? {
            (Value::String(path), node) => {
                let (value, location) = load_relative(folder, path, &node)?;
                endpoint(&value, &location)?
            }
            (value, node) => endpoint(value, node.location())?,
        };
        bindings_node.required("an array of bindings")?;
        let mut bindings = Vec::new();
        for node in bindings_node.items()? {
            bindings.extend(self.binding(&node, folder)?);
        }
        if bindings.is_empty() {
            return Err(bindings_node
                .location()
                .error("has no binding that is enabled: there is nothing to capture"));
        }
        Ok(Capture {
            name: name.to_owned(),
            config,
            bindings,
        })
    }

    fn choose(&self, wanted: Option<&str>) -> Result<(&'a str, Node<'a>)> {
        let mut captures = self.captures.entries()?;
        let names: Vec<_> = captures.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        let index = match wanted {
            _ if captures.is_empty() => return Err(self.location.error("defines no captures")),
            None if captures.len() == 1 => 0,
            None => {
                return Err(self.location.error(format_args!(
                    "defines several captures, choose one with --capture: {names}"
                )));
            }
            Some(wanted) => captures
                .iter()
                .position(|(name, _)| *name == wanted)
                .ok_or_else(|| {
                    self.location
                        .error(format_args!("defines no capture {wanted:?}, but {names}"))
                })?,
        };
        Ok(captures.swap_remove(index))
    }

    /// Reads a binding; `None` if it is disabled.
    fn binding(&self, node: &Node<'a>, folder: &Path) -> Result<Option<CatalogBinding>> {
        let mut members = Members::of(node, "a binding")?;
        let resource_node = members.member("resource");
        let target = members.member("target");
        let disable = members.member("disable");
        let backfill = members.member("backfill");
        members.finish()?;
        if disable.boolean()? {
            return Ok(None);
        }
        let backfill = backfill.counter()?;
        let collection = target.required_string("the name of a collection")?;
        let resource = match resource_node.required("an object with namespace and stream")? {
            Value::String(path) => {
                let (value, location) = load_relative(folder, path, &resource_node)?;
                resource(&value, &location)?
            }
            inline => resource(inline, resource_node.location())?,
        };
        let Collection {
            key,
            transaction_ids,
        } = self.collection(collection, &target)?;
        Ok(Some(CatalogBinding {
            location: node.location().clone(),
            resource,
            collection: collection.to_owned(),
            backfill,
            key,
            transaction_ids,
        }))
    }

    /// Reads the collection that a binding targets. A collection that the catalog does not define
    /// is treated as discovered: it has the table's key and transaction IDs.
    fn collection(&self, name: &str, target: &Node<'_>) -> Result<Collection> {
        let Some(node) = self.collections.entry(name)? else {
            if !self.import.items()?.is_empty() {
                return Err(target.location().error(format_args!(
                    "is the collection {name:?}, which is not defined in this file and may be \
                     defined in an imported one, and imports are not read: define it here, or \
                     remove 'import' to capture with the table's own key"
                )));
            }
            return Ok(Collection {
                key: None,
                transaction_ids: true,
            });
        };
        read_collection(&node)
    }
}

/// Returns the endpoint configuration, or the path of its file, of an image or a local command.
fn connector_config<'a>(node: &Node<'a>) -> Result<(&'a Value, Node<'a>)> {
    let mut endpoint = Members::of(node, "an object with the member 'connector'")?;
    let connector = endpoint.member("connector");
    let local = endpoint.member("local");
    endpoint.finish()?;
    let connector = match local.value() {
        Some(_) => local,
        None => connector,
    };
    let mut members = Members::of(&connector, "an object with the members image and config")?;
    let config = members.member("config");
    members.ignore(&["command", "env", "image", "protobuf"]);
    members.finish()?;
    let value = config.required("the endpoint configuration, or the path of its file")?;
    Ok((value, config))
}

fn endpoint(value: &Value, location: &Location) -> Result<Config> {
    if value.get("sops").is_some_and(Value::is_object) {
        return Err(location.error("is encrypted with sops: give it decrypted"));
    }
    Config::from_json(value).map_err(|error| {
        error.context(format!("{location} is not a usable endpoint configuration"))
    })
}

fn resource(value: &Value, location: &Location) -> Result<Resource> {
    Resource::from_json(value)
        .map_err(|error| error.context(format!("{location} is not a usable resource")))
}

fn read_collection(node: &Node<'_>) -> Result<Collection> {
    let mut members = Members::of(node, "a collection")?;
    let key_node = members.member("key");
    let projections = members.member("projections");
    let schemas = ["schema", "readSchema", "writeSchema"].map(|name| members.member(name));
    members.ignore(&[
        "delete",
        "derive",
        "expectBuildId",
        "expectPubId",
        "journals",
        "reset",
    ]);
    members.finish()?;

    let key = match key_node.value() {
        None => None,
        Some(_) => Some(read_key(&key_node)?),
    };
    let mut projected = false;
    for (_, projection) in projections.entries()? {
        projected |= projected_pointer(&projection)? == TRANSACTION_ID;
    }
    // Flow projects every location that the schema names.
    let schemas: Vec<_> = schemas.iter().filter_map(Node::value).collect();
    let path = TRANSACTION_ID.split('/').skip(1).collect::<Vec<_>>();
    let named = schemas.is_empty() || schemas.iter().any(|schema| names(schema, &path));
    Ok(Collection {
        key,
        transaction_ids: projected || named,
    })
}

fn read_key(node: &Node<'_>) -> Result<Vec<String>> {
    let mut key = Vec::new();
    for node in node.items()? {
        let pointer = node.required_string("a JSON pointer")?;
        if !pointer.starts_with('/') {
            return Err(node
                .location()
                .error("must be a JSON pointer, which starts with /"));
        }
        key.push(pointer.to_owned());
    }
    if key.is_empty() {
        return Err(node
            .location()
            .error("is empty: it must be an array of JSON pointers"));
    }
    Ok(key)
}

/// Returns the location that a projection names: alone, or as a member of an object.
fn projected_pointer<'a>(node: &Node<'a>) -> Result<&'a str> {
    let Some(Value::Object(_)) = node.value() else {
        return node.required_string("a JSON pointer");
    };
    let mut members = Members::of(node, "a projection")?;
    let location = members.member("location");
    members.ignore(&["partition"]);
    members.finish()?;
    location.required_string("a JSON pointer")
}

/// Returns whether a schema names a location. A schema in another file is treated as the discovered
/// one, which does.
fn names(schema: &Value, path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return true;
    };
    if schema.is_string() {
        return true;
    }
    let nested = |schema: &Value| names(schema, path);
    schema
        .get("properties")
        .and_then(|properties| properties.get(first))
        .is_some_and(|schema| names(schema, rest))
        || ["allOf", "anyOf", "oneOf"].iter().any(|keyword| {
            let schemas = schema.get(keyword).and_then(Value::as_array);
            schemas.is_some_and(|schemas| schemas.iter().any(nested))
        })
}

#[cfg(test)]
mod tests;
