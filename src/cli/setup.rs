//! SQL that prepares a database for a capture, with the steps outside of SQL as comments.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use clap::ValueEnum;
use protocol::{quote_identifier, quote_literal};

/// Prints the SQL that prepares a database for a capture, for a given platform.
///
/// Comments describe the steps outside of SQL, such as in the console of the
/// platform. Replace the password, then run the statements as an administrator in
/// the database to capture from.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Arguments {
    /// Platform that the database runs on
    #[arg(long, value_enum)]
    platform: Platform,
    /// User that the capture logs in as
    #[arg(long, default_value = "flow_capture")]
    user: String,
    /// Name of the publication
    #[arg(long, default_value = "flow_publication")]
    publication: String,
    /// Table to capture, as schema.table; may be repeated
    #[arg(long = "table", value_name = "SCHEMA.TABLE")]
    tables: Vec<String>,
    /// Major version of the server
    #[arg(long = "server-version", default_value_t = 17, value_parser = clap::value_parser!(u32).range(10..))]
    version: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Platform {
    SelfHosted,
    Rds,
    Aurora,
    CloudSql,
    Azure,
    Supabase,
    Neon,
}

impl Arguments {
    /// Prints the SQL to standard output.
    pub(super) fn print(&self) -> ExitCode {
        match std::io::stdout().write_all(self.sql().as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        }
    }

    fn sql(&self) -> String {
        let mut sql = String::new();
        write_comments(&mut sql, self.platform.steps_before());
        sql.push('\n');
        self.write_user(&mut sql);
        self.write_grants(&mut sql);
        self.write_watermarks_table(&mut sql);
        self.write_publication(&mut sql);
        if self.platform == Platform::SelfHosted {
            write_wal_level(&mut sql);
        }
        let notes_after = self.platform.notes_after();
        if !notes_after.is_empty() {
            sql.push('\n');
        }
        write_comments(&mut sql, notes_after);
        sql
    }

    fn write_user(&self, sql: &mut String) {
        let user = quote_identifier(&self.user);
        let _ = match self.platform {
            Platform::Neon => Ok(()),
            Platform::Rds | Platform::Aurora => writeln!(
                sql,
                "CREATE USER {user} WITH PASSWORD 'secret';\n\
                 GRANT rds_replication TO {user};"
            ),
            _ => writeln!(
                sql,
                "CREATE USER {user} WITH REPLICATION PASSWORD 'secret';"
            ),
        };
    }

    fn write_grants(&self, sql: &mut String) {
        let user = quote_identifier(&self.user);
        if self.version >= 14 {
            let _ = writeln!(sql, "GRANT pg_read_all_data TO {user};");
        } else {
            for schema in self.schemas() {
                let schema = quote_identifier(&schema);
                let _ = writeln!(
                    sql,
                    "GRANT USAGE ON SCHEMA {schema} TO {user};\n\
                     GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {user};\n\
                     ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {user};"
                );
            }
        }
        let _ = writeln!(
            sql,
            "-- Shows the capture which open transactions it does not have to wait for.\n\
             GRANT pg_read_all_stats TO {user};\n"
        );
    }

    fn write_watermarks_table(&self, sql: &mut String) {
        let user = quote_identifier(&self.user);
        let _ = writeln!(
            sql,
            "CREATE TABLE IF NOT EXISTS public.flow_watermarks \
             (slot TEXT PRIMARY KEY, watermark TEXT);\n\
             GRANT ALL PRIVILEGES ON TABLE public.flow_watermarks TO {user};\n"
        );
    }

    fn write_publication(&self, sql: &mut String) {
        let publication = quote_identifier(&self.publication);
        let _ = writeln!(sql, "CREATE PUBLICATION {publication};");
        if self.version >= 13 {
            let _ = writeln!(
                sql,
                "-- Publishes changes of partitions under the name of the partitioned table.\n\
                 ALTER PUBLICATION {publication} SET (publish_via_partition_root = true);"
            );
        }
        let mut tables = vec!["public.flow_watermarks".to_owned()];
        tables.extend(self.tables.iter().map(|table| match table.split_once('.') {
            Some((schema, name)) => {
                format!("{}.{}", quote_identifier(schema), quote_identifier(name))
            }
            None => quote_identifier(table),
        }));
        let _ = writeln!(
            sql,
            "ALTER PUBLICATION {publication} ADD TABLE {};",
            tables.join(", ")
        );
        if self.tables.is_empty() {
            let _ = writeln!(
                sql,
                "-- Add the tables to capture: ALTER PUBLICATION {publication} ADD TABLE ...;"
            );
        }
    }

