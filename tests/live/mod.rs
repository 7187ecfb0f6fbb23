//! Tests against live servers.

mod chaos;
mod cli;
mod combined;
mod connecting;
mod ddl;
mod differential;
mod golden;
mod in_progress;
mod joining;
mod keys;
mod localized;
mod locks;
mod matrix;
mod mishaps;
mod modes;
mod requests;
mod round_trips;
mod servers;
mod slow;
mod spans;
mod standby;
mod values;
mod visibility;
