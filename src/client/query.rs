//! Queries and replication commands, whose results own their values.

use protocol::{Event, Format};

use super::report::{log_notice, server_error, unsendable};
use super::rows::{FieldInfo, Row, Rows};
use crate::error::{Error, ErrorKind, Result};
use crate::net::{ConnectConfig, Connection, Purpose, ReplicationReader, ReplicationWriter};

/// A connection for queries and replication commands, one at a time.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
}

impl Client {
    /// Connects to the server.
    ///
    /// # Errors
    ///
    /// Fails as [`ConnectConfig::connect`] does.
    pub async fn connect(config: &ConnectConfig, purpose: Purpose) -> Result<Self> {
        Ok(Self {
            connection: config.connect(purpose).await?,
        })
    }

    /// Returns the connection, to read rows without a copy.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Closes the connection while the server may still be executing a statement, and asks the
    /// server to cancel it. See [`Connection::give_up`].
    pub fn give_up(self) {
        self.connection.give_up();
    }

    /// Returns the value of a run-time parameter that the server has reported.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.connection.facts().parameter(name)
    }

    /// Returns the process ID of the server process for this connection.
    pub fn process_id(&self) -> Option<protocol::ProcessId> {
        self.connection.facts().process_id()
    }

    /// Returns the server's version in the form of `server_version_num`: 150018 is 15.18. Returns
    /// zero if the server has not reported a version, or one that cannot be parsed.
    pub fn server_version_num(&self) -> u32 {
        self.parameter("server_version").map_or(0, version_num)
    }

    /// Runs one statement with parameters in text form; `None` is NULL.
    ///
    /// # Errors
    ///
    /// Fails with the server's error, or if the connection is lost.
    pub async fn query(&mut self, sql: &str, parameters: &[Option<&str>]) -> Result<Rows> {
        self.queue(sql, parameters.iter().copied())?;
        Ok(self.collect().await??.pop().unwrap_or_default())
    }

    /// Runs one statement.
    ///
    /// # Errors
    ///
    /// Fails with the server's error, or if the connection is lost.
    pub async fn run(&mut self, statement: &Statement) -> Result<Rows> {
        let Statement { sql, parameters } = statement;
        self.queue(sql, parameters.iter().map(Option::as_deref))?;
        Ok(self.collect().await??.pop().unwrap_or_default())
    }

    /// Runs independent statements in one round trip. Each is a transaction of its own, and an
    /// error in one does not affect the others. If the future is dropped before it completes, the
    /// connection must be dropped too.
    ///
    /// # Errors
    ///
    /// Fails if the connection is lost.
    pub async fn query_each<const N: usize>(
        &mut self,
        statements: [Statement; N],
    ) -> Result<[Result<Rows>; N]> {
        let mut answers = self.query_all(&statements).await?.into_iter();
        Ok(std::array::from_fn(|_| {
            answers.next().unwrap_or_else(|| Ok(Rows::default()))
        }))
    }

    /// Runs independent statements, like [`Client::query_each`], for a number that is not known
    /// when compiling. All are sent before the first answer is read, so they must be few or short:
    /// else client and server would wait for each other.
    ///
    /// # Errors
    ///
    /// Fails if the connection is lost.
    pub async fn query_all(&mut self, statements: &[Statement]) -> Result<Vec<Result<Rows>>> {
        for Statement { sql, parameters } in statements {
            self.queue(sql, parameters.iter().map(Option::as_deref))?;
        }
        let mut answers = Vec::with_capacity(statements.len());
        for _ in statements {
            let results = self.collect().await?;
            answers.push(results.map(|mut results| results.pop().unwrap_or_default()));
        }
        Ok(answers)
    }

    /// Queues the messages of a statement in a transaction of its own.
    fn queue<'p>(
        &mut self,
        sql: &str,
        parameters: impl Iterator<Item = Option<&'p str>>,
    ) -> Result<()> {
        let session = self.connection.session();
        let parameters: Vec<_> = parameters.map(|text| text.map(str::as_bytes)).collect();
        session.parse("", sql, &[]).map_err(unsendable)?;
        session
            .bind("", "", &parameters, Format::Text)
            .map_err(unsendable)?;
        session.describe_portal("").map_err(unsendable)?;
        session.execute("", 0).map_err(unsendable)?;
        session.sync().map_err(unsendable)
    }

    /// Runs statements separated by semicolons, without parameters, or a replication command.
    ///
    /// # Errors
    ///
    /// Fails with the server's error, or if the connection is lost.
    pub async fn execute_script(&mut self, sql: &str) -> Result<Vec<Rows>> {
        self.connection.session().query(sql).map_err(unsendable)?;
        self.collect().await?
    }

    /// Collects results up to the next ReadyForQuery. The inner result has the server's error in a
    /// statement, after which the connection can be used again; the outer one has the loss of the
    /// connection.
    async fn collect(&mut self) -> Result<Result<Vec<Rows>>> {
        self.connection.send().await?;
        let mut results = Vec::new();
        let mut rows = Rows::default();
        let mut failure = None;
        loop {
            match self.connection.event().await? {
                Event::RowDescription(description) => rows.columns = FieldInfo::list(&description),
                Event::DataRow(row) => rows.rows.push(Row::new(&row)?),
                Event::CommandComplete(tag) => {
                    rows.tag = tag.to_owned();
                    results.push(std::mem::take(&mut rows));
                }
                Event::EmptyQueryResponse => results.push(std::mem::take(&mut rows)),
                Event::Error(report) if report.severity().ends_session() => {
                    return Err(server_error(report.into_owned()));
                }
                Event::Error(report) => failure = Some(report.into_owned()),
                Event::Notice(report) => log_notice(&report),
                Event::Ready(_) => break,
                Event::CopyOut(_) | Event::CopyIn(_) | Event::CopyBoth(_) => {
                    return Err(Error::new(
                        ErrorKind::Internal,
                        "a COPY statement was run as a query",
                    ));
                }
                _ => {}
            }
        }
        Ok(failure.map_or(Ok(results), |report| Err(server_error(report))))
    }

    /// Sends Terminate to end the session. An error is ignored.
    pub async fn terminate(&mut self) {
        if self.connection.session().terminate().is_ok() {
            let _ = self.connection.send().await;
        }
    }

    /// Starts streaming with a START_REPLICATION command. The connection cannot be used for
    /// anything else afterwards.
    ///
    /// # Errors
    ///
    /// Fails with the server's error, or if the connection is lost.
    pub async fn start_replication(
        mut self,
        command: &str,
    ) -> Result<(ReplicationReader, ReplicationWriter)> {
        self.connection
            .session()
            .query(command)
            .map_err(unsendable)?;
        self.connection.send().await?;
        loop {
            match self.connection.event().await? {
                Event::CopyBoth(_) => {
                    return self.connection.into_replication().map_err(unsendable);
                }
                Event::Error(report) => return Err(server_error(report.into_owned())),
                Event::Notice(report) => log_notice(&report),
                Event::Ready(_) => {
                    return Err(Error::new(
                        ErrorKind::Protocol,
                        "the server neither started streaming nor reported an error",
                    ));
                }
                _ => {}
            }
        }
    }
}

