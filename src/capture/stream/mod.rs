//! Reading the stream: handling of each message, and the position up to which it is read.
//!
//! [`ChangeStream`] is the stream of a session. Its [`Dispatcher`] knows the relations that the
//! server has described and the transaction that the stream is in; it has each change judged by its
//! table and writes the document. The session reads the stream up to a fence or for a time
//! (`read`), starts it (`start`), prepares the plans of its relations (`plans`), and fetches rows
//! whose values the server has not sent (`refetch`).
//!
//! ```text
//! read -> Dispatcher::handle -> Table::decide -> EventWriter::write -> Sink, or DeferredChanges
//!   |          |
//!   |          +-> relation described -> plans;  values missing, keys ambiguous -> refetch
//!   +-> begin, commit -> checkpoint if one is due
//! ```

mod change_event;
mod change_stream;
mod column_matching;
mod columns;
mod deferrable_keys;
mod dispatcher;
mod plans;
mod position;
mod read;
mod refetch;
mod relation_plan;
mod relation_shape;
mod relations;
mod slot_creation;
mod start;
mod start_position;

pub(super) use self::change_stream::ChangeStream;
pub(super) use self::columns::captured_columns;
pub(super) use self::read::CheckpointPolicy;
pub(super) use self::start_position::Prepared;
