//! The private key, in each of the common formats.

use russh::keys::{PrivateKey, decode_secret_key};

use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};

/// Reads a key in PEM (PKCS#1, PKCS#8, SEC1) or OpenSSH format.
pub(super) fn read(secret: &Secret) -> Result<PrivateKey> {
    let invalid = |why: &str| {
        Error::new(
            ErrorKind::Configuration,
            format!("'networkTunnel.sshForwarding.privateKey' cannot be used: {why}"),
        )
    };
    let text = restore_line_breaks(secret.expose());
    if text.contains("PuTTY-User-Key-File") {
        return Err(invalid(
            "it is in PuTTY format: export it in OpenSSH format with PuTTYgen",
        ));
    }
    if !text.contains("-----BEGIN ") {
        return Err(invalid(
            "it must be the whole private key, from -----BEGIN to -----END",
        ));
    }
    if text.contains("PUBLIC KEY-----") && !text.contains("PRIVATE KEY-----") {
        return Err(invalid("it is a public key, but the private key is needed"));
    }
    let encrypted = "it is encrypted: give a copy without a passphrase (ssh-keygen -p -f FILE \
                     removes the passphrase; for PKCS#8, openssl pkey -in FILE)";
    if text.contains("ENCRYPTED") {
        return Err(invalid(encrypted));
    }
    // The cause is left out of the error, because it may quote parts of the key.
    decode_secret_key(&text, None).map_err(|error| match error {
        russh::keys::Error::KeyIsEncrypted => invalid(encrypted),
        russh::keys::Error::UnsupportedKeyType { .. } => {
            invalid("it is not an RSA, ECDSA or Ed25519 key")
        }
        _ => invalid("it is damaged, or not an RSA, ECDSA or Ed25519 key"),
    })
}

/// Restores line breaks that a web form, a template or a shell has changed.
fn restore_line_breaks(text: &str) -> String {
    let text = text.replace("\\n", "\n").replace('\r', "\n");
    let Some((head, rest)) = text.trim().split_once("-----BEGIN ") else {
        return text;
    };
    let (Some((label, rest)), true) = (rest.split_once("-----"), head.trim().is_empty()) else {
        return text;
    };
    let Some((body, _)) = rest.split_once("-----END ") else {
        return text;
    };
    if body.contains(':') {
        // Only encrypted keys have headers.
        return text;
    }
    let body: String = body.split_whitespace().collect();
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key made by ssh-keygen for this test, which no server accepts.
    const ED25519: &str = include_str!("testdata/ed25519");

    #[test]
    fn line_breaks_of_any_kind_are_accepted() {
        for text in [
            ED25519.to_owned(),
            ED25519.trim_end().to_owned(),
            ED25519.replace('\n', "\r\n"),
            ED25519.replace('\n', "\\n"),
            ED25519.replace('\n', " "),
            format!("\n  {ED25519}\n"),
        ] {
            read(&Secret::from(text)).unwrap();
        }
    }

    #[test]
    fn errors_name_the_format_and_never_quote_the_key() {
        for (text, expected) in [
            ("hunter2", "whole private key"),
            (
                "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nhunter2",
                "PuTTYgen",
            ),
            (
                "-----BEGIN PUBLIC KEY-----\nhunter2\n-----END PUBLIC KEY-----",
                "public key",
            ),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nhunter2\n-----END ENCRYPTED PRIVATE KEY-----",
                "passphrase",
            ),
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2=\n-----END OPENSSH PRIVATE KEY-----",
                "damaged",
            ),
        ] {
            let error = read(&Secret::from(text)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
