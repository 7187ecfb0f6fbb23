//! Checks of the server: version, wal_level, the user's privileges, and whether it accepts writes.

use protocol::quote_identifier;

use super::report::Report;
use crate::client::{Rows, Statement};
use crate::error::Result;

/// Oldest version that has logical replication with pgoutput.
const OLDEST_VERSION: u32 = 100_000;

/// First version that supports logical decoding on standbys.
const STANDBY_DECODING: u32 = 160_000;

/// Facts about the session and its server that the checks need.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) version: u32,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) wal_level: String,
    /// Whether the server is a standby, which accepts no writes.
    pub(super) in_recovery: bool,
    pub(super) may_replicate: bool,
    /// Whether the server is one of Amazon's, where roles and parameters are set in other ways.
    pub(super) is_rds: bool,
}

/// REPLICATION is an attribute of the role itself and is not inherited by membership. Where the
/// provider lets no user set it, membership in one of the provider's roles replaces it.
const SELECT_FACTS: &str = "\
SELECT session_user, current_database(), current_setting('wal_level'), pg_is_in_recovery(),
       COALESCE(r.rolsuper OR r.rolreplication, false) OR EXISTS (
         SELECT FROM pg_catalog.pg_roles AS g
         WHERE g.rolname IN ('rds_replication', 'rds_superuser')
           AND pg_has_role(session_user, g.oid, 'MEMBER')),
       EXISTS (SELECT FROM pg_catalog.pg_roles AS g WHERE g.rolname = 'rds_replication')
FROM (SELECT) AS one
LEFT JOIN pg_catalog.pg_roles AS r ON r.rolname = session_user";

pub(super) fn facts_statement() -> Statement {
    Statement::new(SELECT_FACTS, &[])
}

pub(super) fn parse_facts(rows: &Rows, version: u32) -> Result<Facts> {
    let row = rows.one()?;
    Ok(Facts {
        version,
        user: row.text(0)?.to_owned(),
        database: row.text(1)?.to_owned(),
        wal_level: row.text(2)?.to_owned(),
        in_recovery: row.bool(3)?,
        may_replicate: row.bool(4)?,
        is_rds: row.bool(5)?,
    })
}

pub(super) fn check_version(version: u32, report: &mut Report) {
    if version == 0 {
        report.warn("the server's version cannot be determined; it is taken for 10.0 or later");
    } else if version < OLDEST_VERSION {
        report.fail(format!(
            "the server's version is {}.{}, and the oldest that can be captured is 10.0",
            version / 10_000,
            version / 100 % 100,
        ));
    }
}

pub(super) fn check_server(facts: &Facts, writes: bool, report: &mut Report) {
    let Facts {
        user, wal_level, ..
    } = facts;
    if wal_level != "logical" {
        let remedy = if facts.is_rds {
            "set rds.logical_replication = 1 in the parameter group and reboot"
        } else {
            "run ALTER SYSTEM SET wal_level = logical; and restart the server"
        };
        report.fail(format!(
            "wal_level is {wal_level:?} and has to be \"logical\": {remedy}"
        ));
    }
    if !facts.may_replicate {
        let role = quote_identifier(user);
        let remedy = if facts.is_rds {
            format!("GRANT rds_replication TO {role};")
        } else {
            format!("ALTER ROLE {role} WITH REPLICATION;")
        };
        report.fail(format!(
            "user {user:?} does not have the right to replicate: {remedy}"
        ));
    }
    if facts.in_recovery {
        // An unknown version (0) is not refused.
        if (1..STANDBY_DECODING).contains(&facts.version) {
            report.fail(
                "the server is a standby, and standbys can be captured from version 16 on: \
                 capture from the primary",
            );
        }
        if writes {
            report.fail(
                "the server is a standby, which takes no writes: set advanced.read_only_capture, \
                 or capture from the primary",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            version: 150_018,
            user: "flow \"capture".to_owned(),
            database: "shop".to_owned(),
            wal_level: "logical".to_owned(),
            in_recovery: false,
            may_replicate: true,
            is_rds: false,
        }
    }

    fn failures(facts: &Facts, writes: bool) -> Vec<String> {
        let mut report = Report::default();
        check_server(facts, writes, &mut report);
        report.failures
    }

    #[test]
    fn old_versions_fail_and_an_unknown_version_gives_a_warning() {
        let check = |version| {
            let mut report = Report::default();
            check_version(version, &mut report);
            (report.failures.pop(), report.warnings.len())
        };
        assert_eq!(check(100_000), (None, 0));
        assert_eq!(check(0), (None, 1));
        let failure = check(90_624).0.unwrap();
        assert!(failure.contains("is 9.6,"), "{failure}");
    }

    #[test]
    fn each_failure_states_its_remedy() {
        assert!(failures(&facts(), true).is_empty());
        let poor = Facts {
            wal_level: "replica".into(),
            may_replicate: false,
            ..facts()
        };
        let found = failures(&poor, true);
        assert_eq!(found.len(), 2);
        assert!(
            found[0].contains("ALTER SYSTEM SET wal_level = logical;"),
            "{}",
            found[0]
        );
        assert!(
            found[1].contains(r#"ALTER ROLE "flow ""capture" WITH REPLICATION;"#),
            "{}",
            found[1]
        );
        let rds = failures(
            &Facts {
                is_rds: true,
                ..poor
            },
            true,
        );
        assert!(rds[0].contains("rds.logical_replication"), "{}", rds[0]);
        assert!(rds[1].contains("GRANT rds_replication TO"), "{}", rds[1]);
    }

    #[test]
    fn a_standby_is_read_only_and_needs_version_16() {
        let standby = Facts {
            in_recovery: true,
            ..facts()
        };
        assert_eq!(failures(&standby, true).len(), 2);
        assert_eq!(failures(&standby, false).len(), 1);
        let newer = Facts {
            version: 160_000,
            ..standby
        };
        assert!(failures(&newer, true)[0].contains("read_only_capture"));
        assert!(failures(&newer, false).is_empty());
    }
}
