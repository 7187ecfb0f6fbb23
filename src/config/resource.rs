//! Resource configuration: the table of a binding and the backfill of its rows.

use serde_json::Value;

use super::members::{Location, Members, Node, configuration, parse};
use crate::error::Result;

const NAME: &str = "the resource configuration";

/// Backfill mode: treatment of the rows that exist before the capture starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum BackfillMode {
    /// `Precise`, or `Normal` if the order of keys is unpredictable or a filter is set.
    #[default]
    Automatic,
    /// Rows are read in chunks by key; all changes are emitted during the backfill.
    Normal,
    /// Rows are read in chunks by key; changes of rows that are not read yet are not emitted.
    Precise,
    /// Rows are not read; only changes are captured.
    OnlyChanges,
    /// Rows are read by physical position.
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

    /// Returns the mode's name in the resource configuration.
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

/// Resource configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resource {
    /// Backfill mode.
    pub mode: BackfillMode,
    /// Schema of the table.
    pub namespace: String,
    /// Name of the table.
    pub stream: String,
    /// Backfill priority; tables of a higher priority are backfilled first.
    pub priority: i64,
    /// SQL condition on the rows that the backfill reads.
    pub additional_backfill_filter: Option<String>,
    /// Columns that the backfill uses as key in place of the collection's; usually empty.
    pub primary_key: Vec<String>,
}

impl Resource {
    /// Parses a resource configuration. An unknown member is an error.
    ///
    /// # Errors
    ///
    /// Fails with the first problem, and the path of the member that has it.
    pub fn parse(json: &str) -> Result<Self> {
        Self::from_json(&parse(json, NAME)?)
    }

    /// Reads a resource configuration that is parsed already.
    ///
    /// # Errors
    ///
    /// Fails with the first problem, and the path of the member that has it.
    pub(crate) fn from_json(json: &Value) -> Result<Self> {
        let root = Node::root(json, Location::configuration(NAME));
        let mut root = Members::of(&root, "a JSON object")?;
        let mode = root.string("mode")?;
        let namespace = root.string("namespace")?;
        let stream = root.string("stream")?;
        let priority = root.integer("priority")?.unwrap_or_default();
        let primary_key = root.strings("primary_key")?;
        // Always `incremental`; from a framework that had other modes as well.
        root.string("syncMode")?;
        // Added by the Flow runtime, which removes it from most requests but not from all.
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
                "'advanced.additional_backfill_filter' contains only blanks: give an SQL condition or \
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

    /// Returns the identifier of the table within a capture: `schema.table` in lower case.
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
    fn every_member_is_read_and_obsolete_ones_are_accepted() {
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
        let expected = Resource {
            namespace: "s".into(),
            stream: "t".into(),
            ..Resource::default()
        };
        assert_eq!(least, expected);
    }

    #[test]
    fn every_mode_is_found_by_its_name() {
        for mode in BackfillMode::ALL {
            let json = format!(
                r#"{{"mode":"{}","namespace":"s","stream":"t"}}"#,
                mode.as_str()
            );
            assert_eq!(Resource::parse(&json).unwrap().mode, mode);
        }
    }

    #[test]
    fn checks_run_in_order() {
        for (json, expected) in [
            (r#"{"mode":"normal"}"#, "unknown 'mode' \"normal\""),
            (
                r#"{"advanced":{"additional_backfill_filter":" \t"},"mode":"Precise"}"#,
                "'advanced.additional_backfill_filter' contains only blanks",
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
            assert!(
                message(json).starts_with(expected),
                "{json}: {}",
                message(json)
            );
        }
    }
}
