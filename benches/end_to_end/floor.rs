//! The floors: the connector's own receiving code, which discards the rows that it has received.
//!
//! Floors run in processes of their own, so that they are measured as the connector is: this
//! program starts itself with the name of a floor as its first argument.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::{Args, Subcommand};
use protocol::{Event, LogicalReplicationMessage, Lsn, TupleArena, TupleData};
use serde::{Deserialize, Serialize};
use serde_json::json;
use source_postgres::background;
use source_postgres::client::{Client, server_error};
use source_postgres::config::Config;
use source_postgres::error::Result;
use source_postgres::net::{ConnectConfig, Purpose};
use source_postgres::replication::{
    self, DurablePosition, InProgress, ReplicationStream, SpoolOptions, StreamItem, StreamOptions,
};

use crate::latency;
use crate::process::{self, Usage};
use crate::stage::{SLOT, Stage};

/// A floor, as the command line names it.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Floor {
    /// Reads a slot.
    #[command(hide = true)]
    Drain(Drain),
    /// Reads a table.
    #[command(hide = true)]
    Copy(Copy),
}

/// Address of the server and TLS settings.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    database: String,
    #[arg(long)]
    sslmode: Option<String>,
    #[arg(long)]
    sslrootcert: Option<String>,
}

/// Arguments of the floor that reads a slot.
#[derive(Debug, Clone, Args)]
pub(crate) struct Drain {
    #[command(flatten)]
    pub(crate) target: Target,
    #[arg(long)]
    pub(crate) slot: String,
    /// Position to start from.
    #[arg(long)]
    pub(crate) start: String,
    /// Position to end at.
    #[arg(long)]
    pub(crate) end: String,
    /// Prints for each row the time in its last column and the time of its arrival, instead of a
    /// count.
    #[arg(long)]
    pub(crate) timed: bool,
    /// Prints each row's own time at once when it arrives; its reader notes the time of arrival.
    #[arg(long)]
    pub(crate) at_once: bool,
}

/// Arguments of the floor that reads a table.
#[derive(Debug, Clone, Args)]
pub(crate) struct Copy {
    #[command(flatten)]
    pub(crate) target: Target,
    #[arg(long)]
    pub(crate) table: String,
}

/// Number and size of the rows that a floor has received.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Received {
    rows: u64,
    bytes: u64,
}

impl Floor {
    /// Runs the floor in a process of its own, and checks the number of rows.
    pub(crate) fn measure(&self, expected: u64) -> Usage {
        let mut output = Vec::new();
        let usage = process::run(self.command(), &[], |piece, _| {
            output.extend_from_slice(piece)
        });
        let received: Received = serde_json::from_slice(&output).expect("a floor prints JSON");
        assert_eq!(received.rows, expected, "rows of {self:?}");
        Usage {
            bytes: (received.bytes > 0).then_some(received.bytes),
            ..usage
        }
    }

    /// Returns the command that runs the floor.
    pub(crate) fn command(&self) -> Command {
        let program: PathBuf = std::env::current_exe().expect("this program has a path");
        let mut command = process::guarded(&program);
        match self {
            Self::Drain(drain) => command
                .arg("drain")
                .args(drain.target.arguments())
                .args(["--slot", &drain.slot])
                .args(["--start", &drain.start])
                .args(["--end", &drain.end])
                .args(drain.timed.then_some("--timed"))
                .args(drain.at_once.then_some("--at-once")),
            Self::Copy(copy) => command
                .arg("copy")
                .args(copy.target.arguments())
                .args(["--table", &copy.table]),
        };
        command
    }

    /// Runs the floor in this process.
    pub(crate) fn run(&self) -> Result<()> {
        // The connector has this thread too.
        let _background = background::start()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let received = match self {
            Self::Drain(drain) if drain.timed => return runtime.block_on(drain.time()),
            Self::Drain(drain) => runtime.block_on(drain.run())?,
            Self::Copy(copy) => runtime.block_on(copy.run())?,
        };
        println!("{}", serde_json::to_string(&received).expect("it is JSON"));
        Ok(())
    }
}

impl Target {
    pub(crate) fn of(stage: &Stage<'_>) -> Self {
        let mut target = Self {
            port: stage.server.port(),
            database: stage.database(),
            sslmode: None,
            sslrootcert: None,
        };
        if let Some(security) = stage.security() {
            target.sslmode = Some(security.sslmode.to_owned());
            target.sslrootcert = Some(security.sslrootcert.clone());
        }
        target
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--port={}", self.port),
            format!("--database={}", self.database),
        ];
        let sslmode = self.sslmode.iter().map(|mode| format!("--sslmode={mode}"));
        let roots = self.sslrootcert.iter();
        arguments.extend(sslmode.chain(roots.map(|path| format!("--sslrootcert={path}"))));
        arguments
    }

    fn config(&self) -> Result<ConnectConfig> {
        let config = json!({
            "address": format!("127.0.0.1:{}", self.port),
            "user": "postgres",
            "database": self.database,
            "password": "",
            "advanced": {
                "sslmode": self.sslmode.as_deref().unwrap_or_default(),
                "sslrootcert": self.sslrootcert.as_deref().unwrap_or_default(),
            },
        });
        ConnectConfig::new(&Config::parse(&config.to_string())?)
    }
}

