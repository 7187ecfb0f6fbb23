//! A subset of the recorded runs on each supported version other than the main one.

use super::golden::{SUBSET, oldest, play, take_over};
use crate::support::messages::Codec;
use crate::support::postgres::Version;

/// One module for each version.
macro_rules! versions {
    ($($name:ident = $version:literal),* $(,)?) => {$(
        mod $name {
            use super::*;

            #[test]
            fn backfill_stream_and_resume() {
                plays_the_subset(Version($version));
            }

            #[test]
            fn continues_from_a_recorded_state() {
                for name in ["chunks_int", "chunks_text", "chunks_keyless"] {
                    take_over(name, Version($version), Codec::Proto);
                }
            }
        }
    )*};
}

versions! {
    v10 = 10, v11 = 11, v12 = 12, v13 = 13, v14 = 14, v16 = 16, v17 = 17, v18 = 18,
}

/// Plays all scenarios before it fails, so that one run shows every difference.
fn plays_the_subset(version: Version) {
    let mut failed = Vec::new();
    for (number, name) in SUBSET.iter().copied().enumerate() {
        if version < oldest(name) {
            continue;
        }
        let codec = if number % 2 == 0 {
            Codec::Proto
        } else {
            Codec::Json
        };
        if std::panic::catch_unwind(|| play(name, version, codec)).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{version:?} fails {failed:?}");
}
