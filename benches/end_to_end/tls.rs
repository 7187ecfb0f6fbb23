//! Cost of encryption: the same readers with and without TLS, alternately.

use serde_json::json;

use crate::backfill;
use crate::backlog;
use crate::rounds::Reader;
use crate::stage::Stage;

/// Prefix of the names of these cases.
pub(crate) const PREFIX: &str = "tls-";

/// Returns the name of a reader with TLS.
pub(crate) fn encrypted(reader: &str) -> String {
    format!("{reader}, TLS")
}

/// Returns the readers of a backlog.
pub(crate) fn backlog_readers<'a, 's: 'a>() -> Vec<Reader<'a, Stage<'s>>> {
    let names = [backlog::PROTOBUF, backlog::DRAIN, backlog::RECVLOGICAL];
    let readers = || {
        backlog::readers()
            .into_iter()
            .filter(|reader| names.contains(&reader.name.as_str()))
    };
    in_pairs(readers(), readers())
}

/// Returns the readers of a table.
pub(crate) fn backfill_readers<'a, 's: 'a>() -> Vec<Reader<'a, Stage<'s>>> {
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

/// Returns each reader without TLS, followed by the reader with TLS.
fn in_pairs<'a, 's: 'a>(
    plain: impl IntoIterator<Item = Reader<'a, Stage<'s>>>,
    encrypted_ones: impl IntoIterator<Item = Reader<'a, Stage<'s>>>,
) -> Vec<Reader<'a, Stage<'s>>> {
    let with = |name: String, reader: Reader<'a, Stage<'s>>, encrypts| {
        Reader::new(&name, move |stage: &mut Stage<'s>, pass| {
            stage.with_tls(encrypts, |stage| reader.run(stage, pass))
        })
    };
    plain
        .into_iter()
        .zip(encrypted_ones)
        .flat_map(|(plain, with_tls)| {
            [
                with(plain.name.clone(), plain, false),
                with(encrypted(&with_tls.name), with_tls, true),
            ]
        })
        .collect()
}
