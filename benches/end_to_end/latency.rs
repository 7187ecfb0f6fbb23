//! Latency from a commit to its document, while single rows are committed at a fixed rate.
//!
//! A row holds the server's clock at its insertion, the last statement before its transaction
//! commits. Its latency ends when its document is read from the connector's standard output, or,
//! for the floor, when the row is received. Both times are of the same clock, on the same machine.
//! A floor that prints a line for each row shows the cost of the pipe and of its reader.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::cases::TICKS;
use crate::connector;
use crate::floor::{Drain, Floor};
use crate::frames::Frames;
use crate::process;
use crate::programs;
use crate::rounds::Spread;
use crate::stage::{SLOT, Stage};
use crate::support::messages::{Acknowledge, Codec, Request};
use crate::support::postgres::Server;
use crate::support::wait::TIMEOUT;

/// Value of the first row of a load, in place of a time.
pub(crate) const FIRST: i64 = -1;
/// Value of the last row of a load, in place of a time.
pub(crate) const LAST: i64 = -2;

/// Interval between two acknowledgements of checkpoints. Flow sends one for each of its own
/// transactions.
const ACKNOWLEDGEMENT_INTERVAL: Duration = Duration::from_millis(100);

/// Number of pgbench's clients, which commit at the rate together.
const CLIENTS: &str = "4";

/// The lower rate, in rows per second.
pub(crate) const QUIET: u32 = 200;
/// The higher rate, in rows per second.
pub(crate) const BUSY: u32 = 1000;

/// Latencies of one run, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    /// CPU time of the reader as a share of the elapsed time.
    pub(crate) cpu: f64,
}

/// Latencies of all runs of one reader at one rate.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    pub(crate) reader: &'static str,
    pub(crate) rate: u32,
    pub(crate) runs: Vec<Latency>,
}

impl Latencies {
    pub(crate) fn spread(&self, member: impl Fn(&Latency) -> f64) -> Spread {
        Spread::of(self.runs.iter().map(member))
    }
}

/// Measures the readers alternately, at each rate.
pub(crate) fn compare(server: &Server, time: Duration, rounds: u16) -> Vec<Latencies> {
    let mut stage = Stage::prepare(server, TICKS, 0);
    let mut found = Vec::new();
    for rate in [QUIET, BUSY] {
        let mut readers = READERS.map(|reader| Latencies {
            reader,
            rate,
            runs: Vec::new(),
        });
        for round in 0..rounds {
            for turn in 0..readers.len() {
                let latencies = &mut readers[(usize::from(round) + turn) % READERS.len()];
                let run = run(&mut stage, latencies.reader, rate, time);
                latencies.runs.push(run);
            }
        }
        found.extend(readers);
    }
    stage.remove();
    found
}

pub(crate) const CONNECTOR: &str = "connector, protobuf";
pub(crate) const DRAIN: &str = "drain";
pub(crate) const PIPED: &str = "drain, to a pipe";

/// Readers that are measured at each rate, in the order of the results.
pub(crate) const READERS: [&str; 3] = [CONNECTOR, DRAIN, PIPED];

/// Starts a reader on a new slot, lets pgbench commit rows, and waits for the last row.
fn run(stage: &mut Stage<'_>, reader: &str, rate: u32, time: Duration) -> Latency {
    let start = stage.make_new_slot();
    let running = if reader == CONNECTOR {
        Running::connector(stage, &start)
    } else {
        Running::drain(stage, &start, reader == PIPED)
    };
    stage.tick(FIRST);
    let running = running.await_row(FIRST);

    let (clock, before) = (Instant::now(), cpu(&running.child));
    let expected = commit(stage, rate, time);
    stage.tick(LAST);
    let running = running.await_row(LAST);
    let (elapsed, after) = (clock.elapsed(), cpu(&running.child));

    let (mut latencies, _) = running.end();
    stage.drop_slot(SLOT);
    assert_eq!(
        latencies.len() as u64,
        expected,
        "rows that {reader} has read"
    );
    latencies.sort_unstable();
    let percentile = |hundredths: usize| {
        let index = (latencies.len() * hundredths / 100).min(latencies.len() - 1);
        milliseconds(latencies[index])
    };
    Latency {
        p50: percentile(50),
        p90: percentile(90),
        p99: percentile(99),
        max: percentile(100),
        cpu: (after - before).as_secs_f64() / elapsed.as_secs_f64(),
    }
}

