//! Every way to a server, each against the real thing.

mod addresses;
mod authentication;
mod cancelling;
mod certificates;
mod matrix;
mod refusals;
mod setup;
mod tunnel;
