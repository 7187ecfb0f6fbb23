//! Every way to a server, each against the real thing.

mod addresses;
mod authentication;
mod cancelling;
mod causes;
mod certificates;
mod matrix;
mod setup;
mod tunnel;
