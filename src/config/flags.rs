//! Feature flags: switches for details of the connector, and positions for recovery.

use protocol::Lsn;

use super::members::configuration;
use crate::error::Result;

/// Settings of `advanced.feature_flags`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flags {
    /// Whether collection schemas have `x-infer-schema`.
    pub use_schema_inference: bool,
    /// Whether sourced schemas are sent to Flow.
    pub emit_sourced_schemas: bool,
    /// Whether `date` is captured as a date instead of a timestamp.
    pub date_as_date: bool,
    /// Whether `time` is captured as a time instead of microseconds.
    pub time_as_time: bool,
    /// Whether arrays are nested to their number of dimensions; overrides `flatten_arrays`.
    pub multidimensional_arrays: bool,
    /// Whether arrays lose their dimensions instead of becoming objects.
    pub flatten_arrays: bool,
    /// Whether the connector creates the replication slot, and drops it to start again.
    pub create_replication_slot: bool,
    /// Whether no prerequisite is checked or created.
    pub skip_prerequisites: bool,
    /// Whether tables are neither checked nor added to the publication.
    pub skip_table_prerequisites: bool,
    /// Whether large transactions are received while they are in progress, from PostgreSQL 14 on.
    pub stream_in_progress: bool,
    /// Start position if there is no cursor.
    pub initial_backfill_cursor: Option<Lsn>,
    /// Start position even if there is a cursor.
    pub force_reset_cursor: Option<Lsn>,
    /// Entries that are not flags of this version.
    pub unknown: Vec<String>,
}

/// Access to the field of a flag.
type Field<T> = fn(&mut Flags) -> &mut T;

/// Switches by name.
const SWITCHES: [(&str, Field<bool>); 10] = [
    ("use_schema_inference", |f| &mut f.use_schema_inference),
    ("emit_sourced_schemas", |f| &mut f.emit_sourced_schemas),
    ("date_as_date", |f| &mut f.date_as_date),
    ("time_as_time", |f| &mut f.time_as_time),
    ("multidimensional_arrays", |f| {
        &mut f.multidimensional_arrays
    }),
    ("flatten_arrays", |f| &mut f.flatten_arrays),
    ("create_replication_slot", |f| {
        &mut f.create_replication_slot
    }),
    ("skip_prerequisites", |f| &mut f.skip_prerequisites),
    ("skip_table_prerequisites", |f| {
        &mut f.skip_table_prerequisites
    }),
    ("stream_in_progress", |f| &mut f.stream_in_progress),
];

/// Positions by name.
const POSITIONS: [(&str, Field<Option<Lsn>>); 2] = [
    ("initial_backfill_cursor", |f| {
        &mut f.initial_backfill_cursor
    }),
    ("force_reset_cursor", |f| &mut f.force_reset_cursor),
];

impl Default for Flags {
    fn default() -> Self {
        Self {
            use_schema_inference: true,
            emit_sourced_schemas: true,
            date_as_date: true,
            time_as_time: true,
            multidimensional_arrays: false,
            flatten_arrays: true,
            create_replication_slot: true,
            skip_prerequisites: false,
            skip_table_prerequisites: false,
            stream_in_progress: true,
            initial_backfill_cursor: None,
            force_reset_cursor: None,
            unknown: Vec::new(),
        }
    }
}

impl Flags {
    /// Parses a comma-separated list. Of several entries for a flag, the last takes effect.
    pub(super) fn parse(list: &str) -> Result<Self> {
        let mut flags = Self::default();
        for entry in list
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
        {
            let (name, value) = match entry.strip_prefix("no_") {
                Some(name) => (name, false),
                None => (entry, true),
            };
            if let Some(flag) = flags.switch(name) {
                *flag = value;
                continue;
            }
            let (name, position) = match name.split_once('=') {
                Some((name, position)) => (name, Some(position)),
                None => (name, None),
            };
            match (flags.position(name), position, value) {
                (Some(flag), Some(text), true) => *flag = Some(parse_position(name, text)?),
                (Some(flag), _, false) => *flag = None,
                (Some(_), None, true) => {
                    return Err(configuration(format!(
                        "feature flag '{name}' needs a position, as in '{name}=16/B374D848'"
                    )));
                }
                (None, ..) => flags.unknown.push(entry.to_owned()),
            }
        }
        Ok(flags)
    }

    fn switch(&mut self, name: &str) -> Option<&mut bool> {
        let (_, field) = SWITCHES.iter().find(|(known, _)| *known == name)?;
        Some(field(self))
    }

    fn position(&mut self, name: &str) -> Option<&mut Option<Lsn>> {
        let (_, field) = POSITIONS.iter().find(|(known, _)| *known == name)?;
        Some(field(self))
    }

    /// Returns the name and the default of each switch.
    #[cfg(test)]
    pub(super) fn switches() -> impl Iterator<Item = (&'static str, bool)> {
        let mut defaults = Self::default();
        SWITCHES
            .iter()
            .map(move |(name, field)| (*name, *field(&mut defaults)))
    }

    /// Returns the names of the positions.
    #[cfg(test)]
    pub(super) fn positions() -> impl Iterator<Item = &'static str> {
        POSITIONS.iter().map(|(name, _)| *name)
    }
}

fn parse_position(name: &str, text: &str) -> Result<Lsn> {
    text.parse().map_err(|_| {
        configuration(format!(
            "feature flag '{name}' must be a log position such as 16/B374D848, found {text:?}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_trimmed_negated_and_overridden() {
        assert_eq!(Flags::parse("").unwrap(), Flags::default());
        let flags = Flags::parse(
            " no_date_as_date ,, multidimensional_arrays, skip_prerequisites,no_skip_prerequisites",
        )
        .unwrap();
        let expected = Flags {
            date_as_date: false,
            multidimensional_arrays: true,
            ..Flags::default()
        };
        assert_eq!(flags, expected);
    }

    #[test]
    fn each_switch_can_be_turned_on_and_off() {
        for (name, _) in SWITCHES {
            let on = Flags::parse(name).unwrap();
            let off = Flags::parse(&format!("{name},no_{name}")).unwrap();
            assert_ne!(on, off, "{name}");
            assert!(on.unknown.is_empty() && off.unknown.is_empty(), "{name}");
            assert_eq!(
                Flags::parse(&format!("no_{name},{name}")).unwrap(),
                on,
                "{name}"
            );
        }
    }

    #[test]
    fn unknown_flags_are_kept_and_have_no_effect() {
        let flags = Flags::parse("no_such_thing,other=1").unwrap();
        assert_eq!(flags.unknown, ["no_such_thing", "other=1"]);
        assert_eq!(
            Flags {
                unknown: Vec::new(),
                ..flags
            },
            Flags::default()
        );
    }

    #[test]
    fn flags_with_a_position_are_parsed() {
        let flags =
            Flags::parse("initial_backfill_cursor=0/1A, force_reset_cursor=16/B374D848").unwrap();
        assert_eq!(flags.initial_backfill_cursor, Some(Lsn::from(0x1A)));
        assert_eq!(flags.force_reset_cursor, Some(Lsn::from(0x16_B374_D848)));
        let cleared = Flags::parse("force_reset_cursor=0/1,no_force_reset_cursor").unwrap();
        assert_eq!(cleared, Flags::default());
        for list in [
            "force_reset_cursor",
            "force_reset_cursor=",
            "initial_backfill_cursor=12",
        ] {
            let error = Flags::parse(list).unwrap_err().to_string();
            assert!(error.starts_with("feature flag '"), "{error}");
        }
    }
}
