//! Feature flags: details that can be switched while they are settling, and positions to start from
//! in an emergency.

use protocol::Lsn;

use super::members::configuration;
use crate::error::Result;

/// The settings of `advanced.feature_flags`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flags {
    /// Collections get `x-infer-schema`.
    pub use_schema_inference: bool,
    /// Sourced schemas are sent.
    pub emit_sourced_schemas: bool,
    /// `date` is captured as a date, not as a time stamp.
    pub date_as_date: bool,
    /// `time` is captured as a time, not as microseconds.
    pub time_as_time: bool,
    /// Arrays are nested as deep as they have dimensions. Wins over `flatten_arrays`.
    pub multidimensional_arrays: bool,
    /// Arrays lose their dimensions; otherwise they become objects.
    pub flatten_arrays: bool,
    /// The slot is created, and dropped for a fresh start.
    pub create_replication_slot: bool,
    /// Nothing is checked beforehand, and nothing created.
    pub skip_prerequisites: bool,
    /// Tables are not checked beforehand, nor added to the publication.
    pub skip_table_prerequisites: bool,
    /// Large transactions are taken while they are in progress, from servers that can send them.
    pub stream_in_progress: bool,
    /// Where to start if there is no cursor.
    pub initial_backfill_cursor: Option<Lsn>,
    /// Where to start in any case.
    pub force_reset_cursor: Option<Lsn>,
    /// Flags that mean nothing to this version, as they were given.
    pub unknown: Vec<String>,
}

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
    /// Parses a comma-separated list. A later entry wins over an earlier one.
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
            if let Some(flag) = flags.boolean(name) {
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

    fn boolean(&mut self, name: &str) -> Option<&mut bool> {
        Some(match name {
            "use_schema_inference" => &mut self.use_schema_inference,
            "emit_sourced_schemas" => &mut self.emit_sourced_schemas,
            "date_as_date" => &mut self.date_as_date,
            "time_as_time" => &mut self.time_as_time,
            "multidimensional_arrays" => &mut self.multidimensional_arrays,
            "flatten_arrays" => &mut self.flatten_arrays,
            "create_replication_slot" => &mut self.create_replication_slot,
            "skip_prerequisites" => &mut self.skip_prerequisites,
            "skip_table_prerequisites" => &mut self.skip_table_prerequisites,
            "stream_in_progress" => &mut self.stream_in_progress,
            _ => return None,
        })
    }

    fn position(&mut self, name: &str) -> Option<&mut Option<Lsn>> {
        match name {
            "initial_backfill_cursor" => Some(&mut self.initial_backfill_cursor),
            "force_reset_cursor" => Some(&mut self.force_reset_cursor),
            _ => None,
        }
    }
}

fn parse_position(name: &str, text: &str) -> Result<Lsn> {
    text.parse().map_err(|_| {
        configuration(format!(
            "feature flag '{name}' must be a position in the log such as 16/B374D848, found {text:?}"
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
        let due = Flags {
            date_as_date: false,
            multidimensional_arrays: true,
            ..Flags::default()
        };
        assert_eq!(flags, due);
    }

    #[test]
    fn each_flag_is_known_in_both_directions() {
        for name in [
            "use_schema_inference",
            "emit_sourced_schemas",
            "date_as_date",
            "time_as_time",
            "multidimensional_arrays",
            "flatten_arrays",
            "create_replication_slot",
            "skip_prerequisites",
            "skip_table_prerequisites",
            "stream_in_progress",
        ] {
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
    fn unknown_flags_are_kept_and_mean_nothing() {
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
    fn value_flags_hold_positions() {
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
