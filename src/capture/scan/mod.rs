//! Reading the rows of tables.
//!
//! A *span* is one transaction that reads many chunks of a table from one snapshot, over a
//! connection that does nothing else: it locks the table against being rewritten, takes its
//! snapshot, and sends the rows of chunk after chunk, the next always requested before the last has
//! arrived. The stream is read past everything that the snapshot can contain (the *fence*) before
//! the first row is emitted; from then on each change that is streamed is one that the rows do not
//! contain. Between two chunks the stream is read as far as it was received, and a change of a row
//! that the span has yet to emit is deferred until then ([`super::table::DeferredChanges`]).
//!
//! ```text
//!  request       snapshot        fence passed                             last chunk
//!     |             |                 |                                       |
//!     |  lock       |  stream is read |  chunk | stream | chunk | stream | …  |  commit
//!     +-------------+-----------------+---------------------------------------+
//!                     changes deferred or dropped; emitted after their rows
//! ```
//!
//! A filter of the user's can make the server take any time for a row. Then the stream is read
//! during a chunk, too, and the scan moves on to the last row that was emitted.
//!
//! Over several connections, ranges of one table are read at the same time: a span then ends at a
//! key that is looked up first, in its own snapshot, and the next span begins after it. Each has a
//! snapshot of its own, and a change is decided about by the range that its key is in. The last
//! range of a table is followed by the next table. All are emitted in this order, so that one
//! position tells how far the scan is. Rows that are read ahead of it wait in the sockets.
//!
//! A span holds its lock for some seconds, for longer only where the output is not taken. A session
//! that waits for the table meanwhile holds up every session that comes later, our connection for
//! queries, too. So before that connection reads a table or may wait for long, the spans are given
//! up: what they have not emitted is read again.
//!
//! Where changes are matched to a chunk by equality of keys, and where no connection can be had for
//! spans, chunks are read one by one over the connection for queries (`single_chunk`).

mod advance;
mod backfill;
mod chunk_plan;
mod chunk_reader;
mod connections;
mod emit;
mod locks;
mod progress;
mod release;
mod request;
mod single_chunk;
mod snapshot;
mod spans;

pub(super) use self::spans::Spans;
