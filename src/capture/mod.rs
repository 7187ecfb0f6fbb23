//! What the connector does and when: bindings, state, the joining of backfill and stream,
//! checkpoints.
//!
//! [`run`] is one session of a capture. It goes through these steps: state and tables are matched and
//! two checkpoints say so; the stream is read from the cursor up to where the log ended when it
//! started (catching up), which with a new slot is where it begins; then, as long as a table has rows
//! to be read, spans of many chunks are read, each from one snapshot: the stream is followed past
//! everything that the snapshot contains, then the rows are emitted chunk by chunk, with a checkpoint
//! behind each, and in between what the stream has brought; then the stream is followed for good.
//!
//! What must hold: the documents of a key are the row of the chunk that covered it, then every change
//! whose transaction that chunk's snapshot did not contain, in commit order. `table` judges each
//! change for that: one that the open span does not contain is kept until its row has been emitted
//! (`deferred`), and `visibility` remembers what later spans have to contain. A checkpoint covers
//! everything before it, never falls into a source transaction, and never passes a commit that a
//! later span might not contain.

mod acknowledge;
mod checkpoint;
mod chunk;
mod chunk_plan;
mod columns;
mod deferrable_keys;
mod deferred;
mod engine;
mod event;
mod fence;
mod follow;
mod housekeeping;
mod locks;
mod lookup;
mod relations;
mod rows;
mod schemas;
mod sink;
mod span;
mod start;
mod start_position;
mod state;
mod streaming;
mod table;
mod transaction;
mod visibility;
mod waiting;

pub use acknowledge::Acknowledgements;
pub use engine::run;
pub use schemas::schema_options;
pub use sink::Sink;
pub use start::{Binding, Task, check};
pub use state::{Mode, Scanned, State, TableState};
