//! The periodic work that is due.

use crate::capture::session::Session;
use crate::capture::sink::Sink;
use crate::capture::stream::ChangeStream;
use crate::error::Result;

impl<S: Sink> Session<S> {
    /// Does the work that is due.
    pub(in crate::capture) async fn run_due(&mut self, changes: &mut ChangeStream) -> Result<()> {
        if self.upkeep.is_check_due() {
            self.check_server().await?;
        }
        if self.upkeep.take_due_rediscovery() {
            // The catalogs' answers about a table may wait for a session that waits for the lock of
            // a span.
            self.end_spans().await?;
            self.rediscover(changes).await?;
        }
        self.log_progress(changes);
        Ok(())
    }
}
