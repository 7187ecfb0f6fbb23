//! A PostgreSQL change-data-capture connector for Estuary Flow.

pub mod backfill;
pub mod capture;
pub mod catalog;
pub mod cli;
pub mod client;
pub mod config;
pub mod error;
pub mod flow;
pub mod json;
pub mod logging;
pub mod net;
pub mod record;
pub mod replication;
pub mod schema;
pub mod value;
