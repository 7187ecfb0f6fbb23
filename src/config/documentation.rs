//! Comparison of `settings.md` with the parser, the JSON schemas and the defaults.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::environment::VARIABLES;
use super::{Config, Environment, Flags, Resource, endpoint_schema, resource_schema};
use crate::error::Result;

const DOCUMENT: &str = include_str!("settings.md");

/// Variables that the connector reads and that are not settings of libpq.
const OTHER_VARIABLES: [&str; 10] = [
    "DOCS_URL",
    "FLOW_RUNTIME_CODEC",
    "HOME",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "NO_COLOR",
    "PGSYSCONFDIR",
    "SHUTDOWN_AFTER_POLLING",
    "SSL_CERT_FILE",
    "TMPDIR",
];

/// Members of `advanced` that the reference connector knows. It knows all members elsewhere.
const REFERENCE_ADVANCED: [&str; 16] = [
    "backfill_chunk_size",
    "capture_as_partitions",
    "discover_only_published",
    "discover_schemas",
    "discover_unpublished_tables",
    "feature_flags",
    "min_backfill_xid",
    "publicationName",
    "read_only_capture",
    "rediscovery_interval",
    "skip_backfills",
    "slotName",
    "source_tag",
    "sslmode",
    "statement_timeout",
    "watermarksTable",
];

/// Row of a table of members.
struct Row {
    member: String,
    kind: String,
    default: String,
    meaning: String,
}

impl Row {
    /// Returns the connector's default, if it is a constant.
    fn constant(&self) -> Option<&str> {
        code_spans(&self.default)
            .next()
            .filter(|_| self.default.starts_with('`'))
    }

    /// Returns whether a text is in one of the cells as code.
    fn has_code(&self, text: &str) -> bool {
        code_spans(&self.default)
            .chain(code_spans(&self.meaning))
            .any(|code| code == text)
    }

    fn pointer(&self) -> Vec<&str> {
        self.member.split('.').collect()
    }
}

/// A kind of configuration.
struct Subject {
    sections: &'static [&'static str],
    schema: Value,
    /// A configuration that has the required members alone.
    minimal: Value,
    /// Parses a configuration. The text shows every setting that results.
    parse: fn(&Value) -> Result<String>,
    /// Members that are objects.
    objects: &'static [&'static str],
}

fn subjects() -> [Subject; 2] {
    [
        Subject {
            sections: &["## Endpoint configuration", "### Credentials"],
            schema: endpoint_schema(),
            minimal: json!({"address": "h", "user": "u"}),
            parse: |value| Config::parse(&value.to_string()).map(|config| format!("{config:?}")),
            objects: &[
                "credentials",
                "discoveryFilters",
                "advanced",
                "networkTunnel",
                "networkTunnel.sshForwarding",
            ],
        },
        Subject {
            sections: &["## Resource configuration"],
            schema: resource_schema(),
            minimal: json!({"namespace": "n", "stream": "s"}),
            parse: |value| Resource::parse(&value.to_string()).map(|found| format!("{found:?}")),
            objects: &["advanced"],
        },
    ]
}

impl Subject {
    fn rows(&self) -> Vec<Row> {
        self.sections.iter().flat_map(|name| rows(name)).collect()
    }

    /// Returns the members that the parser knows, as it lists them in the error about an unknown one.
    fn known_members(&self) -> BTreeSet<String> {
        let mut known = BTreeSet::new();
        for object in [""].iter().chain(self.objects) {
            let path: Vec<_> = object.split('.').filter(|name| !name.is_empty()).collect();
            let mut unknown = path.clone();
            unknown.push("?");
            let error = self.error(&with(&json!({}), &unknown, &json!(1)));
            let (_, list) = error.split_once("known here are ").expect(&error);
            for name in list.split(", ") {
                let mut path = path.clone();
                path.push(name);
                known.insert(path.join("."));
            }
        }
        known
            .into_iter()
            .filter(|member| !self.objects.contains(&member.as_str()))
            .collect()
    }

    fn error(&self, value: &Value) -> String {
        (self.parse)(value).expect_err("an error").to_string()
    }
}