/// A statement with its parameters in text form; `None` is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    sql: String,
    parameters: Vec<Option<String>>,
}

impl Statement {
    /// Returns a statement with these parameters.
    pub fn new(sql: impl Into<String>, parameters: &[Option<&str>]) -> Self {
        Self {
            sql: sql.into(),
            parameters: parameters
                .iter()
                .map(|text| text.map(str::to_owned))
                .collect(),
        }
    }
}

/// Parses a version such as `15.18 (Debian 15.18-0+deb12u1)`, `9.6.24` or `18beta1`.
fn version_num(text: &str) -> u32 {
    let mut parts = text
        .trim_start_matches('v')
        .split(|c: char| !c.is_ascii_digit());
    let mut next = || parts.next().and_then(|part| part.parse::<u32>().ok());
    let major = next().unwrap_or(0);
    let minor = if text.contains('.') {
        next().unwrap_or(0)
    } else {
        0
    };
    if major >= 10 {
        major.saturating_mul(10_000).saturating_add(minor)
    } else {
        let patch = next().unwrap_or(0);
        major * 10_000 + minor.min(99) * 100 + patch.min(99)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_parsed_into_the_form_of_server_version_num() {
        for (text, number) in [
            ("15.18 (Debian 15.18-0+deb12u1)", 150_018),
            ("10.23", 100_023),
            ("18beta1", 180_000),
            ("9.6.24", 90_624),
            ("v16.2", 160_002),
            ("none", 0),
        ] {
            assert_eq!(version_num(text), number, "{text}");
        }
    }
}
