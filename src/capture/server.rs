//! The server as the session knows it: the connection for queries, and the facts that it answers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::{Lsn, Oid};
use tracing::debug;

use crate::backfill::{Snapshot, commit_and_read_snapshot, read_snapshot};
use crate::catalog::{
    ServerFacts, TableId, commit_empty_transaction, complete_types, is_standby, write_watermark,
};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::net::{ConnectConfig, Purpose};
use crate::value::TypeRegistry;

/// The server of a session.
#[derive(Debug)]
pub(super) struct Server {
    connect: ConnectConfig,
    client: Client,
    types: TypeRegistry,
    facts: ServerFacts,
    /// Table for watermarks, under its real name; `None` where nothing is to be written.
    watermarks: Option<TableId>,
}

impl Server {
    /// Takes over the connection for queries and the facts that were read over it.
    pub(super) fn new(
        connect: ConnectConfig,
        client: Client,
        types: TypeRegistry,
        facts: ServerFacts,
        watermarks: Option<TableId>,
    ) -> Self {
        Self {
            connect,
            client,
            types,
            facts,
            watermarks,
        }
    }

    /// Returns the connection for queries.
    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Returns the connection for queries, and the data types that are known.
    pub(super) fn client_and_types(&mut self) -> (&mut Client, &TypeRegistry) {
        (&mut self.client, &self.types)
    }

    /// Returns the parameters of connections to the server.
    pub(super) fn connect_config(&self) -> &ConnectConfig {
        &self.connect
    }

    /// Returns the version of the server, such as 150004.
    pub(super) fn version(&self) -> u32 {
        self.client.server_version_num()
    }

    /// Returns the data types that are known.
    pub(super) fn types(&self) -> &TypeRegistry {
        &self.types
    }

    /// Returns whether the server is a standby, on which nothing can be written.
    pub(super) fn is_standby(&self) -> bool {
        self.facts.standby
    }

    /// Returns the time after which the server ends a silent replication connection; zero for
    /// never.
    pub(super) fn wal_sender_timeout(&self) -> Duration {
        self.facts.wal_sender_timeout
    }

    /// Replaces the connection for queries by a new one.
    pub(super) async fn reconnect(&mut self) -> Result<()> {
        self.client = Client::connect(&self.connect, Purpose::Query).await?;
        Ok(())
    }

    /// Looks up the data types that are not known yet.
    pub(super) async fn complete_types(
        &mut self,
        types: impl IntoIterator<Item = Oid>,
    ) -> Result<()> {
        complete_types(&mut self.client, &mut self.types, types).await
    }

    /// Takes a snapshot.
    pub(super) async fn snapshot(&mut self) -> Result<Snapshot> {
        read_snapshot(&mut self.client, self.facts.standby).await
    }

    /// Takes a snapshot in which every transaction that was streamed before is either contained or
    /// listed as running.
    pub(super) async fn snapshot_after_streamed(&mut self) -> Result<Snapshot> {
        if self.facts.standby {
            return self.snapshot().await;
        }
        let is_flushed = self.watermarks.is_some();
        commit_and_read_snapshot(&mut self.client, is_flushed).await
    }

    /// Returns the fence for `position`: a stream that has reached it has passed `position`. The
    /// end of the log can be reported as the first byte after the header of a page, where no record
    /// ends; it is moved back to before that header.
    pub(super) fn fence_at(&self, position: Lsn) -> Lsn {
        before_page_header(position, self.facts.wal_block_size)
    }

    /// Advances the WAL of the server, so that commits before a fence are flushed and a record
    /// after the fence is streamed.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost, or the standby was promoted.
    pub(super) async fn advance_wal(&mut self, slot: &str) -> Result<()> {
        if let Some(table) = &self.watermarks {
            // The value only has to differ from the last one.
            let elapsed = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let mark = elapsed.as_micros().to_string();
            return write_watermark(&mut self.client, table, slot, &mark).await;
        }
        if self.facts.standby {
            if !is_standby(&mut self.client).await? {
                return Err(Error::new(
                    ErrorKind::Connection,
                    "the standby was promoted: the capture connects again, to a primary now",
                ));
            }
        } else if let Err(error) = commit_empty_transaction(&mut self.client).await {
            // Where the role may not commit such a transaction, the background writer advances WAL.
            if error.sqlstate().is_none() {
                return Err(error);
            }
            debug!(%error, "WAL of the server cannot be advanced");
        }
        Ok(())
    }
}

fn before_page_header(position: Lsn, page: u64) -> Lsn {
    const SHORT_HEADER: u64 = 24;
    const LONG_HEADER: u64 = 40;
    let offset = position.as_u64() % page.max(1);
    if offset == SHORT_HEADER || offset == LONG_HEADER {
        Lsn::from(position.as_u64() - offset)
    } else {
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_after_a_page_header_is_that_before_it() {
        for (position, fence) in [
            (0x2000, 0x2000),
            (0x2018, 0x2000),
            (0x2028, 0x2000),
            (0x2020, 0x2020),
            (0x2030, 0x2030),
            (0x1ff8, 0x1ff8),
        ] {
            assert_eq!(
                before_page_header(Lsn::from(position), 8192),
                Lsn::from(fence)
            );
        }
        // A server that was built with another page size, and one that does not tell it.
        assert_eq!(
            before_page_header(Lsn::from(0x2018), 16384),
            Lsn::from(0x2018)
        );
        assert_eq!(before_page_header(Lsn::from(0x2018), 0), Lsn::from(0x2018));
    }
}
