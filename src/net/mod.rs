//! Sockets: TCP, TLS by sslmode, bytes between a stream and a protocol session.
