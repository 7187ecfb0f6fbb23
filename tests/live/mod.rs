//! Tests against live servers.

mod servers;
