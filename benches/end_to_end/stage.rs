//! A database with a table, changes of it that are in the log, and replication slots that start
//! before these changes.

use postgres::Client;
use serde_json::json;

use crate::cases::Case;
use crate::support::connector::Launch;
use crate::support::folder::Guarded;
use crate::support::messages::Codec;
use crate::support::postgres::{Options, Server, Version, query, value};
use crate::support::scene;
use crate::support::task::Task;
use crate::support::wait;

/// Slot that is copied for each run. After the changes are made it is not read itself.
pub(crate) const TEMPLATE_SLOT: &str = "flow_slot";

/// Slot that is read.
pub(crate) const SLOT: &str = "measured";

/// Starts a server that has enough memory for the tables of the cases, and that writes nothing on
/// its own (checkpoints, autovacuum) during a run.
pub(crate) fn server(version: Version) -> Server {
    Server::with(version, &options(version))
}

/// Starts a server like that of [`server`] with a certificate. It logs connections and whether they
/// are encrypted.
pub(crate) fn server_with_tls(version: Version) -> Server {
    let options = Options {
        tls: true,
        ..options(version).setting("log_connections = on")
    };
    Server::with(version, &options)
}

fn options(version: Version) -> Options {
    assert!(
        version >= Version(12),
        "slots cannot be copied before PostgreSQL 12"
    );
    let options = [
        "shared_buffers = '1GB'",
        "max_wal_size = '64GB'",
        "checkpoint_timeout = '1d'",
        "autovacuum = off",
        "wal_sender_timeout = '60s'",
    ];
    options
        .into_iter()
        .fold(Options::default(), Options::setting)
}

/// TLS settings for readers.
#[derive(Debug, Clone)]
pub(crate) struct Security {
    pub(crate) sslmode: &'static str,
    /// Path of a file with the authorities.
    pub(crate) sslrootcert: String,
}

/// A database with a table and changes to be captured.
pub(crate) struct Stage<'a> {
    pub(crate) server: &'a Server,
    /// Number of changes.
    pub(crate) rows: u64,
    /// Qualified name of the table.
    pub(crate) table: String,
    /// Number of rows that the table has after the changes.
    pub(crate) table_rows: u64,
    pub(crate) task: Task,
    /// TLS settings of the readers; `None` leaves them to each reader's default.
    security: Option<Security>,
    /// Folder for certificates.
    folder: Guarded,
    client: Client,
    /// Position of the log before the changes.
    pub(crate) start: String,
    /// Position of the log after the changes.
    pub(crate) end: String,
}

impl<'a> Stage<'a> {
    /// Creates the table, lets the connector capture its rows, and then makes the changes.
    pub(crate) fn prepare(server: &'a Server, case: Case, rows: u64) -> Self {
        let (mut client, mut task) = scene::create(server, &case.create());
        client
            .batch_execute(&case.before(rows))
            .expect("the table is filled");
        scene::advanced(&mut task, &json!({"skip_backfills": "*.*"}));
        task.launch = Launch::new(Codec::Proto).until_caught_up();
        task.bind(&[&case.table()]);
        let run = task.run();
        assert!(
            run.status.is_some_and(|status| status.success()),
            "the table cannot be captured\n{}",
            run.log
        );
        let start = task.state["cursor"]
            .as_str()
            .expect("a position")
            .to_owned();
        client
            .batch_execute(&case.changes(rows))
            .expect("the changes are made");
        client
            .batch_execute(&format!("checkpoint; analyze {}", case.table()))
            .expect("the server writes everything out");
        let end = value(&mut client, "select pg_current_wal_flush_lsn()");
        let table = case.table();
        let count = value(&mut client, &format!("select count(*) from {table}"));
        let table_rows = count.parse().expect("a number of rows");
        Self {
            server,
            rows,
            table,
            table_rows,
            task,
            security: None,
            folder: Guarded::new("stage"),
            client,
            start,
            end,
        }
    }

