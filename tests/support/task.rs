//! A capture task from the point of view of the Flow runtime: the requests that it sends, and the
//! state and documents that it commits.

use std::collections::{HashMap, HashSet};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::connector::{Connector, Failure, Launch, Log, Next};
use super::json::merge_patch;
use super::messages::{
    Acknowledge, Apply, CaptureBinding, CaptureSpec, CollectionSpec, ConnectorType, Discover, Open,
    Projection, RangeSpec, Request, Response, Validate, ValidateBinding, strings,
};
use super::postgres::Server;
use super::wait::TIMEOUT;

/// A task with its configuration, its bindings, and its committed state and documents.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) launch: Launch,
    pub(crate) config: Value,
    pub(crate) bindings: Vec<Binding>,
    /// Whether the collections are sent in a table that the bindings refer to by index, as the
    /// runtime does for large tasks.
    pub(crate) linked: bool,
    /// State after the last checkpoint.
    pub(crate) state: Value,
    /// Documents of all sessions up to their last checkpoints.
    pub(crate) documents: Vec<Document>,
    /// Positions of the committed changes.
    locs: SeenLocs,
}

/// Positions (`loc`) of changes in the order of all events.
#[derive(Debug, Default)]
struct SeenLocs {
    /// Positions of all changes.
    all: HashSet<[i64; 3]>,
    /// Position of the last change of each document, by table and key.
    last: HashMap<(String, String), [i64; 3]>,
}

/// A bound table and its collection.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    /// `schema.table`, the name that tests use.
    pub(crate) table: String,
    pub(crate) resource: Value,
    pub(crate) key: Vec<String>,
    /// Pointers of the collection's projections.
    pub(crate) projections: Vec<String>,
    pub(crate) schema: Value,
    /// Backfill counter.
    pub(crate) backfill: u32,
}

/// A captured document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    /// `schema.table` of the document's binding.
    pub(crate) table: String,
    pub(crate) value: Value,
    /// The document's text with the protobuf codec, duplicate members included.
    pub(crate) text: String,
}

impl Document {
    pub(crate) fn op(&self) -> &str {
        self.value["_meta"]["op"].as_str().expect("op is a text")
    }

    /// Returns whether the document is a row of a backfill.
    pub(crate) fn is_snapshot(&self) -> bool {
        self.value["_meta"]["source"]["snapshot"] == true
    }

    pub(crate) fn loc(&self) -> [i64; 3] {
        let loc = &self.value["_meta"]["source"]["loc"];
        let items = loc
            .as_array()
            .unwrap_or_else(|| panic!("no loc: {}", self.value));
        let items: Vec<i64> = items.iter().map(|n| n.as_i64().expect("64 bits")).collect();
        items
            .try_into()
            .unwrap_or_else(|_| panic!("loc has not three items: {}", self.value))
    }
}

impl SeenLocs {
    /// Records the position of a change. Panics if another change has it, or if it is not after
    /// that of the previous change of the same key, here or in `earlier`.
    fn record(&mut self, earlier: &Self, document: &Document, key: &[String]) {
        let loc = document.loc();
        let is_new = !earlier.all.contains(&loc) && self.all.insert(loc);
        assert!(is_new, "another change has the loc of {document:?}");
        if key.iter().any(|pointer| pointer.starts_with("/_meta")) {
            return;
        }
        let value = |pointer: &String| document.value.pointer(pointer).cloned();
        let key: Vec<_> = key.iter().map(value).collect();
        let key = (document.table.clone(), json!(key).to_string());
        let last = self.last.get(&key).or_else(|| earlier.last.get(&key));
        let is_after = last.is_none_or(|last| loc > *last);
        assert!(is_after, "{document:?} is not after {last:?}");
        self.last.insert(key, loc);
    }
}

impl Binding {
    /// Makes a binding from what was discovered, unchanged.
    pub(crate) fn discovered(found: &Value) -> Self {
        let resource = found["resourceConfig"].clone();
        let text = |name: &str| resource[name].as_str().expect("a text").to_owned();
        let key = strings(&found["key"]);
        Self {
            table: format!("{}.{}", text("namespace"), text("stream")),
            projections: key.clone(),
            key,
            schema: found["documentSchema"].clone(),
            resource,
            backfill: 0,
        }
    }

    pub(crate) fn resource_path(&self) -> Vec<String> {
        let text = |name: &str| self.resource[name].as_str().expect("a text").to_owned();
        vec![text("namespace"), text("stream")]
    }

