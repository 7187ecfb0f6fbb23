//! End-to-end tests: the built connector against PostgreSQL servers that the tests start.
//!
//! The servers are installed by `tests/support/install-servers.sh`, which `make test` calls. A
//! missing server is a failure, never a skipped test.

mod live;
mod scripted;
mod support;