    /// Returns the schemas of the tables, and `public`.
    fn schemas(&self) -> Vec<String> {
        let mut schemas: Vec<_> = self
            .tables
            .iter()
            .filter_map(|table| Some(table.split_once('.')?.0.to_owned()))
            .collect();
        schemas.push("public".to_owned());
        schemas.sort();
        schemas.dedup();
        schemas
    }
}

impl Platform {
    /// Returns the steps to take before the statements.
    fn steps_before(self) -> &'static [&'static str] {
        match self {
            Self::SelfHosted => &[
                "pg_hba.conf needs a line for the user, such as:",
                "hostssl all flow_capture 0.0.0.0/0 scram-sha-256",
            ],
            Self::Rds => &[
                "In the parameter group of the instance set rds.logical_replication = 1, and",
                "reboot. The security group has to allow connections of the capture.",
            ],
            Self::Aurora => &[
                "Create a DB cluster parameter group with rds.logical_replication = 1, assign it",
                "to the cluster, and reboot the writer. Run these statements on the writer.",
            ],
            Self::CloudSql => &[
                "Set the flag cloudsql.logical_decoding = on, which restarts the instance, and",
                "add the addresses of the capture to the authorized networks.",
            ],
            Self::Azure => &[
                "In the server parameters set wal_level = LOGICAL (on a single server:",
                "azure.replication_support = LOGICAL), restart, and allow the addresses of the",
                "capture in the firewall.",
            ],
            Self::Supabase => &["wal_level is logical by default."],
            Self::Neon => &[
                "Enable logical replication in the settings of the project. Create the user in the",
                "console (Roles): users created by SQL cannot use replication there.",
            ],
        }
    }

    /// Returns notes on the configuration of the capture.
    fn notes_after(self) -> &'static [&'static str] {
        match self {
            Self::SelfHosted => &[],
            Self::Rds => &[
                "address: the Endpoint and Port of the instance. Those of a read replica work only",
                "if it runs PostgreSQL 16 or later and advanced.read_only_capture is set.",
            ],
            Self::Aurora => &[
                "address: the writer endpoint of the cluster; readers cannot replicate logically.",
            ],
            Self::CloudSql => &[
                "address: the public IP address. The certificate names no host: use",
                "advanced.sslmode \"verify-ca\" with the server CA of the instance in",
                "advanced.sslrootcert.",
            ],
            Self::Azure => &[
                "address: the Server Name with port 5432. On a single server the user is",
                "user@servername.",
            ],
            Self::Supabase => &[
                "address: db.<project>.supabase.co:5432, the direct connection. The poolers",
                "(*.pooler.supabase.com, port 6543) cannot replicate. It has an IPv6 address",
                "only, unless the project has the IPv4 add-on.",
            ],
            Self::Neon => &[
                "address: the host without \"-pooler\" in its name. Use advanced.sslmode",
                "\"verify-full\".",
            ],
        }
    }
}

fn write_comments(sql: &mut String, lines: &[&str]) {
    for line in lines {
        let _ = writeln!(sql, "-- {line}");
    }
}

fn write_wal_level(sql: &mut String) {
    let _ = writeln!(
        sql,
        "\n-- Takes effect when the server is restarted.\n\
         ALTER SYSTEM SET wal_level = {};",
        quote_literal("logical")
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(platform: Platform, version: u32) -> Arguments {
        Arguments {
            platform,
            user: "flow_capture".to_owned(),
            publication: "flow_publication".to_owned(),
            tables: vec!["shop.Orders".to_owned()],
            version,
        }
    }

    #[test]
    fn each_platform_gets_its_own_statements() {
        for platform in Platform::value_variants() {
            let sql = setup(*platform, 17).sql();
            let is_amazon = matches!(platform, Platform::Rds | Platform::Aurora);
            assert_eq!(sql.contains("GRANT rds_replication"), is_amazon);
            assert_eq!(
                sql.contains("ALTER SYSTEM"),
                *platform == Platform::SelfHosted
            );
            assert!(
                sql.contains("ADD TABLE public.flow_watermarks, \"shop\".\"Orders\";"),
                "{sql}"
            );
            assert!(sql.contains("pg_read_all_data"));
        }
    }

    #[test]
    fn old_versions_get_statements_that_they_support() {
        let sql = setup(Platform::SelfHosted, 12).sql();
        assert!(!sql.contains("pg_read_all_data") && !sql.contains("publish_via"));
        assert!(sql.contains("GRANT SELECT ON ALL TABLES IN SCHEMA \"shop\" TO \"flow_capture\";"));
        assert!(sql.contains("IN SCHEMA \"public\""));
    }
}