/// Returns the cells of the tables of a section, without their headers.
fn cells(section: &str) -> Vec<Vec<String>> {
    let rows: Vec<_> = DOCUMENT
        .lines()
        .skip_while(|line| *line != section)
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let line = line.trim_start_matches("| ").trim_end_matches('|');
            let cells = line.split(" | ");
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "no table below {section}");
    rows
}

fn rows(section: &str) -> Vec<Row> {
    cells(section)
        .into_iter()
        .map(|cells| {
            let [member, kind, default, meaning] = cells.try_into().expect("four cells");
            let member = member.trim_matches('`').to_owned();
            Row {
                member,
                kind,
                default,
                meaning,
            }
        })
        .collect()
}

fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns a copy of a configuration in which a member has this value.
fn with(base: &Value, path: &[&str], value: &Value) -> Value {
    let Some((first, rest)) = path.split_first() else {
        return value.clone();
    };
    let mut members = base.as_object().cloned().unwrap_or_default();
    let inner = members.remove(*first).unwrap_or(Value::Object(Map::new()));
    members.insert((*first).to_owned(), with(&inner, rest, value));
    Value::Object(members)
}

/// Collects the members of a schema that are not objects.
fn leaves(path: &str, schema: &Value, found: &mut BTreeMap<String, Value>) {
    let branches = schema["oneOf"].as_array().into_iter().flatten();
    let mut is_object = false;
    for schema in [schema].into_iter().chain(branches) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            is_object = true;
            let path = match path {
                "" => name.clone(),
                path => format!("{path}.{name}"),
            };
            leaves(&path, property, found);
        }
    }
    if !is_object {
        // The first branch that has the member has the value that the form suggests.
        found
            .entry(path.to_owned())
            .or_insert_with(|| schema.clone());
    }
}

#[test]
fn every_member_that_the_parser_knows_is_documented() {
    for subject in subjects() {
        let documented: Vec<_> = subject.rows().into_iter().map(|row| row.member).collect();
        let unique: BTreeSet<_> = documented.iter().cloned().collect();
        assert_eq!(unique.len(), documented.len(), "{documented:?}");
        assert_eq!(unique, subject.known_members());
    }
}

#[test]
fn types_are_those_of_the_parser() {
    for subject in subjects() {
        for row in subject.rows() {
            let wrong = with(&json!({}), &row.pointer(), &json!({"a": "wrong type"}));
            let expected = match row.kind.as_str() {
                "boolean" => "true or false",
                "integer" => "an integer",
                "string" => "a string",
                "array of strings" => "an array of strings",
                other => panic!("{}: {other}", row.member),
            };
            assert_eq!(
                subject.error(&wrong),
                format!("'{}' must be {expected}, found an object", row.member)
            );
        }
    }
}

#[test]
fn the_json_schemas_agree() {
    for subject in subjects() {
        let mut properties = BTreeMap::new();
        leaves("", &subject.schema, &mut properties);
        for row in subject.rows() {
            let Some(property) = properties.remove(&row.member) else {
                let is_noted =
                    row.meaning.ends_with("Not in Flow's form.") || row.default == "added by Flow";
                assert!(is_noted, "{} is not in the schema", row.member);
                continue;
            };
            let kind = match property["type"].as_str().unwrap() {
                "array" => format!("array of {}s", property["items"]["type"].as_str().unwrap()),
                kind => kind.to_owned(),
            };
            assert_eq!(row.kind, kind, "{}", row.member);
            let default = match &property["default"] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let is_documented = match row.constant() {
                Some(constant) => default.is_empty() || constant == default,
                None => default.is_empty() || code_spans(&row.default).any(|code| code == default),
            };
            assert!(is_documented, "{}: default {default}", row.member);
            let choices = property["enum"].as_array().into_iter().flatten();
            for choice in choices.map(|choice| choice.as_str().unwrap()) {
                assert!(
                    choice.is_empty() || row.has_code(choice),
                    "{}: {choice}",
                    row.member
                );
            }
            for limit in ["minimum", "maximum"] {
                let limit = &property[limit];
                assert!(
                    limit.is_null() || row.has_code(&limit.to_string()),
                    "{}",
                    row.member
                );
            }
        }
        assert!(properties.is_empty(), "not documented: {properties:?}");
    }
}

