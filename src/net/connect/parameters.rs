//! Startup parameters of a session.

use super::config::{ConnectConfig, Purpose};

impl ConnectConfig {
    /// Returns the startup parameters. Settings that change the text form of values are fixed,
    /// except TimeZone and lc_monetary, which keep the values of the server: existing documents
    /// hold values in that form.
    pub(super) fn parameters(&self, purpose: Purpose) -> Vec<(String, String)> {
        let mut parameters = vec![
            ("application_name", "estuary_flow".to_owned()),
            ("client_encoding", "UTF8".to_owned()),
            ("DateStyle", "ISO".to_owned()),
            ("IntervalStyle", "postgres".to_owned()),
            ("bytea_output", "hex".to_owned()),
            ("extra_float_digits", "3".to_owned()),
            // A write of the connector must never wait for a synchronous standby: the capture has
            // to see commits that wait for one.
            ("synchronous_commit", "local".to_owned()),
            ("tcp_keepalives_idle", "120".to_owned()),
            ("tcp_keepalives_interval", "30".to_owned()),
            ("tcp_keepalives_count", "6".to_owned()),
        ];
        match purpose {
            Purpose::Query => {
                let timeout = self
                    .statement_timeout
                    .map_or(0, |timeout| timeout.as_millis());
                parameters.push(("statement_timeout", timeout.to_string()));
                parameters.push(("max_parallel_workers_per_gather", "0".to_owned()));
            }
            Purpose::Replication => parameters.push(("replication", "database".to_owned())),
        }
        parameters
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}
