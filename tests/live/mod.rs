//! Tests against live servers.

mod chaos;
mod cli;
mod golden;
mod matrix;
mod requests;
mod servers;
mod visibility;