    /// Returns the key under which the runtime keeps the state of this binding.
    pub(crate) fn state_key(&self) -> String {
        let mut key = String::new();
        for c in self.resource_path().join("/").chars() {
            if c.is_alphanumeric() || "-_+.=".contains(c) {
                key.push(c);
            } else {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    key.push_str(&format!("%{byte:02X}"));
                }
            }
        }
        if self.backfill > 0 {
            key.push_str(&format!(".v{}", self.backfill));
        }
        key
    }

    fn collection(&self) -> CollectionSpec {
        let projection = |pointer: &String| Projection {
            ptr: pointer.clone(),
            field: pointer.trim_start_matches('/').to_owned(),
        };
        CollectionSpec {
            name: format!("acme/{}", self.table),
            key: self.key.clone(),
            uuid_ptr: "/_meta/uuid".to_owned(),
            projections: self.projections.iter().map(projection).collect(),
            write_schema_json: self.schema.to_string().into_bytes(),
        }
    }
}

impl Task {
    /// Makes a new task without bindings.
    pub(crate) fn new(launch: Launch, config: Value) -> Self {
        Self {
            launch,
            config,
            bindings: Vec::new(),
            linked: false,
            state: Value::Object(Map::new()),
            documents: Vec::new(),
            locs: SeenLocs::default(),
        }
    }

    /// Returns the configuration for a database of a server, with the superuser as the user.
    pub(crate) fn config(server: &Server, database: &str) -> Value {
        json!({
            "address": server.address(),
            "database": database,
            "user": "postgres",
            "historyMode": false,
            "credentials": {"auth_type": "UserPassword", "password": "unused"},
        })
    }

    /// Sends Discover, and returns the bindings in the order of their names.
    pub(crate) fn discover(&self) -> Result<Vec<Value>, Failure> {
        let request = Request {
            discover: Some(Discover {
                connector_type: ConnectorType::Image.into(),
                config_json: self.config.to_string().into_bytes(),
                name: "acme/capture".to_owned(),
            }),
            ..Request::default()
        };
        match self.launch.ask(&request)? {
            Response::Discovered(mut bindings) => {
                bindings.sort_by_key(|binding| binding["recommendedName"].to_string());
                Ok(bindings)
            }
            other => panic!("answered Discover with {other:?}"),
        }
    }

    /// Binds the given tables (`schema.table`) as discovered, and publishes the task.
    pub(crate) fn bind(&mut self, tables: &[&str]) {
        let discovered = self
            .discover()
            .unwrap_or_else(|failure| panic!("{failure}"));
        let offered: Vec<Binding> = discovered.iter().map(Binding::discovered).collect();
        self.bindings = tables
            .iter()
            .map(|table| {
                let found = offered.iter().find(|binding| binding.table == *table);
                found
                    .unwrap_or_else(|| panic!("{table} is not among {offered:?}"))
                    .clone()
            })
            .collect();
        self.publish();
    }

    /// Sends Validate and Apply, as the runtime does when a user has changed the task.
    pub(crate) fn publish(&self) {
        let paths = self
            .validate()
            .unwrap_or_else(|failure| panic!("{failure}"));
        let bound: Vec<Vec<String>> = self.bindings.iter().map(Binding::resource_path).collect();
        assert_eq!(paths, bound);
        self.apply().unwrap_or_else(|failure| panic!("{failure}"));
    }

    /// Returns the binding of a table, to be changed.
    pub(crate) fn binding_mut(&mut self, table: &str) -> &mut Binding {
        let found = self
            .bindings
            .iter_mut()
            .find(|binding| binding.table == table);
        found.unwrap_or_else(|| panic!("{table} is not bound"))
    }

    /// Sends Validate, and returns the resource paths.
    pub(crate) fn validate(&self) -> Result<Vec<Vec<String>>, Failure> {
        self.validate_after(None)
    }

    /// Sends Validate with the last published version of the task.
    pub(crate) fn validate_after(
        &self,
        last_capture: Option<CaptureSpec>,
    ) -> Result<Vec<Vec<String>>, Failure> {
        let (collections, linked_collections) = self.collections();
        let bindings = self.bindings.iter().zip(collections);
        let request = Request {
            validate: Some(Validate {
                name: "acme/capture".to_owned(),
                connector_type: ConnectorType::Image.into(),
                config_json: self.config.to_string().into_bytes(),
                bindings: bindings
                    .map(
                        |(binding, (collection, collection_index))| ValidateBinding {
                            resource_config_json: binding.resource.to_string().into_bytes(),
                            collection,
                            backfill: binding.backfill,
                            collection_index,
                        },
                    )
                    .collect(),
                last_capture,
                linked_collections,
            }),
            ..Request::default()
        };
        match self.launch.ask(&request)? {
            Response::Validated(paths) => Ok(paths),
            other => panic!("answered Validate with {other:?}"),
        }
    }