    pub(crate) fn database(&self) -> String {
        let name = self.task.config["database"].as_str();
        name.expect("the name of a database").to_owned()
    }

    /// Lets a reader connect with or without TLS to a server that offers it. Panics if the reader
    /// connected otherwise.
    pub(crate) fn with_tls<T>(&mut self, encrypts: bool, read: impl FnOnce(&mut Self) -> T) -> T {
        let encrypted = |stage: &Self| stage.server.log().matches(" SSL enabled (").count();
        let before = encrypted(self);
        let (sslmode, sslrootcert) = if encrypts {
            let roots = self.server.certificate();
            ("verify-full", self.folder.write("root.crt", roots))
        } else {
            ("disable", String::new())
        };
        self.security = Some(Security {
            sslmode,
            sslrootcert,
        });
        let read = read(self);
        self.security = None;
        assert_eq!(encrypted(self) > before, encrypts, "connections with TLS");
        read
    }

    /// Returns the TLS settings of the readers, if they are set.
    pub(crate) fn security(&self) -> Option<&Security> {
        self.security.as_ref()
    }

    /// Creates the slot that is read, at the position before the changes.
    pub(crate) fn make_slot(&mut self) {
        let copy = format!("select pg_copy_logical_replication_slot('{TEMPLATE_SLOT}', '{SLOT}')");
        query(&mut self.client, &copy);
    }

    /// Creates the slot that is read at the current position, and returns that position.
    pub(crate) fn make_new_slot(&mut self) -> String {
        let make =
            format!("select lsn from pg_create_logical_replication_slot('{SLOT}', 'pgoutput')");
        value(&mut self.client, &make)
    }

    /// Inserts a row that holds `at` instead of a time.
    pub(crate) fn tick(&mut self, at: i64) {
        let insert = format!("insert into {}(at) values ({at})", self.table);
        query(&mut self.client, &insert);
    }

    /// Returns the number of rows of the table.
    pub(crate) fn count(&mut self) -> u64 {
        let count = format!("select count(*) from {}", self.table);
        let count = value(&mut self.client, &count);
        count.parse().expect("a number of rows")
    }

    /// Drops a slot, after the server has noticed that its reader is gone.
    pub(crate) fn drop_slot(&mut self, name: &str) {
        let drop = format!("select pg_drop_replication_slot('{name}')");
        wait::until("the slot to be idle", || {
            self.client.simple_query(&drop).ok()
        });
    }

    /// Returns the task that continues from before the changes and reads the slot of [`SLOT`].
    pub(crate) fn backlog(&self) -> Task {
        let mut task = self.task(Codec::Proto);
        task.state = self.task.state.clone();
        scene::advanced(&mut task, &json!({"slotName": SLOT}));
        task
    }

    /// Returns a task that captures the table from the start.
    pub(crate) fn task(&self, codec: Codec) -> Task {
        let mut config = self.task.config.clone();
        config["advanced"] = match self.security() {
            Some(Security {
                sslmode,
                sslrootcert,
            }) => json!({"sslmode": sslmode, "sslrootcert": sslrootcert}),
            None => json!({}),
        };
        let mut task = Task::new(Launch::new(codec).until_caught_up(), config);
        task.bindings.clone_from(&self.task.bindings);
        task
    }

    /// Drops the slots and the database.
    pub(crate) fn remove(mut self) {
        let slots = query(
            &mut self.client,
            "select slot_name from pg_replication_slots",
        );
        for slot in slots {
            self.drop_slot(&slot[0]);
        }
        let drop_database = format!("drop database {}", self.database());
        drop(self.client);
        let mut client = self.server.connect("postgres");
        wait::until("the database to be dropped", || {
            client.batch_execute(&drop_database).ok()
        });
        // Otherwise the server's next checkpoint would run during the next case.
        client.batch_execute("checkpoint").expect("a checkpoint");
    }
}
