//! End-to-end tests of the built connector.
//!
//! [`scripted`] needs no PostgreSQL server. [`live`] starts the servers that it needs; they are
//! installed by `tests/support/install-servers.sh`, which `make test` calls. A missing server makes
//! a test fail; no test is skipped. `tests/README.md` describes how to run and extend the tests.

mod live;
mod scripted;
mod support;