    /// Sends Apply, and returns the action description.
    pub(crate) fn apply(&self) -> Result<String, Failure> {
        let request = Request {
            apply: Some(Apply {
                capture: Some(self.spec()),
                version: "test".to_owned(),
                state_json: Vec::new(),
            }),
            ..Request::default()
        };
        match self.launch.ask(&request)? {
            Response::Applied(description) => Ok(description),
            other => panic!("answered Apply with {other:?}"),
        }
    }

    /// Returns the collection of each binding or its index, and the table that the indices refer
    /// to.
    fn collections(&self) -> (Vec<(Option<CollectionSpec>, u32)>, Vec<CollectionSpec>) {
        let collections = self.bindings.iter().map(Binding::collection);
        if self.linked {
            // In reverse order, so that a collection's index differs from that of its binding.
            let table: Vec<CollectionSpec> = collections.rev().collect();
            let indices = (0..u32::try_from(table.len()).expect("few")).rev();
            (indices.map(|index| (None, index)).collect(), table)
        } else {
            (
                collections
                    .map(|collection| (Some(collection), 0))
                    .collect(),
                Vec::new(),
            )
        }
    }

    /// Returns the specification of the task.
    pub(crate) fn spec(&self) -> CaptureSpec {
        let (collections, linked_collections) = self.collections();
        let bindings = self.bindings.iter().zip(collections);
        CaptureSpec {
            name: "acme/capture".to_owned(),
            connector_type: ConnectorType::Image.into(),
            config_json: self.config.to_string().into_bytes(),
            bindings: bindings
                .map(|(binding, (collection, collection_index))| CaptureBinding {
                    resource_config_json: binding.resource.to_string().into_bytes(),
                    resource_path: binding.resource_path(),
                    collection,
                    backfill: binding.backfill,
                    state_key: binding.state_key(),
                    collection_index,
                })
                .collect(),
            interval_seconds: 300,
            linked_collections,
        }
    }

    /// Starts a session with the state reached so far.
    pub(crate) fn open(&mut self) -> Session<'_> {
        let mut connector = self.launch.start();
        if let Err(failure) = connector.ask_spec() {
            panic!("{failure}");
        }
        connector.send(&Request {
            open: Some(Open {
                capture: Some(self.spec()),
                version: "test".to_owned(),
                range: Some(RangeSpec {
                    key_end: u32::MAX,
                    r_clock_end: u32::MAX,
                    ..RangeSpec::default()
                }),
                state_json: self.state.to_string().into_bytes(),
            }),
            ..Request::default()
        });
        Session {
            task: self,
            connector,
            acknowledge: true,
            opened: false,
            ended: false,
            pending: Vec::new(),
            pending_schema: false,
            locs: SeenLocs::default(),
            run: Run::default(),
        }
    }

    /// Forgets the positions of the changes captured so far, for a test in which they are captured
    /// again.
    pub(crate) fn forget_locs(&mut self) {
        self.locs = SeenLocs::default();
    }

    /// Runs a session until the process ends.
    pub(crate) fn run(&mut self) -> Run {
        self.open().finish()
    }

    /// Returns the state of a table's binding, or null if there is none.
    pub(crate) fn binding_state(&self, table: &str) -> &Value {
        let binding = self.bindings.iter().find(|binding| binding.table == table);
        let key = binding
            .unwrap_or_else(|| panic!("{table} is not bound"))
            .state_key();
        &self.state["bindingStateV1"][key]
    }

    /// Returns whether the state has an unfinished backfill.
    pub(crate) fn is_backfilling(&self) -> bool {
        let tables = self.state["bindingStateV1"].as_object();
        let mut modes = tables
            .into_iter()
            .flatten()
            .map(|(_, table)| &table["mode"]);
        modes.any(|mode| mode.as_str().is_some_and(|mode| mode.ends_with("Backfill")))
    }
}

/// Result of a session.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// Documents that were committed.
    pub(crate) documents: Vec<Document>,
    pub(crate) sourced_schemas: Vec<(usize, Value)>,
    pub(crate) checkpoints: usize,
    /// Merge patch of the state in each checkpoint.
    pub(crate) patches: Vec<Value>,
    /// `None` if the process was killed.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) log: Log,
}

/// A connector process after Open, and the documents received from it.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub(crate) task: &'a mut Task,
    pub(crate) connector: Connector,
    /// Whether each checkpoint is acknowledged at once.
    pub(crate) acknowledge: bool,
    opened: bool,
    ended: bool,
    /// Documents since the last checkpoint.
    pub(crate) pending: Vec<Document>,
    pending_schema: bool,
    /// Positions of the changes since the last checkpoint.
    locs: SeenLocs,
    pub(crate) run: Run,
}

