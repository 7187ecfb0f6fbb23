//! The PostgreSQL wire protocol, without I/O: bytes and times in, values and bytes out.
#![forbid(unsafe_code)]
