//! What encryption costs: the same readers with and without TLS, in turns.

use serde_json::json;

use crate::backfill;
use crate::backlog;
use crate::rounds::Reader;
use crate::stage::Stage;

/// What the names of cases begin with.
pub(crate) const CASES: &str = "tls-";

/// The same reader by TLS.
pub(crate) fn encrypted(reader: &str) -> String {
    format!("{reader}, TLS")
}

/// Those who read a backlog.
pub(crate) fn of_backlog<'a, 's: 'a>() -> Vec<Reader<'a, Stage<'s>>> {
    let names = [backlog::PROTOBUF, backlog::DRAIN, backlog::RECVLOGICAL];
    let readers = || {
        backlog::readers()
            .into_iter()
            .filter(|reader| names.contains(&reader.name.as_str()))
    };
    in_pairs(readers(), readers())
}

/// Those who read a table.
pub(crate) fn of_backfill<'a, 's: 'a>() -> Vec<Reader<'a, Stage<'s>>> {
    let readers = || {
        [
            Reader::new(backfill::DEFAULT, |stage: &mut Stage<'s>, pass| {
                backfill::capture(stage, stage.server.port(), json!({}), pass)
            }),
            Reader::new(backfill::COPY, |stage, _| backfill::copy(stage)),
        ]
    };
    in_pairs(readers(), readers())
}

/// Each reader without TLS, and behind it with.
fn in_pairs<'a, 's: 'a>(
    clear: impl IntoIterator<Item = Reader<'a, Stage<'s>>>,
    secret: impl IntoIterator<Item = Reader<'a, Stage<'s>>>,
) -> Vec<Reader<'a, Stage<'s>>> {
    let with = |name: String, reader: Reader<'a, Stage<'s>>, encrypts| {
        Reader::new(&name, move |stage: &mut Stage<'s>, pass| {
            stage.with_tls(encrypts, |stage| reader.run(stage, pass))
        })
    };
    clear
        .into_iter()
        .zip(secret)
        .flat_map(|(clear, secret)| {
            [
                with(clear.name.clone(), clear, false),
                with(encrypted(&secret.name), secret, true),
            ]
        })
        .collect()
}
