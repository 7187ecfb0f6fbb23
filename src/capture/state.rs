//! The state that Flow keeps for the capture, in the reference's own form.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::Lsn;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind, Result};

/// State of a capture: the position of the stream, and the progress of each table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Position to go on from; `None` starts over.
    #[serde(default, deserialize_with = "lsn_text")]
    pub cursor: Option<Lsn>,
    /// Entries of the tables, by the runtime's state key.
    #[serde(default, rename = "bindingStateV1", deserialize_with = "nullable")]
    pub bindings: BTreeMap<String, TableState>,
}

/// Progress of a table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableState {
    /// Mode of the table.
    pub mode: Mode,
    /// Columns by which the table is scanned.
    #[serde(default)]
    pub key_columns: Option<Vec<String>>,
    /// Position of the scan.
    #[serde(default)]
    pub scanned: Scanned,
    /// Facts that the reference stores about the table's columns; carried over unchanged.
    #[serde(default)]
    pub metadata: Option<Box<RawValue>>,
    /// Number of rows that were backfilled.
    #[serde(default)]
    pub backfilled: u64,
}

impl PartialEq for TableState {
    fn eq(&self, other: &Self) -> bool {
        self.mode == other.mode
            && self.key_columns == other.key_columns
            && self.scanned == other.scanned
            && self.metadata.as_deref().map(RawValue::get)
                == other.metadata.as_deref().map(RawValue::get)
            && self.backfilled == other.backfilled
    }
}

/// Mode of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// The table waits to be activated.
    #[default]
    Pending,
    /// The table is scanned by key, and changes of keys after the position are left to the scan.
    Backfill,
    /// The table is scanned by key, and all changes are emitted.
    UnfilteredBackfill,
    /// The table is scanned by physical position, and all changes are emitted.
    KeylessBackfill,
    /// The scan is complete, or was skipped.
    Active,
    /// The table was dropped while it was captured.
    Missing,
    /// The table is not bound any more.
    Ignore,
}

impl Mode {
    /// Returns whether the table is being scanned.
    pub fn is_backfill(self) -> bool {
        matches!(
            self,
            Self::Backfill | Self::UnfilteredBackfill | Self::KeylessBackfill
        )
    }

    /// Returns whether the table is captured by now: it is being scanned, or its scan is over. None
    /// of its changes may be missing.
    pub fn is_captured(self) -> bool {
        self == Self::Active || self.is_backfill()
    }
}

/// Bytes that the state has as base64 text; null and absent both mean none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned(pub Option<Vec<u8>>);

impl<'de> Deserialize<'de> for Scanned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(Self(None));
        };
        let bytes = STANDARD
            .decode(text)
            .map_err(|_| serde::de::Error::custom("a scan position is not base64"))?;
        Ok(Self(Some(bytes)))
    }
}

impl Serialize for Scanned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0
            .as_ref()
            .map(|bytes| STANDARD.encode(bytes))
            .serialize(serializer)
    }
}

impl Serialize for TableState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        // An ignored entry names its metadata, too: a merge patch removes only what it names.
        let with_metadata = self.metadata.is_some() || self.mode == Mode::Ignore;
        let mut fields =
            serializer.serialize_struct("TableState", if with_metadata { 5 } else { 4 })?;
        fields.serialize_field("mode", &self.mode)?;
        fields.serialize_field("key_columns", &self.key_columns)?;
        fields.serialize_field("scanned", &self.scanned)?;
        if with_metadata {
            fields.serialize_field("metadata", &self.metadata)?;
        }
        fields.serialize_field("backfilled", &self.backfilled)?;
        fields.end()
    }
}