impl Session<'_> {
    pub(crate) fn log(&self) -> &Log {
        &self.connector.log
    }

    /// Returns the documents received so far, committed or not.
    pub(crate) fn documents(&self) -> impl Iterator<Item = &Document> {
        self.run.documents.iter().chain(&self.pending)
    }

    /// Handles a response that arrives within `limit`. Returns false if none does or the output has
    /// ended.
    pub(crate) fn step(&mut self, limit: Duration) -> bool {
        match self.connector.next_within(limit) {
            Next::Response(response) => {
                self.handle(response);
                true
            }
            Next::End => {
                self.ended = true;
                false
            }
            Next::TimedOut => false,
        }
    }

    fn handle(&mut self, response: Response) {
        if !self.opened {
            let expected = Response::Opened {
                explicit_acknowledgements: true,
            };
            assert_eq!(response, expected, "the first response\n{}", self.log());
            self.opened = true;
            return;
        }
        match response {
            Response::Captured {
                binding,
                document,
                text,
            } => {
                let Binding { table, key, .. } = &self.task.bindings[binding];
                let document = Document {
                    table: table.clone(),
                    value: document,
                    text,
                };
                if !document.is_snapshot() {
                    self.locs.record(&self.task.locs, &document, key);
                }
                self.pending.push(document);
            }
            Response::SourcedSchema { binding, schema } => {
                assert!(binding < self.task.bindings.len(), "no such binding");
                self.pending_schema = true;
                self.run.sourced_schemas.push((binding, schema));
            }
            Response::Checkpoint {
                updated,
                merge_patch,
            } => self.commit(&updated, merge_patch),
            other => panic!("unexpected after Open: {other:?}"),
        }
    }

    fn commit(&mut self, updated: &Value, is_patch: bool) {
        assert!(is_patch, "not a merge patch: {updated}");
        assert!(updated.get("cursor").is_some(), "no cursor: {updated}");
        merge_patch(&mut self.task.state, updated);
        self.task.locs.all.extend(self.locs.all.drain());
        self.task.locs.last.extend(self.locs.last.drain());
        self.task.documents.extend(self.pending.iter().cloned());
        self.run.documents.append(&mut self.pending);
        self.run.checkpoints += 1;
        self.run.patches.push(updated.clone());
        self.pending_schema = false;
        if self.acknowledge {
            self.acknowledge(1);
        }
    }

    /// Acknowledges a number of checkpoints.
    pub(crate) fn acknowledge(&mut self, checkpoints: u32) {
        self.connector.send(&Request {
            acknowledge: Some(Acknowledge { checkpoints }),
            ..Request::default()
        });
    }

    /// Follows the capture until `condition` holds. It is checked after each response, and every 10
    /// ms between responses. Panics with `what` if nothing arrives for [`TIMEOUT`].
    pub(crate) fn until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let mut deadline = Instant::now() + TIMEOUT;
        while !condition(self) {
            if self.step(Duration::from_millis(10)) {
                deadline = Instant::now() + TIMEOUT;
            }
            assert!(
                !self.ended,
                "the connector ended before {what}\n{}",
                self.log()
            );
            assert!(
                Instant::now() < deadline,
                "timed out waiting for {what}\n{}",
                self.log()
            );
        }
    }

    /// Follows the capture until this session has committed a number of checkpoints.
    pub(crate) fn until_checkpoints(&mut self, count: usize) {
        self.until(&format!("checkpoint {count}"), |session| {
            session.run.checkpoints >= count
        });
    }

    /// Follows the capture until the process ends.
    pub(crate) fn finish(mut self) -> Run {
        while !self.ended {
            if !self.step(TIMEOUT) {
                assert!(self.ended, "no response for {TIMEOUT:?}\n{}", self.log());
            }
        }
        let status = self.connector.wait();
        if status.success() {
            let open = self.pending.len();
            assert!(
                open == 0 && !self.pending_schema,
                "ended with documents after the last checkpoint\n{}",
                self.log()
            );
        }
        self.run.status = Some(status);
        self.run.log = self.connector.log.clone();
        self.run
    }

    /// Kills the process. Documents after the last checkpoint are lost.
    pub(crate) fn kill(mut self) -> Run {
        self.connector.kill();
        self.run.log = self.connector.log.clone();
        self.run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_keys_are_those_of_the_runtime() {
        let binding = |namespace: &str, stream: &str, backfill| {
            let resource = json!({"namespace": namespace, "stream": stream});
            let found = json!({"resourceConfig": resource, "key": ["/id"], "documentSchema": {}});
            Binding {
                backfill,
                ..Binding::discovered(&found)
            }
        };
        assert_eq!(binding("public", "table", 0).state_key(), "public%2Ftable");
        assert_eq!(
            binding("public", "table", 3).state_key(),
            "public%2Ftable.v3"
        );
        assert_eq!(binding("a-b", "c d+é%", 0).state_key(), "a-b%2Fc%20d+é%25");
    }
}
