//! The configuration of one binding: which table, and how its rows are captured.

use serde_json::Value;

use super::members::{Location, Members, Node, configuration, parse};
use crate::error::Result;

const NAME: &str = "the resource configuration";

/// How the rows that exist already are captured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum BackfillMode {
    /// Precise, unless the order of keys is unpredictable or a filter is set: then as `Normal`.
    #[default]
    Automatic,
    /// In chunks by key; every change is emitted meanwhile.
    Normal,
    /// In chunks by key; changes of rows that are still to be read are left out.
    Precise,
    /// Not at all.
    OnlyChanges,
    /// By physical position.
    WithoutPrimaryKey,
}

impl BackfillMode {
    const ALL: [Self; 5] = [
        Self::Automatic,
        Self::Normal,
        Self::Precise,
        Self::OnlyChanges,
        Self::WithoutPrimaryKey,
    ];

    /// Returns the mode as the resource configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Automatic => "",
            Self::Normal => "Normal",
            Self::Precise => "Precise",
            Self::OnlyChanges => "Only Changes",
            Self::WithoutPrimaryKey => "Without Primary Key",
        }
    }
}

/// The configuration of one binding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resource {
    /// How existing rows are captured.
    pub mode: BackfillMode,
    /// The table's schema.
    pub namespace: String,
    /// The table's name.
    pub stream: String,
    /// Tables of a higher priority are backfilled first.
    pub priority: i64,
    /// An SQL condition that backfilled rows have to fulfil.
    pub additional_backfill_filter: Option<String>,
    /// Column names that replace the key of the collection; usually empty.
    pub primary_key: Vec<String>,
}

impl Resource {
    /// Parses a resource configuration. An unknown member is an error.
    ///
    /// # Errors
    ///
    /// With the first thing that is wrong, named by its path.
    pub fn parse(json: &str) -> Result<Self> {
        Self::from_json(&parse(json, NAME)?)
    }

    /// Reads a resource configuration that is parsed already.
    ///
    /// # Errors
    ///
    /// With the first thing that is wrong, named by its path.
    pub(crate) fn from_json(json: &Value) -> Result<Self> {
        let root = Node::root(json, Location::configuration(NAME));
        let mut root = Members::of(&root, "a JSON object")?;
        let mode = root.string("mode")?;
        let namespace = root.string("namespace")?;
        let stream = root.string("stream")?;
        let priority = root.integer("priority")?.unwrap_or_default();
        let primary_key = root.strings("primary_key")?;
        // From the time of a framework that knew other modes; there is only one here.
        root.string("syncMode")?;
        // The runtime's own; it removes the member on most ways, not on all.
        root.ignore(&["_meta"]);
        let mut filter = None;
        if let Some(mut advanced) = root.object("advanced")? {
            filter = advanced.non_empty_string("additional_backfill_filter")?;
            advanced.finish()?;
        }
        root.finish()?;

        let Some(mode) = BackfillMode::ALL
            .into_iter()
            .find(|known| known.as_str() == mode)
        else {
            return Err(configuration(format!(
                "unknown 'mode' {mode:?}: it must be empty, 'Normal', 'Precise', 'Only Changes' or \
                 'Without Primary Key'"
            )));
        };
        if filter
            .as_ref()
            .is_some_and(|filter| filter.trim().is_empty())
        {
            return Err(configuration(
                "'advanced.additional_backfill_filter' holds only blanks: give an SQL condition or \
                 leave it out",
            ));
        }
        if filter.is_some() && mode == BackfillMode::Precise {
            return Err(configuration(
                "'advanced.additional_backfill_filter' cannot be combined with 'mode' 'Precise': \
                 choose another mode or leave the filter out",
            ));
        }
        if namespace.is_empty() {
            return Err(configuration(
                "missing 'namespace': give the table's schema",
            ));
        }
        if stream.is_empty() {
            return Err(configuration("missing 'stream': give the table's name"));
        }
        Ok(Self {
            mode,
            namespace,
            stream,
            priority,
            additional_backfill_filter: filter,
            primary_key,
        })
    }

    /// Returns what identifies the table within a capture: `schema.table` in lower case.
    pub fn stream_id(&self) -> String {
        format!("{}.{}", self.namespace, self.stream).to_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> String {
        Resource::parse(json).unwrap_err().to_string()
    }

    #[test]
    fn every_member_is_read_and_the_old_ones_are_tolerated() {
        let resource = Resource::parse(
            r#"{"mode":"Only Changes","namespace":"Shop","stream":"Orders","priority":-3,
                "advanced":{"additional_backfill_filter":"id > 5"},"primary_key":["a","b"],
                "syncMode":"incremental","_meta":{"path":["x"]}}"#,
        )
        .unwrap();
        assert_eq!(
            resource,
            Resource {
                mode: BackfillMode::OnlyChanges,
                namespace: "Shop".into(),
                stream: "Orders".into(),
                priority: -3,
                additional_backfill_filter: Some("id > 5".into()),
                primary_key: vec!["a".into(), "b".into()],
            }
        );
        assert_eq!(resource.stream_id(), "shop.orders");
        let least = Resource::parse(
            r#"{"namespace":"s","stream":"t","mode":null,"advanced":{"additional_backfill_filter":""}}"#,
        )
        .unwrap();
        let due = Resource {
            namespace: "s".into(),
            stream: "t".into(),
            ..Resource::default()
        };
        assert_eq!(least, due);
    }

    #[test]
    fn every_mode_is_known_by_its_name() {
        for mode in BackfillMode::ALL {
            let json = format!(
                r#"{{"mode":"{}","namespace":"s","stream":"t"}}"#,
                mode.as_str()
            );
            assert_eq!(Resource::parse(&json).unwrap().mode, mode);
        }
    }

    #[test]
    fn checks_come_in_order() {
        for (json, due) in [
            (r#"{"mode":"normal"}"#, "unknown 'mode' \"normal\""),
            (
                r#"{"advanced":{"additional_backfill_filter":" \t"},"mode":"Precise"}"#,
                "'advanced.additional_backfill_filter' holds only blanks",
            ),
            (
                r#"{"advanced":{"additional_backfill_filter":"x"},"mode":"Precise"}"#,
                "'advanced.additional_backfill_filter' cannot be combined",
            ),
            ("{}", "missing 'namespace'"),
            (r#"{"namespace":"s"}"#, "missing 'stream'"),
            (
                r#"{"namespace":"s","stream":"t","x":1}"#,
                "unknown member 'x'",
            ),
            (
                r#"{"advanced":{"filter":1}}"#,
                "unknown member 'advanced.filter'",
            ),
            (
                r#"{"priority":"1"}"#,
                "'priority' must be an integer, found a string",
            ),
        ] {
            assert!(message(json).starts_with(due), "{json}: {}", message(json));
        }
    }
}
