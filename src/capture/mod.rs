//! The capture: bindings, state, the joining of backfill and stream, checkpoints.
//!
//! [`run`] is one session of a capture:
//!
//! 1. It matches the state with the bindings, connects, and checks the prerequisites.
//! 2. It emits the schemas and the matched state, each with a checkpoint.
//! 3. It starts the stream at the cursor and reads it up to the end that the log has then (catching
//!    up). A slot that was just created has nothing to catch up with.
//! 4. As long as a table has rows to be read, it reads them chunk by chunk, with a checkpoint after
//!    each, and the stream between them.
//! 5. It reads the stream until it is stopped.
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
//! The drawing shows mode `Backfill`. In `UnfilteredBackfill` and `KeylessBackfill`, changes that `Backfill`
//! drops are emitted at once: a filter may keep their rows out of the chunks, or the stream does
//! not tell which rows were read already. In `Pending`, changes are dropped whichever of the three
//! modes follows.
//!
//! # Why nothing is lost
//!
//! The rule is: after the row of a chunk, every change of its key follows whose transaction the
//! chunk's snapshot does not contain, once, in commit order. Changes that the row contains are
//! dropped in mode `Backfill` where their keys can be located; else they are emitted as well,
//! before or after the row.
//!
//! - Each change is decided about when it is streamed (`table`). In mode `Backfill` it is dropped
//!   where a chunk holds its outcome, emitted where the row was emitted from a snapshot that does
//!   not contain it, and deferred where that row is still to be emitted.
//! - A change that is dropped because a later chunk will contain it, or emitted ahead of that
//!   chunk, may have been streamed before snapshots contain its commit. Such commits are remembered
//!   (unseen commits), and no chunk of the table is accepted whose snapshot lacks one. Transactions
//!   that ran when the capture began to follow the table may have been streamed before that, so the
//!   first chunk waits for them (initial wait).
//! - A checkpoint covers everything before it, is never within a source transaction, and never
//!   passes an unseen commit or a required deferred change, since both are lost with the process.
//! - The server is told no position that the runtime has not acknowledged.
//!
//! `how-it-joins.md` beside this file has the argument at length.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | acknowledgement | message of the runtime that a checkpoint is durable; it moves the position that the server is told |
//! | checkpoint | state that everything emitted before it belongs to; *held* while it would pass an unseen commit or a required deferred change |
//! | chunk | `backfill_chunk_size` rows of a table, or a window of pages, emitted together |
//! | cursor | position of the stream in the state, from which the next session goes on |
//! | decision | outcome for a change: emit, drop, or defer |
//! | deferred change | change whose document waits until the row that it changes was emitted; *required* if it is emitted even where its span is given up |
//! | fence | position of the log, read together with a snapshot: all commits that the snapshot contains are before it |
//! | initial wait | transactions that were running when the capture began to follow a table, and for which its first chunk waits |
//! | range | keys that a span covers |
//! | snapshot | the transactions that rows contain, as `pg_current_snapshot()` tells |
//! | span | one transaction that reads many chunks from one snapshot |
//! | unfenced chunk | chunk that was emitted before the stream has passed its fence |
//! | unseen commit | commit that was streamed, with a change of a row that was not emitted by then (or may not have been), and that no snapshot has contained yet |
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
mod plan_inputs;
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
