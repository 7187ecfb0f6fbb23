//! Tests against PostgreSQL servers that the tests start.

mod chaos;
mod cli;
mod combined;
mod connecting;
mod ddl;
mod differential;
mod failures;
mod golden;
mod in_progress;
mod joining;
mod keys;
mod localized;
mod locks;
mod matrix;
mod modes;
mod requests;
mod round_trips;
mod servers;
mod slow_rows;
mod spans;
mod standby;
mod values;
mod visibility;
