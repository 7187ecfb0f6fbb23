//! Backfilling a table, by the connector and by COPY.

use std::time::Duration;

use serde_json::{Value, json};

use crate::connector;
use crate::floor::{Copy, Floor, Target};
use crate::process::Usage;
use crate::proxy;
use crate::rounds::{Pass, Reader};
use crate::stage::{Stage, TEMPLATE_SLOT};
use crate::support::messages::Codec;
use crate::support::scene;

pub(crate) const COPY: &str = "COPY TO STDOUT";
pub(crate) const DEFAULT: &str = "connector";
pub(crate) const LARGE: &str = "connector, 50000 rows a chunk";
/// Round trip that the proxy adds.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(20);

/// Rows per chunk, the default of the reference (Estuary's connector in Go).
const LARGE_CHUNK: u64 = 50_000;

/// Returns the name of a reader that connects through the proxy with a round trip.
pub(crate) fn delayed(reader: &str, round_trip: Duration) -> String {
    format!("{reader}, proxy {} ms", round_trip.as_millis())
}

/// Returns the name of the connector with its default chunks over a number of connections.
pub(crate) fn parallel(connections: u32) -> String {
    format!("{DEFAULT}, {connections} connections")
}

/// Returns the readers of the table of a stage.
pub(crate) fn readers<'a, 's>(
    stage: &Stage<'s>,
    connections: Option<u32>,
) -> Vec<Reader<'a, Stage<'s>>> {
    let direct = stage.server.port();
    let mut readers = vec![
        Reader::new(DEFAULT, move |stage, pass| {
            capture(stage, direct, json!({}), pass)
        }),
        Reader::new(LARGE, move |stage, pass| {
            let options = json!({"backfill_chunk_size": LARGE_CHUNK});
            capture(stage, direct, options, pass)
        }),
        Reader::new(COPY, |stage, _| copy(stage)),
    ];
    if let Some(connections) = connections {
        readers.push(Reader::new(&parallel(connections), move |stage, pass| {
            let options = json!({"backfill_connections": connections});
            capture(stage, direct, options, pass)
        }));
    }
    // Without a delay, the proxy's own cost shows.
    for round_trip in [Duration::ZERO, ROUND_TRIP] {
        let port = proxy::start(direct, round_trip);
        readers.push(Reader::new(
            &delayed(DEFAULT, round_trip),
            move |stage, pass| capture(stage, port, json!({}), pass),
        ));
    }
    let port = proxy::start(direct, ROUND_TRIP);
    readers.push(Reader::new(
        &delayed(LARGE, ROUND_TRIP),
        move |stage, pass| {
            let options = json!({"backfill_chunk_size": LARGE_CHUNK});
            capture(stage, port, options, pass)
        },
    ));
    readers
}

/// Runs the connector from the start, so that it creates the slot and reads the table.
pub(crate) fn capture(stage: &mut Stage<'_>, port: u16, options: Value, pass: Pass) -> Usage {
    let mut task = stage.task(Codec::Proto);
    task.config["address"] = format!("127.0.0.1:{port}").into();
    scene::advanced(&mut task, &json!({"backfill_connections": 1}));
    scene::advanced(&mut task, &options);
    let usage = connector::run(&task, (pass == Pass::Checked).then_some(stage.table_rows));
    stage.drop_slot(TEMPLATE_SLOT);
    usage
}

/// Runs the floor of a backfill.
pub(crate) fn copy(stage: &Stage<'_>) -> Usage {
    let floor = Floor::Copy(Copy {
        target: Target::of(stage),
        table: stage.table.clone(),
    });
    floor.measure(stage.table_rows)
}