/// Lets pgbench commit rows at a rate, and returns their number.
fn commit(stage: &mut Stage<'_>, rate: u32, time: Duration) -> u64 {
    let before = stage.count();
    let mut command = Command::new(programs::newest("pgbench"));
    command
        .args(["--no-vacuum", "--protocol", "prepared"])
        .args(["--client", CLIENTS, "--rate", &rate.to_string()])
        .args(["--time", &time.as_secs().to_string()])
        .args(["--file", "/dev/stdin"])
        .args(["--host", "127.0.0.1"])
        .args(["--port", &stage.server.port().to_string()])
        .args(["--username", "postgres", &stage.database()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("pgbench starts");
    let mut script = child.stdin.take().expect("standard input is piped");
    script
        .write_all(b"insert into ticks(note) values ('one of many');\n")
        .expect("pgbench reads its script");
    drop(script);
    let output = child.wait_with_output().expect("pgbench ends");
    assert!(
        output.status.success(),
        "pgbench: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    stage.count() - before
}

/// A running reader.
struct Running {
    child: Child,
    /// The time in each row that has arrived, and the time of its arrival.
    rows: Receiver<(i64, i64)>,
    latencies: Vec<i64>,
    log: JoinHandle<String>,
}

impl Running {
    fn connector(stage: &Stage<'_>, start: &str) -> Self {
        let mut task = stage.backlog();
        task.state["cursor"] = start.into();
        task.launch.environment.clear();
        let mut child = start_piped(connector::command(&task));
        let mut input = child.stdin.take().expect("standard input is piped");
        input
            .write_all(&connector::requests(&task))
            .expect("the connector reads requests");
        let output = child.stdout.take().expect("standard output is piped");
        let (sender, rows) = mpsc::channel();
        thread::spawn(move || read_documents(output, input, &sender));
        Self::new(child, rows)
    }

    fn drain(stage: &Stage<'_>, start: &str, at_once: bool) -> Self {
        let floor = Floor::Drain(Drain {
            timed: true,
            at_once,
            ..Drain::of(stage, start)
        });
        let mut child = start_piped(floor.command());
        let output = child.stdout.take().expect("standard output is piped");
        let (sender, rows) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let arrival = now();
                let mut times = line.split(' ').map(|text| text.parse().expect("a time"));
                let at = times.next().expect("a time a line");
                if sender.send((at, times.next().unwrap_or(arrival))).is_err() {
                    return;
                }
            }
        });
        Self::new(child, rows)
    }

    fn new(mut child: Child, rows: Receiver<(i64, i64)>) -> Self {
        let log = process::read_log(child.stderr.take().expect("standard error is piped"));
        Self {
            child,
            rows,
            latencies: Vec::new(),
            log,
        }
    }

    /// Waits for the row that holds a value, and collects the latencies of those before it.
    fn await_row(mut self, value: i64) -> Self {
        loop {
            let Ok((at, arrival)) = self.rows.recv_timeout(TIMEOUT) else {
                panic!("the row {value} does not arrive\n{}", self.end().1);
            };
            if at == value {
                return self;
            }
            self.latencies.push(arrival - at);
        }
    }

    /// Kills the process, and returns the latencies and its log.
    fn end(mut self) -> (Vec<i64>, String) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
        (self.latencies, self.log.join().expect("the log was read"))
    }
}

fn start_piped(mut command: Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("the process starts")
}

/// Reads documents, sends the time of their arrival, and acknowledges checkpoints.
fn read_documents(mut output: impl Read, mut input: ChildStdin, rows: &Sender<(i64, i64)>) {
    let mut buffer = vec![0; 64 << 10];
    let mut frames = Frames::new(Codec::Proto);
    let (mut acknowledged, mut last) = (0, Instant::now());
    loop {
        let count = output.read(&mut buffer).unwrap_or(0);
        let arrival = now();
        if count == 0 {
            return;
        }
        let mut is_open = true;
        frames.take_documents(&buffer[..count], |document| {
            is_open &= rows.send((time_of(document), arrival)).is_ok();
        });
        if !is_open {
            return;
        }
        let open = frames.checkpoints - acknowledged;
        if open > 0 && last.elapsed() >= ACKNOWLEDGEMENT_INTERVAL {
            let checkpoints = u32::try_from(open).expect("few a second");
            let request = Request {
                acknowledge: Some(Acknowledge { checkpoints }),
                ..Request::default()
            };
            // A process that was killed does not read.
            let _ = input.write_all(&request.encode_with(Codec::Proto));
            (acknowledged, last) = (frames.checkpoints, Instant::now());
        }
    }
}

/// Returns the time that a row holds, from the message with its document.
fn time_of(message: &[u8]) -> i64 {
    const MEMBER: &[u8] = br#""at":"#;
    let start = message
        .windows(MEMBER.len())
        .position(|window| window == MEMBER)
        .expect("every row has a time");
    let text = &message[start + MEMBER.len()..];
    let end = text.iter().position(|byte| matches!(byte, b',' | b'}'));
    let text = &text[..end.expect("a member ends")];
    let text = std::str::from_utf8(text).expect("digits");
    text.parse().expect("a number")
}

/// Returns the current time in microseconds since 1970.
pub(crate) fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = elapsed.expect("it is later than 1970").as_micros();
    i64::try_from(micros).expect("it is not that late")
}

#[expect(clippy::cast_precision_loss, reason = "times are short")]
fn milliseconds(micros: i64) -> f64 {
    micros as f64 / 1e3
}

/// Returns the CPU time of a running process.
fn cpu(child: &Child) -> Duration {
    let path = format!("/proc/{}/stat", child.id());
    let stat = std::fs::read_to_string(Path::new(&path)).expect("the process runs");
    // The fields follow the name, which is in brackets and can hold anything; the times follow
    // eleven other fields.
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("a number of ticks"))
        .sum();
    // Linux counts in hundredths of a second here, independently of its timer frequency.
    Duration::from_millis(ticks * 10)
}
