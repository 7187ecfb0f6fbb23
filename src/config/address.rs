//! Parser of `address`: one or more servers, each by host name or IP address.

use std::fmt;
use std::net::Ipv6Addr;

use super::members::configuration;
use crate::error::Result;

const DEFAULT_PORT: u16 = 5432;

/// Address of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Host name or IP address; an IPv6 address has no brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl HostPort {
    /// Parses `host` or `host:port`, where the host is a name or an IP address.
    ///
    /// # Errors
    ///
    /// Fails with a description of the problem.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, &'static str> {
        parse_host(text, default_port)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Fails if one of the servers is Supabase's connection pooler, which cannot replicate.
pub(super) fn refuse_pooler(address: &str) -> Result<()> {
    let is_pooler = |entry: &str| {
        let entry = entry.trim().to_ascii_lowercase();
        entry
            .strip_suffix(":6543")
            .unwrap_or(&entry)
            .ends_with(".pooler.supabase.com")
    };
    if address.split(',').any(is_pooler) {
        return Err(configuration(
            "'address' names Supabase's connection pooler, but replication needs a direct \
             connection to the database: see https://go.estuary.dev/supabase-direct-address",
        ));
    }
    Ok(())
}

/// Parses a comma-separated list of servers, in the order in which they are tried.
pub(super) fn parse_hosts(address: &str) -> Result<Vec<HostPort>> {
    // A connection string may hold a password, so the error does not repeat it.
    if address.contains('@') || address.contains("://") {
        return Err(configuration(
            "'address' must be host or host:port, found a connection URL or a user name: give \
             these in 'user', 'database' and 'credentials'",
        ));
    }
    address
        .split(',')
        .map(str::trim)
        .map(|entry| {
            parse_host(entry, DEFAULT_PORT).map_err(|why| {
                configuration(format!(
                    "'address' must be host or host:port, found {entry:?}: {why}"
                ))
            })
        })
        .collect()
}

fn parse_host(entry: &str, default_port: u16) -> Result<HostPort, &'static str> {
    let (host, port) = if let Some(rest) = entry.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("']' is missing")?;
        if !is_ipv6(host) {
            return Err("the text in brackets must be an IPv6 address");
        }
        match rest.strip_prefix(':') {
            Some(port) => (host, port),
            None if rest.is_empty() => (host, ""),
            None => return Err("only :port may follow the brackets"),
        }
    } else if is_ipv6(entry) {
        (entry, "")
    } else {
        match entry.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("an IPv6 address with a port is written [address]:port");
            }
            Some((host, port)) => (host, port),
            None => (entry, ""),
        }
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    let is_invalid = |c: char| c.is_whitespace() || c.is_control() || "/\\?#[]".contains(c);
    if host.contains(is_invalid) {
        return Err("the host has a character that host names cannot have");
    }
    let port = match port {
        "" => default_port,
        digits => digits
            .parse()
            .ok()
            .filter(|&port| port != 0 && digits.bytes().all(|b| b.is_ascii_digit()))
            .ok_or("the port must be a number from 1 to 65535")?,
    };
    Ok(HostPort {
        host: host.to_owned(),
        port,
    })
}

/// Returns whether the text is an IPv6 address, with or without a zone.
fn is_ipv6(text: &str) -> bool {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_address_is_parsed() {
        for (address, expected) in [
            ("db.example.com", "db.example.com:5432"),
            ("db.example.com:5433", "db.example.com:5433"),
            ("db.example.com:", "db.example.com:5432"),
            ("10.0.0.7:15432", "10.0.0.7:15432"),
            ("[::1]:5415", "[::1]:5415"),
            ("[fe80::1%eth0]", "[fe80::1%eth0]:5432"),
            ("::1", "[::1]:5432"),
            ("2001:db8::7", "[2001:db8::7]:5432"),
            ("h1,h2:7, [::1]:8", "h1:5432 h2:7 [::1]:8"),
        ] {
            let hosts = parse_hosts(address).unwrap();
            let shown: Vec<_> = hosts.iter().map(ToString::to_string).collect();
            assert_eq!(shown.join(" "), expected, "{address}");
        }
        assert_eq!(parse_hosts("::1").unwrap()[0].host, "::1");
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for address in [
            "h:0", "h:65536", "h:+7", "h:port", ":5432", "h1,,h2", ",", " ", "a b", "[::1",
            "[h]:1", "[::1]x", "h:1:2", "/tmp", "h/db",
        ] {
            let error = parse_hosts(address).unwrap_err().to_string();
            assert!(
                error.starts_with("'address' must be host or host:port"),
                "{address}: {error}"
            );
        }
    }

    #[test]
    fn a_connection_string_is_refused_without_repeating_it() {
        for address in ["postgres://u:hunter2@h/db", "u:hunter2@h", "postgres://h"] {
            let error = parse_hosts(address).unwrap_err().to_string();
            assert!(
                !error.contains("hunter2") && !error.contains("//h"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_pooler_of_supabase_is_refused() {
        for address in [
            "aws-0-eu.pooler.supabase.com",
            "aws-0-eu.pooler.supabase.com:6543",
            "h,AWS-0-EU.Pooler.Supabase.COM",
        ] {
            let error = refuse_pooler(address).unwrap_err().to_string();
            assert!(
                error.contains("go.estuary.dev/supabase-direct-address"),
                "{error}"
            );
        }
        refuse_pooler("db.abc.supabase.co:5432").unwrap();
        refuse_pooler("aws-0-eu.pooler.supabase.com:5432").unwrap();
        refuse_pooler("pooler.supabase.com.example.com").unwrap();
    }
}
