//! Messages that CopyData carries in a replication stream, in both directions.

use std::fmt;

use bytes::{BufMut, BytesMut};

use crate::{
    codec::{all_consuming, boolean, lsn, rest, timestamp},
    error::{DecodeError, DecodeErrorKind},
    ids::Xid,
    lsn::Lsn,
    timestamp::PgTimestamp,
};

/// Tags of messages: the first byte.
mod tag {
    pub(super) const XLOG_DATA: u8 = b'w';
    pub(super) const PRIMARY_KEEPALIVE: u8 = b'k';
    pub(super) const STANDBY_STATUS_UPDATE: u8 = b'r';
    pub(super) const HOT_STANDBY_FEEDBACK: u8 = b'h';
}

/// Message from the server in a CopyData.
///
/// See <https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-START-REPLICATION>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplicationMessage<'a> {
    /// Data of the stream.
    XLogData(XLogData<'a>),
    /// Keepalive with the server's position.
    PrimaryKeepalive(PrimaryKeepalive),
}

impl<'a> ReplicationMessage<'a> {
    /// Parses the content of a CopyData.
    ///
    /// # Errors
    ///
    /// Fails if the content is not exactly one such message.
    #[inline(always)]
    pub fn parse(data: &'a [u8]) -> Result<Self, DecodeError> {
        match data.split_first() {
            Some((&tag::XLOG_DATA, body)) => XLogData::parse(body).map(Self::XLogData),
            Some((&tag::PRIMARY_KEEPALIVE, body)) => {
                PrimaryKeepalive::parse(body).map(Self::PrimaryKeepalive)
            }
            Some((&other, _)) => Err(DecodeError::new(
                DecodeErrorKind::UnknownTag(other),
                0,
                "replication",
            )),
            None => Err(DecodeError::new(
                DecodeErrorKind::UnexpectedEnd,
                0,
                "replication",
            )),
        }
    }
}

/// Data of the stream: in logical replication, one message of the output plugin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct XLogData<'a> {
    /// Start of the data in the write-ahead log: in logical replication the position of the change,
    /// or 0/0.
    pub wal_start: Lsn,
    /// Server's position when it sent the data.
    pub wal_end: Lsn,
    /// Server's time when it sent the data.
    pub server_clock: PgTimestamp,
    /// Data, see [`LogicalReplicationMessage`](crate::LogicalReplicationMessage).
    pub data: &'a [u8],
}

impl<'a> XLogData<'a> {
    #[inline(always)]
    fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        all_consuming("XLogData", body, |input| {
            let (input, wal_start) = lsn(input)?;
            let (input, wal_end) = lsn(input)?;
            let (input, server_clock) = timestamp(input)?;
            let (input, data) = rest(input)?;
            Ok((
                input,
                Self {
                    wal_start,
                    wal_end,
                    server_clock,
                    data,
                },
            ))
        })
    }
}

impl fmt::Debug for XLogData<'_> {
    /// Shows the length of the data, without the data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XLogData")
            .field("wal_start", &self.wal_start)
            .field("wal_end", &self.wal_end)
            .field("server_clock", &self.server_clock)
            .field("data", &format_args!("{} bytes", self.data.len()))
            .finish()
    }
}

/// Keepalive of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrimaryKeepalive {
    /// Position up to which the server has sent all changes.
    pub wal_end: Lsn,
    /// Server's time.
    pub server_clock: PgTimestamp,
    /// Whether the client has to send a [`StandbyStatusUpdate`] soon, to avoid a timeout of the
    /// server.
    pub reply_requested: bool,
}

impl PrimaryKeepalive {
    #[inline]
    fn parse(body: &[u8]) -> Result<Self, DecodeError> {
        all_consuming("PrimaryKeepalive", body, |input| {
            let (input, wal_end) = lsn(input)?;
            let (input, server_clock) = timestamp(input)?;
            let (input, reply_requested) = boolean(input)?;
            Ok((
                input,
                Self {
                    wal_end,
                    server_clock,
                    reply_requested,
                },
            ))
        })
    }
}

/// Progress of the client. The server retains the write-ahead log from `flush_lsn` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandbyStatusUpdate {
    /// Position up to which the stream was received.
    pub write_lsn: Lsn,
    /// Position up to which the stream is durable. The server may remove everything before it.
    pub flush_lsn: Lsn,
    /// Position up to which the stream was applied.
    pub apply_lsn: Lsn,
    /// Client's time.
    pub clock: PgTimestamp,
    /// Whether the server is requested to reply with a [`PrimaryKeepalive`].
    pub reply_requested: bool,
}

impl StandbyStatusUpdate {
    /// Appends the message, as the content of a CopyData.
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(34);
        out.put_u8(tag::STANDBY_STATUS_UPDATE);
        out.put_u64(self.write_lsn.as_u64());
        out.put_u64(self.flush_lsn.as_u64());
        out.put_u64(self.apply_lsn.as_u64());
        out.put_i64(self.clock.as_micros());
        out.put_u8(u8::from(self.reply_requested));
    }
}

/// Oldest transactions whose rows a hot standby still needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HotStandbyFeedback {
    /// Client's time.
    pub clock: PgTimestamp,
    /// Oldest transaction for rows outside of the catalog; [`Xid::INVALID`] if none are needed.
    pub xmin: Xid,
    /// Epoch of `xmin`.
    pub xmin_epoch: u32,
    /// Oldest transaction for rows of the catalog.
    pub catalog_xmin: Xid,
    /// Epoch of `catalog_xmin`.
    pub catalog_xmin_epoch: u32,
}

impl HotStandbyFeedback {
    /// Appends the message, as the content of a CopyData.
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(25);
        out.put_u8(tag::HOT_STANDBY_FEEDBACK);
        out.put_i64(self.clock.as_micros());
        out.put_u32(self.xmin.as_u32());
        out.put_u32(self.xmin_epoch);
        out.put_u32(self.catalog_xmin.as_u32());
        out.put_u32(self.catalog_xmin_epoch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_update_equals_one_that_a_server_accepted() {
        let lsn = Lsn::new(0x0155_a380);
        let update = StandbyStatusUpdate {
            write_lsn: lsn,
            flush_lsn: lsn,
            apply_lsn: Lsn::INVALID,
            clock: PgTimestamp(-2),
            reply_requested: true,
        };
        let mut out = BytesMut::new();
        update.encode(&mut out);
        let expected = b"r\0\0\0\0\x01\x55\xa3\x80\0\0\0\0\x01\x55\xa3\x80\0\0\0\0\0\0\0\0\
                    \xff\xff\xff\xff\xff\xff\xff\xfe\x01";
        assert_eq!(&out[..], expected);
    }

    #[test]
    fn hot_standby_feedback_has_both_horizons_with_their_epochs() {
        let feedback = HotStandbyFeedback {
            clock: PgTimestamp(1),
            xmin: Xid(2),
            xmin_epoch: 3,
            catalog_xmin: Xid(4),
            catalog_xmin_epoch: 5,
        };
        let mut out = BytesMut::new();
        feedback.encode(&mut out);
        assert_eq!(
            &out[..],
            b"h\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05"
        );
    }

    #[test]
    fn debug_shows_no_data() {
        let message = ReplicationMessage::parse(
            b"w\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\
            \0\0\0\0\0\0\0\x03secret",
        );
        let text = format!("{message:?}");
        assert!(
            text.contains("Lsn(0/2)") && text.contains("6 bytes"),
            "{text}"
        );
    }
}
