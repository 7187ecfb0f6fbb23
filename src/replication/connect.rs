//! Connections for streams.

use tracing::{debug, info};

use crate::client::Client;
use crate::error::Result;
use crate::net::{ConnectConfig, Purpose};

/// Memory of the server's that one stream may take for transactions under way, in kB, unless it is
/// configured. It is the user's server: enough that most transactions stay there until they have
/// committed, and not more.
const DEFAULT_DECODING_MEMORY: u32 = 256 * 1024;

/// Connects to read a slot. `decoding_memory` is what the server may use to decode its log for this
/// connection, in kB; `None` to choose.
///
/// # Errors
///
/// Fails as [`Client::connect`] does, or when the connection is lost.
pub async fn connect(config: &ConnectConfig, decoding_memory: Option<u32>) -> Result<Client> {
    let mut client = Client::connect(config, Purpose::Replication).await?;
    set_decoding_memory(&mut client, decoding_memory).await?;
    Ok(client)
}

/// Lets the server hold more of a large transaction in memory for this session. Beyond that it writes
/// the transaction to disk and reads it again, or sends it while it is in progress, to be kept here
/// until it commits. What the server has for everybody stands where that is more. Without a configured
/// number of kB one is chosen.
///
/// # Errors
///
/// Fails when the connection is lost.
pub async fn set_decoding_memory(client: &mut Client, configured: Option<u32>) -> Result<()> {
    const SETTING: &str = "logical_decoding_work_mem";
    if client.server_version_num() < 130_000 {
        return Ok(());
    }
    let set = |kilobytes| format!("SELECT set_config('{SETTING}', '{kilobytes}kB', false)");
    let sql = match configured {
        Some(kilobytes) => set(kilobytes),
        None => format!(
            "{} FROM pg_settings WHERE name = '{SETTING}' AND setting::bigint < {DEFAULT_DECODING_MEMORY}",
            set(DEFAULT_DECODING_MEMORY)
        ),
    };
    match client.execute_script(&sql).await {
        Ok(results) => match results.iter().find_map(|rows| rows.rows.first()) {
            Some(row) => info!(
                logical_decoding_work_mem = row.text(0)?,
                "memory for decoding is set for this session"
            ),
            None => debug!("{SETTING} of the server is more than would be asked for"),
        },
        Err(error) if error.sqlstate().is_some() => {
            info!(error = %error, "{SETTING} stays as it is");
        }
        Err(error) => return Err(error),
    }
    Ok(())
}
