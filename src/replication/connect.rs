//! Connections for the replication stream.

use tracing::{debug, info};

use crate::client::Client;
use crate::error::Result;
use crate::net::{ConnectConfig, Purpose};

/// Default of the memory in kB that the server may use for transactions of one stream that have not
/// committed. It is enough for most transactions to stay in memory until they commit, and no more,
/// since the server is the user's.
const DEFAULT_DECODING_MEMORY: u32 = 256 * 1024;

/// Connects to read a slot. `decoding_memory` is the memory in kB that the server may use to decode
/// its log for this connection; `None` for the default.
///
/// # Errors
///
/// Fails as [`Client::connect`] does, or when the connection is lost.
pub async fn connect(config: &ConnectConfig, decoding_memory: Option<u32>) -> Result<Client> {
    let mut client = Client::connect(config, Purpose::Replication).await?;
    set_decoding_memory(&mut client, decoding_memory).await?;
    Ok(client)
}

/// Sets `logical_decoding_work_mem` for this session. A transaction that exceeds it is written to
/// the server's disk, or streamed while it is in progress and spooled here. Without a configured
/// number of kB the default of this connector is set, unless the server's own setting is larger.
/// Servers before version 13 do not have the setting.
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
            "{} FROM pg_settings WHERE name = '{SETTING}' \
             AND setting::bigint < {DEFAULT_DECODING_MEMORY}",
            set(DEFAULT_DECODING_MEMORY)
        ),
    };
    match client.execute_script(&sql).await {
        Ok(results) => match results.iter().find_map(|rows| rows.rows.first()) {
            Some(row) => info!(
                logical_decoding_work_mem = row.text(0)?,
                "memory for decoding set for this session"
            ),
            None => debug!(
                "{SETTING} left at the setting of the server, which is not smaller than the default"
            ),
        },
        Err(error) if error.sqlstate().is_some() => {
            info!(error = %error, "{SETTING} left at the setting of the server: it cannot be set");
        }
        Err(error) => return Err(error),
    }
    Ok(())
}
