//! A database with tables and a task that captures them: the starting point of most live tests.

use postgres::Client;
use serde_json::{Value, json};

use super::connector::{Launch, Line};
use super::messages::Codec;
use super::postgres::{Lease, Server, Version};
use super::reduce::{assert_same_rows, by_loc, reduce, table};
use super::task::{Document, Run, Session, Task};

/// The name of the database of a scene.
const DATABASE: &str = "scene";

/// A database on a shared server, with all of its tables published, and a task.
pub(crate) struct Scene {
    pub(crate) client: Client,
    pub(crate) task: Task,
    /// Returned for use by other tests when the scene is dropped.
    pub(crate) server: Lease,
}

impl Scene {
    /// Creates the database on the main version, and runs `sql` in it.
    pub(crate) fn new(sql: &str) -> Self {
        Self::on(Version::MAIN, sql)
    }

    /// Creates the database on a server of this version, and runs `sql` in it.
    pub(crate) fn on(version: Version, sql: &str) -> Self {
        let server = Lease::take(version);
        let (client, task) = create(&server, sql);
        Self {
            client,
            task,
            server,
        }
    }

    /// Creates the database with another encoding.
    pub(crate) fn encoded(encoding: &str, sql: &str) -> Self {
        Self::on_encoded(Version::MAIN, encoding, sql)
    }

    /// Creates the database with another encoding on a server of this version.
    pub(crate) fn on_encoded(version: Version, encoding: &str, sql: &str) -> Self {
        let server = Lease::take(version);
        let options =
            format!("encoding '{encoding}' lc_collate 'C' lc_ctype 'C' template template0");
        let (client, task) = create_with(&server, &options, sql);
        Self {
            client,
            task,
            server,
        }
    }

    /// Opens another connection to the database.
    pub(crate) fn connect(&self) -> Client {
        connect(&self.server)
    }

    /// Runs SQL that must succeed.
    pub(crate) fn execute(&mut self, sql: &str) {
        execute(&mut self.client, sql);
    }

    /// Panics if the documents of a table, reduced by key, differ from its rows.
    pub(crate) fn assert_captured(&mut self, name: &str, key: &[&str]) {
        assert_captured(&mut self.client, &self.task, name, key);
    }
}

/// Creates the database of a scene on the test's own server.
pub(crate) fn create(server: &Server, sql: &str) -> (Client, Task) {
    create_with(server, "", sql)
}

fn create_with(server: &Server, options: &str, sql: &str) -> (Client, Task) {
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

/// Opens another connection to the database of a scene.
pub(crate) fn connect(server: &Server) -> Client {
    server.connect(DATABASE)
}

/// Runs SQL that must succeed.
pub(crate) fn execute(client: &mut Client, sql: &str) {
    client
        .batch_execute(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// Panics if the documents of a table differ from its rows. They are reduced by key; if there is no
/// key, each document is a row.
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

/// Returns the committed documents of a table.
pub(crate) fn documents_of<'a>(task: &'a Task, name: &str) -> Vec<&'a Document> {
    task.documents
        .iter()
        .filter(|document| document.table == name)
        .collect()
}

/// Returns the operation of each document and the document without `_meta`.
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

/// Sets members of `advanced` in the task's configuration.
pub(crate) fn advanced(task: &mut Task, members: &Value) {
    let advanced = &mut task.config["advanced"];
    if !advanced.is_object() {
        *advanced = json!({});
    }
    for (name, value) in members.as_object().into_iter().flatten() {
        advanced[name] = value.clone();
    }
}

impl Task {
    /// Opens a session, and follows the capture until the backfill of every table has ended.
    pub(crate) fn open_active(&mut self) -> Session<'_> {
        let mut session = self.open();
        session.until_active();
        session
    }

    /// Runs a session until the backfill of every table has ended.
    pub(crate) fn backfill_all(&mut self) {
        self.open_active().kill();
    }
}

impl Session<'_> {
    /// Follows the capture until the backfill of every table has ended.
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

    /// Follows the capture until a committed document of a table satisfies a condition.
    pub(crate) fn until_document(&mut self, name: &str, condition: impl Fn(&Document) -> bool) {
        let mut seen = 0;
        self.until(&format!("a document of {name}"), |session| {
            let new = &session.run.documents[seen..];
            seen = session.run.documents.len();
            new.iter()
                .any(|document| document.table == name && condition(document))
        });
    }

    /// Follows the capture until a document with this `id` is committed.
    pub(crate) fn until_id(&mut self, name: &str, id: i64) {
        self.until_document(name, |document| document.value["id"] == id);
    }

    /// Follows the capture until a line with this text is logged.
    pub(crate) fn until_logged(&mut self, text: &str) -> Line {
        let mut found = None;
        self.until(&format!("a line with {text:?}"), |session| {
            found = session.log().find(|line| says(line, text));
            found.is_some()
        });
        found.expect("the line was found")
    }
}

/// Returns whether a line has this text, in its message or in a field.
pub(crate) fn says(line: &Line, text: &str) -> bool {
    line.message.contains(text) || line.fields.to_string().contains(text)
}

impl Run {
    /// Panics if the process did not end with an error whose last log line has all of these texts.
    pub(crate) fn assert_failed(&self, texts: &[&str]) {
        let status = self.status.expect("the process was not killed");
        assert!(
            !status.success(),
            "the process ended without an error\n{}",
            self.log
        );
        let lines = self.log.lines();
        let last = lines.last().expect("a line was logged");
        for text in texts {
            assert!(
                says(last, text),
                "{text:?} is not in the last line of\n{}",
                self.log
            );
        }
    }
}
