//! Every way to a server, each against the real thing.

mod matrix;
