//! Tests against live servers.

mod golden;
mod matrix;
mod servers;