impl Drain {
    /// Returns the floor that reads the slot from a position to the end of a stage's changes.
    pub(crate) fn of(stage: &Stage<'_>, start: &str) -> Self {
        Self {
            target: Target::of(stage),
            slot: SLOT.to_owned(),
            start: start.to_owned(),
            end: stage.end.clone(),
            timed: false,
            at_once: false,
        }
    }

    /// Reads rows up to the last of a load, and then prints when they arrived.
    async fn time(&self) -> Result<()> {
        let mut stream = self.open().await?;
        let mut times = Vec::new();
        let mut arena = TupleArena::default();
        loop {
            while let Some(item) = {
                arena.reset();
                stream.try_next(&arena)?
            } {
                let arrival = latency::now();
                let StreamItem::Message {
                    message: LogicalReplicationMessage::Insert(insert),
                    ..
                } = item
                else {
                    continue;
                };
                let Some(TupleData::Text(at)) = insert.new.iter().last() else {
                    continue;
                };
                let at = std::str::from_utf8(at).expect("digits");
                let at: i64 = at.parse().expect("a number");
                match at {
                    _ if self.at_once => println!("{at}"),
                    latency::FIRST => println!("{at} {arrival}"),
                    latency::LAST => {
                        let lines: Vec<_> = times
                            .iter()
                            .chain([&(at, arrival)])
                            .map(|(at, arrival)| format!("{at} {arrival}\n"))
                            .collect();
                        print!("{}", lines.concat());
                    }
                    _ => times.push((at, arrival)),
                }
            }
            stream.fill_blocking().await?;
        }
    }

    async fn run(&self) -> Result<Received> {
        let mut stream = self.open().await?;
        let end: Lsn = self.end.parse().expect("a position");
        let mut received = Received::default();
        let mut arena = TupleArena::default();
        loop {
            while let Some(item) = {
                arena.reset();
                stream.try_next(&arena)?
            } {
                let position = match item {
                    StreamItem::Keepalive { wal_end } => wal_end,
                    // Transactions after the end are of others, such as the connector's fences.
                    StreamItem::Message {
                        message: LogicalReplicationMessage::Begin(begin),
                        ..
                    } => begin.final_lsn,
                    StreamItem::Message { message, .. } => {
                        received.rows += rows(&message);
                        continue;
                    }
                    StreamItem::Other => continue,
                };
                if position >= end {
                    stream.finish().await;
                    return Ok(received);
                }
            }
            stream.fill_blocking().await?;
        }
    }

    /// Starts the stream with the connector's options.
    async fn open(&self) -> Result<ReplicationStream> {
        let client = replication::connect(&self.target.config()?, None).await?;
        let options = StreamOptions {
            slot: self.slot.clone(),
            publication: "flow_publication".to_owned(),
            start: self.start.parse().expect("a position"),
            status_interval: Duration::from_secs(10),
            in_progress: InProgress::Streamed(SpoolOptions::default()),
        };
        let durable_position = DurablePosition::new(options.start);
        ReplicationStream::start(client, &options, durable_position.into()).await
    }
}

impl Copy {
    async fn run(&self) -> Result<Received> {
        let mut client = Client::connect(&self.target.config()?, Purpose::Query).await?;
        let connection = client.connection();
        let command = format!("COPY {} TO STDOUT", self.table);
        connection.session().query(&command).expect("a short query");
        connection.send().await?;
        let mut received = Received::default();
        loop {
            while let Some(event) = connection.try_event()? {
                match event {
                    Event::CopyData(row) => {
                        received.rows += 1;
                        received.bytes += row.len() as u64;
                    }
                    Event::Error(report) => return Err(server_error(report.into_owned())),
                    Event::Ready(_) => return Ok(received),
                    _ => {}
                }
            }
            connection.fill().await?;
        }
    }
}

/// Returns the number of rows that a message is about, 0 or 1.
fn rows(message: &LogicalReplicationMessage<'_>) -> u64 {
    u64::from(matches!(
        message,
        LogicalReplicationMessage::Insert(_)
            | LogicalReplicationMessage::Update(_)
            | LogicalReplicationMessage::Delete(_)
    ))
}