impl State {
    /// Parses the state of a request. An absent or empty state is that of a first start.
    ///
    /// # Errors
    ///
    /// Fails for anything but a state of this connector: going on from a state that is understood
    /// only in part would lose the other part.
    pub fn parse(json: &str) -> Result<Self> {
        let json = json.trim();
        if json.is_empty() || json == "null" {
            return Ok(Self::default());
        }
        serde_json::from_str(json).map_err(|error| {
            Error::new(
                ErrorKind::State,
                "unable to parse state checkpoint: it was written by another connector or a newer \
                 version; reset the task's state and backfill again if it cannot be repaired",
            )
            .with_source(error)
        })
    }
}

/// Returns the merge patch with the cursor and the tables that have changed.
///
/// # Errors
///
/// Fails when a member cannot be written as JSON, which is a bug of the connector.
pub(super) fn patch<'a>(
    cursor: Option<Lsn>,
    changed: impl Iterator<Item = (&'a str, &'a TableState)>,
) -> Result<String> {
    #[derive(Serialize)]
    struct Patch<'a> {
        cursor: Option<String>,
        #[serde(rename = "bindingStateV1", skip_serializing_if = "BTreeMap::is_empty")]
        bindings: BTreeMap<&'a str, &'a TableState>,
    }
    let patch = Patch {
        cursor: cursor.map(|lsn| lsn.to_string()),
        bindings: changed.collect(),
    };
    serde_json::to_string(&patch).map_err(|error| {
        Error::new(ErrorKind::Internal, "the state cannot be written").with_source(error)
    })
}

fn lsn_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Lsn>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| serde::de::Error::custom("the cursor is not a position of the form X/Y"))
}

fn nullable<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, TableState>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_s_state_is_read_and_its_form_written() {
        let state = State::parse(
            r#"{"cursor":"0/16B3800","bindingStateV1":{"public%2Forders":{"mode":"Backfill","key_columns":["id"],"scanned":"FQM=","backfilled":3}}}"#,
        )
        .unwrap();
        let table = &state.bindings["public%2Forders"];
        assert_eq!(table.mode, Mode::Backfill);
        assert_eq!(table.scanned.0.as_deref(), Some(&[0x15, 3][..]));
        let patch = patch(state.cursor, [("public%2Forders", table)].into_iter()).unwrap();
        assert_eq!(
            patch,
            r#"{"cursor":"0/16B3800","bindingStateV1":{"public%2Forders":{"mode":"Backfill","key_columns":["id"],"scanned":"FQM=","backfilled":3}}}"#
        );
    }

    #[test]
    fn a_patch_without_changes_has_the_cursor_alone() {
        assert_eq!(
            patch(None, std::iter::empty()).unwrap(),
            r#"{"cursor":null}"#
        );
    }

    #[test]
    fn an_ignored_table_loses_its_columns_position_and_metadata() {
        let table = TableState {
            mode: Mode::Ignore,
            ..TableState::default()
        };
        let text = serde_json::to_string(&table).unwrap();
        assert_eq!(
            text,
            r#"{"mode":"Ignore","key_columns":null,"scanned":null,"metadata":null,"backfilled":0}"#
        );
    }

    #[test]
    fn a_first_start_has_no_state_and_a_strange_one_is_refused() {
        for text in [
            "",
            "null",
            "{}",
            r#"{"cursor":null}"#,
            r#"{"cursor":"","bindingStateV1":null}"#,
        ] {
            let state = State::parse(text).unwrap();
            assert!(
                state.cursor.is_none() && state.bindings.is_empty(),
                "{text}"
            );
        }
        for text in [
            r#"{"cursor":1}"#,
            r#"{"cursor":"x"}"#,
            r#"{"later":1}"#,
            r#"{"bindingStateV1":{"a":{"mode":"Later"}}}"#,
            r#"{"bindingStateV1":{"a":{"mode":"Active","more":1}}}"#,
            r#"{"bindingStateV1":{"a":{"mode":"Active","scanned":"*"}}}"#,
            "[",
        ] {
            assert_eq!(
                State::parse(text).unwrap_err().kind(),
                ErrorKind::State,
                "{text}"
            );
        }
    }
}
