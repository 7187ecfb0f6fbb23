//! Encoders for the messages of a replication stream.

use bytes::{BufMut, BytesMut};

use super::backend::put_counted;
use crate::{
    Column, EncodeError, LogicalReplicationMessage as Logical, Lsn, Oid, OldTuple, ParseContext,
    PgTimestamp, ReplicaIdentity, ReplicationMessage, TruncateMessage, TupleData, Xid,
    codec::{put_c_str, put_sized},
    pgoutput::{kind, part, tag},
};

type Encoded = Result<(), EncodeError>;

/// Appends a replication message, the content of a CopyData.
pub fn replication_message(out: &mut BytesMut, message: &ReplicationMessage<'_>) {
    match message {
        ReplicationMessage::XLogData(xlog_data) => {
            out.put_u8(b'w');
            put_lsn(out, xlog_data.wal_start);
            put_lsn(out, xlog_data.wal_end);
            put_timestamp(out, xlog_data.server_clock);
            out.put_slice(xlog_data.data);
        }
        ReplicationMessage::PrimaryKeepalive(keepalive) => {
            out.put_u8(b'k');
            put_lsn(out, keepalive.wal_end);
            put_timestamp(out, keepalive.server_clock);
            out.put_u8(u8::from(keepalive.reply_requested));
        }
    }
}

/// Appends a logical replication message, the data of an XLogData.
///
/// A message within a stream block has to contain its transaction.
pub fn logical_replication_message(
    out: &mut BytesMut,
    message: &Logical<'_>,
    context: ParseContext,
) -> Encoded {
    match message {
        Logical::Begin(begin) => {
            out.put_u8(tag::BEGIN);
            put_lsn(out, begin.final_lsn);
            put_timestamp(out, begin.commit_time);
            put_xid(out, begin.xid);
        }
        Logical::Message(message) => {
            put_tag(out, tag::MESSAGE, message.xid);
            out.put_u8(u8::from(message.transactional));
            put_lsn(out, message.message_lsn);
            put_c_str(out, message.prefix, "prefix of a message")?;
            put_sized(out, Some(message.content), "content of a message")?;
        }
        Logical::Commit(commit) => {
            out.put_u8(tag::COMMIT);
            out.put_u8(0);
            put_lsn(out, commit.commit_lsn);
            put_lsn(out, commit.end_lsn);
            put_timestamp(out, commit.commit_time);
        }
        Logical::Origin(origin) => {
            out.put_u8(tag::ORIGIN);
            put_lsn(out, origin.commit_lsn);
            put_c_str(out, origin.name, "name of an origin")?;
        }
        Logical::Relation(message) => {
            let name = (message.namespace, message.name);
            let columns = message.columns();
            relation(
                out,
                message.xid,
                message.relation,
                name,
                message.replica_identity,
                columns,
            )?;
        }
        Logical::Type(message) => {
            put_tag(out, tag::TYPE, message.xid);
            out.put_u32(message.type_oid.as_u32());
            put_c_str(out, message.namespace, "namespace")?;
            put_c_str(out, message.name, "name of a type")?;
        }
        Logical::Insert(message) => insert(out, message.xid, message.relation, message.new)?,
        Logical::Update(message) => {
            put_tag(out, tag::UPDATE, message.xid);
            out.put_u32(message.relation.as_u32());
            if let Some(old) = message.old {
                put_old(out, old)?;
            }
            put_tuple(out, part::NEW, message.new)?;
        }
        Logical::Delete(message) => {
            put_tag(out, tag::DELETE, message.xid);
            out.put_u32(message.relation.as_u32());
            put_old(out, message.old)?;
        }
        Logical::Truncate(message) => {
            let options = (message.cascade, message.restart_identity);
            truncate(out, message.xid, message.relations(), options)?;
        }
        Logical::StreamStart(start) => {
            out.put_u8(tag::STREAM_START);
            put_xid(out, start.xid);
            out.put_u8(u8::from(start.first_segment));
        }
        Logical::StreamStop => out.put_u8(tag::STREAM_STOP),
        Logical::StreamCommit(commit) => {
            out.put_u8(tag::STREAM_COMMIT);
            put_xid(out, commit.xid);
            out.put_u8(0);
            put_lsn(out, commit.commit_lsn);
            put_lsn(out, commit.end_lsn);
            put_timestamp(out, commit.commit_time);
        }
        Logical::StreamAbort(abort) => {
            out.put_u8(tag::STREAM_ABORT);
            put_xid(out, abort.xid);
            put_xid(out, abort.subxid);
            if context.parallel_streaming {
                let (abort_lsn, abort_time) = abort.abort.unwrap_or_default();
                put_lsn(out, abort_lsn);
                put_timestamp(out, abort_time);
            }
        }
        Logical::BeginPrepare(begin) => {
            out.put_u8(tag::BEGIN_PREPARE);
            let positions = (begin.prepare_lsn, begin.end_lsn);
            put_prepared(out, positions, begin.prepare_time, begin.xid, begin.gid)?;
        }
        Logical::Prepare(prepare) => {
            out.put_slice(&[tag::PREPARE, 0]);
            let positions = (prepare.prepare_lsn, prepare.end_lsn);
            put_prepared(
                out,
                positions,
                prepare.prepare_time,
                prepare.xid,
                prepare.gid,
            )?;
        }
        Logical::CommitPrepared(commit) => {
            out.put_slice(&[tag::COMMIT_PREPARED, 0]);
            let positions = (commit.commit_lsn, commit.end_lsn);
            put_prepared(out, positions, commit.commit_time, commit.xid, commit.gid)?;
        }
        Logical::RollbackPrepared(rollback) => {
            out.put_slice(&[tag::ROLLBACK_PREPARED, 0]);
            put_lsn(out, rollback.prepare_end_lsn);
            put_lsn(out, rollback.rollback_end_lsn);
            put_timestamp(out, rollback.prepare_time);
            put_timestamp(out, rollback.rollback_time);
            put_xid(out, rollback.xid);
            put_c_str(out, rollback.gid, "name of a transaction")?;
        }
        Logical::StreamPrepare(prepare) => {
            out.put_slice(&[tag::STREAM_PREPARE, 0]);
            let positions = (prepare.prepare_lsn, prepare.end_lsn);
            put_prepared(
                out,
                positions,
                prepare.prepare_time,
                prepare.xid,
                prepare.gid,
            )?;
        }
    }
    Ok(())
}

