//! The capture: bindings, state, the joining of backfill and stream, checkpoints.
//!
//! [`run`] is one session of a capture. It matches the state with the tables; emits the schemas and
//! the matched state, each with a checkpoint; starts the stream at the cursor and reads it up to
//! where the log ended then (catching up), which with a new slot is where it begins; then, as long
//! as a table has rows to be read, reads them chunk by chunk, with a checkpoint after each, and the
//! stream between them; then reads the stream for good.
//!
//! # Timeline of one table
//!
//! ```text
//!  Pending            Backfill, UnfilteredBackfill, KeylessBackfill                  Active
//! ───┬──────────┬───────────────────────────────────────────────────────────┬──────────────────>
//!    │ stream   │ span 1                      │ span 2                 │ …    │ every change is
//!    │ is read  ├─────────┬─────────┬─────────┼─────────┬─────────┬────┤      │ emitted
//!    │ up to    │ lock,   │ stream  │ chunks  │ lock,   │ stream  │ …  │      │
//!    │ the end  │ snap-   │ is read │ 1 … n,  │ snap-   │ is read │    │      │
//!    │ of the   │ shot    │ past    │ each    │ shot    │ past    │    │      │
//!    │ log      │         │ the     │ with a  │         │ the     │    │      │
//!    │          │         │ fence   │ check-  │         │ fence   │    │      │
//!    │          │         │         │ point   │         │         │    │      │
//!    │ changes  │ changes in the range of the span: dropped if its        │      │
//!    │ dropped, │ snapshot contains them, else deferred until their row   │      │
//!    │ commits  │ was emitted; of keys before it: emitted; of keys after  │      │
//!    │ remem-   │ it: dropped, and their commits remembered until a       │      │
//!    │ bered    │ snapshot contains them                                  │      │
//! ```
//!
//! That is mode `Backfill`. In the other two modes no change is dropped: those that `Backfill`
//! drops are emitted at once, since their keys cannot be located, or a filter leaves rows out.
//!
//! # Why nothing is lost
//!
//! The rule is: the documents of a key are the row of the chunk that covers it, then every change
//! whose transaction the snapshot of that chunk does not contain, in commit order.
//!
//! - Each change is decided about when it is streamed (`table`): it is dropped where a chunk holds
//!   its outcome, emitted where the row was emitted from a snapshot that does not contain it, and
//!   deferred where that row is still to be emitted.
//! - A change that is dropped because a later chunk will contain it may have been streamed before
//!   snapshots contain its commit. Such commits are remembered (unseen commits), and no chunk of the
//!   table is accepted whose snapshot lacks one. Transactions that ran when the capture began to
//!   follow the table may have been streamed before that, so the first chunk waits for them
//!   (initial wait).
//! - A checkpoint covers everything before it, is never within a source transaction, and never passes
//!   an unseen commit or a deferred change that must be emitted: what is remembered is lost with the
//!   process.
//! - The server is told no position that the runtime has not acknowledged.
//!
//! `how-it-joins.md` beside this file has the argument at length.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | acknowledgement | message of the runtime that a checkpoint is durable; it moves the position that the server is told |
//! | checkpoint | state that everything emitted before it belongs to; *held* while it would pass an unseen commit |
//! | chunk | `backfill_chunk_size` rows of a table, or a window of pages, emitted together |
//! | cursor | position of the stream in the state, from which the next session goes on |
//! | decision | outcome for a change: emit, drop, or defer |
//! | deferred change | change whose document waits until the row that it changes was emitted |
//! | fence | position of the log by which everything that a snapshot contains has committed |
//! | initial wait | transactions that the first chunk of a table has to contain |
//! | range | keys that a span covers |
//! | snapshot | the transactions that rows contain, as `pg_current_snapshot()` tells |
//! | span | one transaction that reads many chunks from one snapshot |
//! | unfenced chunk | chunk that was emitted before the stream has passed its fence |
//! | unseen commit | commit that was streamed and that no snapshot has contained yet |
//! | window | range of pages that one chunk of a scan by physical position reads |
//!
//! # Parts
//!
//! `session` lists the parts; each owns its state. `engine` is the order of a session. The
//! files import each other in one direction, without a circle: `engine`, then the files that add
//! verbs to the session (in `upkeep`, `scan`, `stream` and beside them), then `session`, then the
//! parts.

mod acknowledgements;
mod checkpoint;
mod engine;
mod held_checkpoint;
mod lock_watch;
mod lookup;
mod reconcile;
mod scan;
mod server;
mod session;
mod sink;
mod snapshot_pacing;
mod state;
mod stream;
mod table;
mod task;
mod upkeep;
mod visibility_wait;
mod wait_log;

pub use acknowledgements::Acknowledgements;
pub use engine::run;
pub use sink::{Durability, Sink};
pub use state::{Mode, Scanned, State, TableState};
pub use task::{Binding, Task, check, schema_options};
