//! A database with tables and a task that captures them: where most live tests start.

use postgres::Client;
use serde_json::{Value, json};

use super::connector::{Launch, Line};
use super::messages::Codec;
use super::postgres::{Lease, Server, Version};
use super::reduce::{assert_same_rows, by_loc, reduce, table};
use super::task::{Document, Run, Session, Task};

/// The name of the database of a scene.
const DATABASE: &str = "scene";

/// A database on a server that others have used before, all of its tables published.
pub(crate) struct Scene {
    pub(crate) client: Client,
    pub(crate) task: Task,
    /// Handed on when the scene is over.
    pub(crate) server: Lease,
}

impl Scene {
    /// Starts with what `sql` makes.
    pub(crate) fn new(sql: &str) -> Self {
        Self::on(Version::MAIN, sql)
    }

    pub(crate) fn on(version: Version, sql: &str) -> Self {
        let server = Lease::take(version);
        let (client, task) = set(&server, sql);
        Self {
            client,
            task,
            server,
        }
    }

    /// Starts with a database of another encoding.
    pub(crate) fn encoded(encoding: &str, sql: &str) -> Self {
        Self::on_encoded(Version::MAIN, encoding, sql)
    }

    pub(crate) fn on_encoded(version: Version, encoding: &str, sql: &str) -> Self {
        let server = Lease::take(version);
        let options =
            format!("encoding '{encoding}' lc_collate 'C' lc_ctype 'C' template template0");
        let (client, task) = set_with(&server, &options, sql);
        Self {
            client,
            task,
            server,
        }
    }

    /// Connects once more.
    pub(crate) fn connect(&self) -> Client {
        connect(&self.server)
    }

    /// Runs SQL that has to succeed.
    pub(crate) fn execute(&mut self, sql: &str) {
        execute(&mut self.client, sql);
    }

    /// Panics if the documents of a keyed table, reduced, are not its rows.
    pub(crate) fn assert_captured(&mut self, name: &str, key: &[&str]) {
        assert_captured(&mut self.client, &self.task, name, key);
    }
}

/// Makes the scene's database on a server of the test's own.
pub(crate) fn set(server: &Server, sql: &str) -> (Client, Task) {
    set_with(server, "", sql)
}

fn set_with(server: &Server, options: &str, sql: &str) -> (Client, Task) {
    execute(
        &mut server.connect("postgres"),
        &format!("create database {DATABASE} {options}"),
    );
    let mut client = server.connect(DATABASE);
    execute(&mut client, sql);
    let via_root = if server.version() >= Version(13) {
        " with (publish_via_partition_root = true)"
    } else {
        ""
    };
    execute(
        &mut client,
        &format!("create publication flow_publication for all tables{via_root}"),
    );
    let task = Task::new(Launch::new(Codec::Proto), Task::config(server, DATABASE));
    (client, task)
}

/// Connects to the scene's database once more.
pub(crate) fn connect(server: &Server) -> Client {
    server.connect(DATABASE)
}

/// Runs SQL that has to succeed.
pub(crate) fn execute(client: &mut Client, sql: &str) {
    client
        .batch_execute(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// Panics if the documents of a table, reduced by a key or filed by `loc` where there is none, are
/// not its rows.
pub(crate) fn assert_captured(client: &mut Client, task: &Task, name: &str, key: &[&str]) {
    let documents = documents_of(task, name);
    let found = if key.is_empty() {
        let rows = by_loc(documents.into_iter()).into_values();
        rows.map(|row| (Value::Object(row.clone()).to_string(), row))
            .collect()
    } else {
        reduce(documents.into_iter(), key)
    };
    assert_same_rows(name, &table(client, name, key), &found);
}

/// The committed documents of a table.
pub(crate) fn documents_of<'a>(task: &'a Task, name: &str) -> Vec<&'a Document> {
    task.documents
        .iter()
        .filter(|document| document.table == name)
        .collect()
}

/// Each document without `_meta`, behind its letter.
pub(crate) fn changes<'a>(
    documents: impl IntoIterator<Item = &'a Document>,
) -> Vec<(&'a str, Value)> {
    documents
        .into_iter()
        .map(|document| {
            let mut value = document.value.clone();
            if let Value::Object(members) = &mut value {
                members.remove("_meta");
            }
            (document.op(), value)
        })
        .collect()
}

/// Sets members of `advanced`.
pub(crate) fn advanced(task: &mut Task, members: &Value) {
    let advanced = &mut task.config["advanced"];
    if !advanced.is_object() {
        *advanced = json!({});
    }
    for (name, value) in members.as_object().into_iter().flatten() {
        advanced[name] = value.clone();
    }
}

impl Session<'_> {
    /// Goes on until no table is backfilled any more.
    pub(crate) fn until_active(&mut self) {
        self.until("the end of the backfill", |session| {
            let mut modes = session
                .task
                .bindings
                .iter()
                .map(|binding| &session.task.binding_state(&binding.table)["mode"]);
            modes.all(|mode| mode == "Active")
        });
    }

    /// Goes on until a committed document of a table satisfies a condition.
    pub(crate) fn until_document(&mut self, name: &str, condition: impl Fn(&Document) -> bool) {
        let mut seen = 0;
        self.until(&format!("a document of {name}"), |session| {
            let new = &session.run.documents[seen..];
            seen = session.run.documents.len();
            new.iter()
                .any(|document| document.table == name && condition(document))
        });
    }

    /// Goes on until a row with this number is committed.
    pub(crate) fn until_id(&mut self, name: &str, id: i64) {
        self.until_document(name, |document| document.value["id"] == id);
    }

    /// Goes on until the log has a line with this text.
    pub(crate) fn until_logged(&mut self, text: &str) -> Line {
        let mut found = None;
        self.until(&format!("a line with {text:?}"), |session| {
            found = session.log().find(|line| says(line, text));
            found.is_some()
        });
        found.expect("it was found")
    }
}

/// Whether a line has this text, in its message or in a field.
pub(crate) fn says(line: &Line, text: &str) -> bool {
    line.message.contains(text) || line.fields.to_string().contains(text)
}

impl Run {
    /// Panics if the process did not end with an error whose last words have all of these texts.
    pub(crate) fn assert_failed(&self, texts: &[&str]) {
        let status = self.status.expect("it was not killed");
        assert!(!status.success(), "it ended well\n{}", self.log);
        let lines = self.log.lines();
        let last = lines.last().expect("it has logged");
        for text in texts {
            assert!(
                says(last, text),
                "{text:?} is not in the last line of\n{}",
                self.log
            );
        }
    }
}
