//! Internet addresses.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::error::ValueError;

/// Returns whether a text is an IPv4 address without a prefix length.
pub(super) fn is_ipv4(text: &[u8]) -> bool {
    let mut octets = 0;
    text.split(|&byte| byte == b'.').all(|octet| {
        octets += 1;
        match octet {
            [b'0'..=b'9'] | [b'1'..=b'9', b'0'..=b'9'] | [b'1', b'0'..=b'9', b'0'..=b'9'] => true,
            [b'2', tens @ b'0'..=b'5', ones @ b'0'..=b'9'] => *tens < b'5' || *ones <= b'5',
            _ => false,
        }
    }) && octets == 4
}

/// Appends an address with its prefix length, which the server omits for a single host.
///
/// IPv6 addresses are formatted again, because the server and RFC 5952 differ in which of them end
/// in the notation of IPv4.
pub(super) fn write(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let error = ValueError::new("inet", "an address with an optional prefix length");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_addresses_are_those_that_the_standard_library_accepts() {
        let octets = [
            "0", "9", "10", "99", "100", "199", "249", "250", "255", "256", "300", "00", "01", "",
            "1a", "1000",
        ];
        for (at, octet) in (0..4).flat_map(|at| octets.map(|octet| (at, octet))) {
            let mut address = ["10", "20", "30", "40"];
            address[at] = octet;
            let text = address.join(".");
            assert_eq!(
                is_ipv4(text.as_bytes()),
                text.parse::<Ipv4Addr>().is_ok(),
                "{text}"
            );
        }
        for text in [
            "",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.4/24",
            "1.2.3.4 ",
            "::1",
            "...",
            "1.2.3.4.",
        ] {
            assert!(!is_ipv4(text.as_bytes()), "{text}");
        }
    }
}