/// Appends a RelationMessage for a table, given by its schema and name.
pub fn relation<'a>(
    out: &mut BytesMut,
    xid: Option<Xid>,
    relation: Oid,
    (namespace, name): (&str, &str),
    replica_identity: ReplicaIdentity,
    columns: impl IntoIterator<Item = Column<'a>>,
) -> Encoded {
    put_tag(out, tag::RELATION, xid);
    out.put_u32(relation.as_u32());
    put_c_str(out, namespace, "namespace")?;
    put_c_str(out, name, "name of a relation")?;
    out.put_u8(replica_identity.code());
    put_counted(out, columns, "list of columns", |out, column| {
        out.put_u8(if column.is_key { Column::KEY_FLAG } else { 0 });
        put_c_str(out, column.name, "name of a column")?;
        out.put_u32(column.type_oid.as_u32());
        out.put_i32(column.type_modifier);
        Ok(())
    })
}

/// Appends an InsertMessage.
pub fn insert<'a>(
    out: &mut BytesMut,
    xid: Option<Xid>,
    relation: Oid,
    new: impl IntoIterator<Item = TupleData<'a>>,
) -> Encoded {
    put_tag(out, tag::INSERT, xid);
    out.put_u32(relation.as_u32());
    put_tuple(out, part::NEW, new)
}

