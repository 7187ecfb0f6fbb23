//! Periodic work: checks of the server, rediscovery of the tables, schemas, status and progress.

mod due;
mod health;
mod rediscovery;
mod report;
mod schedule;
mod schemas;
mod sent_schemas;

pub(super) use self::schedule::Upkeep;
pub(super) use self::sent_schemas::SentSchemas;