#[test]
fn documented_defaults_are_those_of_the_connector() {
    for subject in subjects() {
        let minimal = (subject.parse)(&subject.minimal).unwrap();
        for row in subject.rows() {
            let path = row.pointer();
            if row.default == "required" || row.default.starts_with("required;") {
                let without = with(&subject.minimal, &path, &Value::Null);
                let error = subject.error(&without);
                assert!(
                    error.starts_with(&format!("missing '{}'", row.member)),
                    "{error}"
                );
                continue;
            }
            if let Some(constant) = row.constant() {
                let value = match row.kind.as_str() {
                    "string" => constant.into(),
                    _ => serde_json::from_str(constant).expect("a JSON value"),
                };
                let explicit = with(&subject.minimal, &path, &value);
                assert_eq!(
                    (subject.parse)(&explicit).unwrap(),
                    minimal,
                    "{}",
                    row.member
                );
                continue;
            }
            let has_no_default = ["unset", "required with ", "required for ", "added by Flow"]
                .iter()
                .any(|start| row.default.starts_with(start));
            assert!(has_no_default, "{}: {}", row.member, row.default);
            if let Some((_, suggested)) = row.default.split_once("Flow's form suggests `")
                && row.member != "credentials.auth_type"
            {
                let explicit = with(&subject.minimal, &path, &suggested.trim_matches('`').into());
                assert_ne!(
                    (subject.parse)(&explicit).unwrap(),
                    minimal,
                    "{}",
                    row.member
                );
            }
        }
    }
}

#[test]
fn settings_of_the_environment_name_their_variable_and_fallback() {
    let rows = rows("## Endpoint configuration");
    let default = |member: &str| {
        let row = rows.iter().find(|row| row.member == member).unwrap();
        row.default.as_str()
    };
    let config = Config::parse(r#"{"address":"h","user":"u"}"#).unwrap();
    let sslmode = config.effective_sslmode(&Environment::default()).unwrap();
    let fallback = format!("or else `PGSSLMODE`, or else `{}`", sslmode.as_str());
    assert!(default("advanced.sslmode").ends_with(&fallback));
    for (setting, variable) in VARIABLES {
        let member = match setting {
            "dbname" => "database".to_owned(),
            "password" => setting.to_owned(),
            "channel_binding" | "require_auth" => format!("advanced.{setting}"),
            _ if setting.starts_with("ssl") && setting != "sslsni" => format!("advanced.{setting}"),
            _ => continue,
        };
        assert!(
            default(&member).contains(&format!("`{variable}`")),
            "{member}"
        );
    }
    assert_eq!(
        protocol::BindingPolicy::parse("prefer"),
        Some(protocol::BindingPolicy::default())
    );
}

#[test]
fn every_flag_is_documented_with_its_default() {
    let documented: BTreeSet<_> = cells("## Feature flags")
        .into_iter()
        .map(|cells| (cells[0].trim_matches('`').to_owned(), cells[1].clone()))
        .collect();
    let switches = Flags::switches().map(|(name, default)| {
        let default = if default { "on" } else { "off" };
        (name.to_owned(), default.to_owned())
    });
    let positions = Flags::positions().map(|name| (format!("{name}=LSN"), "none".to_owned()));
    assert_eq!(documented, switches.chain(positions).collect());
}

#[test]
fn every_environment_variable_is_documented() {
    let documented: BTreeSet<_> = cells("## Environment variables")
        .into_iter()
        .map(|cells| cells[0].trim_matches('`').to_owned())
        .collect();
    let variables = VARIABLES.iter().map(|(_, variable)| *variable);
    let known = variables.chain(OTHER_VARIABLES).map(str::to_owned);
    assert_eq!(documented, known.collect());
}

#[test]
fn members_unknown_to_the_reference_are_listed() {
    let (_, section) = DOCUMENT
        .split_once("## Going back to the reference connector")
        .unwrap();
    let listed: BTreeSet<_> = section
        .lines()
        .filter_map(|line| line.strip_prefix("- "))
        .map(|item| item.trim_matches('`').to_owned())
        .collect();
    let [endpoint, _] = subjects();
    let unknown = endpoint.known_members().into_iter().filter(|member| {
        member
            .strip_prefix("advanced.")
            .is_some_and(|name| !REFERENCE_ADVANCED.contains(&name))
    });
    assert_eq!(listed, unknown.collect());
}