/// Appends an UpdateMessage. The old row is `b'K'` with its key, or `b'O'` with all columns.
pub fn update<'a>(
    out: &mut BytesMut,
    xid: Option<Xid>,
    relation: Oid,
    old: Option<(u8, &[TupleData<'a>])>,
    new: impl IntoIterator<Item = TupleData<'a>>,
) -> Encoded {
    put_tag(out, tag::UPDATE, xid);
    out.put_u32(relation.as_u32());
    if let Some((part, old)) = old {
        put_tuple(out, part, old.iter().copied())?;
    }
    put_tuple(out, part::NEW, new)
}

/// Appends a DeleteMessage. The row is `b'K'` with its key, or `b'O'` with all columns.
pub fn delete<'a>(
    out: &mut BytesMut,
    xid: Option<Xid>,
    relation: Oid,
    part: u8,
    old: impl IntoIterator<Item = TupleData<'a>>,
) -> Encoded {
    put_tag(out, tag::DELETE, xid);
    out.put_u32(relation.as_u32());
    put_tuple(out, part, old)
}

/// Appends a TruncateMessage with its options CASCADE and RESTART IDENTITY.
pub fn truncate(
    out: &mut BytesMut,
    xid: Option<Xid>,
    relations: impl IntoIterator<Item = Oid>,
    (cascade, restart_identity): (bool, bool),
) -> Encoded {
    put_tag(out, tag::TRUNCATE, xid);
    let relations: Vec<_> = relations.into_iter().collect();
    let count = u32::try_from(relations.len());
    out.put_u32(count.map_err(|_| EncodeError::TooLong("list of relations"))?);
    let cascade = if cascade { TruncateMessage::CASCADE } else { 0 };
    let restart = if restart_identity {
        TruncateMessage::RESTART_IDENTITY
    } else {
        0
    };
    out.put_u8(cascade | restart);
    for relation in relations {
        out.put_u32(relation.as_u32());
    }
    Ok(())
}

fn put_tag(out: &mut BytesMut, tag: u8, xid: Option<Xid>) {
    out.put_u8(tag);
    if let Some(xid) = xid {
        put_xid(out, xid);
    }
}

fn put_prepared(
    out: &mut BytesMut,
    (first, second): (Lsn, Lsn),
    time: PgTimestamp,
    xid: Xid,
    gid: &str,
) -> Encoded {
    put_lsn(out, first);
    put_lsn(out, second);
    put_timestamp(out, time);
    put_xid(out, xid);
    put_c_str(out, gid, "name of a transaction")
}

fn put_old(out: &mut BytesMut, old: OldTuple<'_>) -> Encoded {
    match old {
        OldTuple::Key(tuple) => put_tuple(out, part::KEY, tuple),
        OldTuple::Full(tuple) => put_tuple(out, part::OLD, tuple),
    }
}

fn put_tuple<'a>(
    out: &mut BytesMut,
    part: u8,
    values: impl IntoIterator<Item = TupleData<'a>>,
) -> Encoded {
    out.put_u8(part);
    put_counted(out, values, "list of columns", |out, value| match value {
        TupleData::Null => {
            out.put_u8(kind::NULL);
            Ok(())
        }
        TupleData::UnchangedToast => {
            out.put_u8(kind::UNCHANGED_TOAST);
            Ok(())
        }
        TupleData::Text(value) => {
            out.put_u8(kind::TEXT);
            put_sized(out, Some(value), "value")
        }
        TupleData::Binary(value) => {
            out.put_u8(kind::BINARY);
            put_sized(out, Some(value), "value")
        }
    })
}

fn put_lsn(out: &mut BytesMut, lsn: Lsn) {
    out.put_u64(lsn.as_u64());
}

fn put_timestamp(out: &mut BytesMut, time: PgTimestamp) {
    out.put_i64(time.as_micros());
}

fn put_xid(out: &mut BytesMut, xid: Xid) {
    out.put_u32(xid.as_u32());
}
