//! Internet addresses.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{ValueError, Written};

/// Appends an address with its prefix length, which the server leaves out for a single host.
///
/// The server and RFC 5952 differ in when the end of an IPv6 address has the form of an IPv4 one.
pub(super) fn write(text: &[u8], out: &mut Vec<u8>) -> Written {
    let error = ValueError::new("inet", "an address, perhaps with a prefix length");
    let text = std::str::from_utf8(text).map_err(|_| error)?;
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let whole = if address.contains(':') {
        let address: Ipv6Addr = address.parse().map_err(|_| error)?;
        // Writing to a vector cannot fail.
        let _ = write!(out, "{address}");
        "128"
    } else {
        let _: Ipv4Addr = address.parse().map_err(|_| error)?;
        out.extend_from_slice(address.as_bytes());
        "32"
    };
    let prefix = prefix.unwrap_or(whole);
    let valid = (1..=3).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_digit());
    if !valid {
        return Err(error);
    }
    out.push(b'/');
    out.extend_from_slice(prefix.as_bytes());
    Ok(())
}
