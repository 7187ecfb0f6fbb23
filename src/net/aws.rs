//! Authentication tokens for Amazon RDS. A token is a request to connect, presigned with Signature
//! Version 4
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).
//!
//! A token is valid for fifteen minutes, so each attempt to connect makes its own. The request to
//! sign has a fixed form, so the HMAC and hash primitives are enough and no AWS library is needed.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use x509_cert::der::DateTime;

use crate::config::{HostPort, Secret};

/// Validity of a token, in seconds.
const EXPIRES: u32 = 900;
const SERVICE: &str = "rds-db";

/// The AWS credentials that sign a token.
pub(super) struct Signer<'a> {
    pub(super) region: &'a str,
    pub(super) access_key_id: &'a str,
    pub(super) secret_access_key: &'a Secret,
    pub(super) session_token: Option<&'a Secret>,
}

impl Signer<'_> {
    /// Returns the token with which `user` logs in to `host`.
    pub(super) fn token(&self, host: &HostPort, user: &str, now: SystemTime) -> Secret {
        let (date, time) = date_and_time(now);
        let scope = format!("{date}/{}/{SERVICE}/aws4_request", self.region);
        let credential = format!("{}/{scope}", self.access_key_id);
        // The signature requires the parameters in the order of their names.
        let mut query = format!(
            "Action=connect&DBUser={}&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}\
             &X-Amz-Date={date}T{time}Z&X-Amz-Expires={EXPIRES}",
            percent_encoded(user),
            percent_encoded(&credential),
        );
        if let Some(token) = self.session_token {
            query.push_str("&X-Amz-Security-Token=");
            query.push_str(&percent_encoded(token.expose()));
        }
        query.push_str("&X-Amz-SignedHeaders=host");
        let empty = hex(&Sha256::digest(b""));
        let request = format!("GET\n/\n{query}\nhost:{host}\n\nhost\n{empty}");
        let signature = self.sign(&date, &time, &scope, &request);
        Secret::from(format!("{host}/?{query}&X-Amz-Signature={signature}"))
    }

    /// Returns the signature of a canonical request.
    fn sign(&self, date: &str, time: &str, scope: &str, request: &str) -> String {
        let text = format!(
            "AWS4-HMAC-SHA256\n{date}T{time}Z\n{scope}\n{}",
            hex(&Sha256::digest(request))
        );
        let mut key = format!("AWS4{}", self.secret_access_key.expose()).into_bytes();
        // The signing key is derived step by step from the parts of the credential scope.
        for part in scope.split('/') {
            key = hmac(&key, part);
        }
        hex(&hmac(&key, &text))
    }
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    // HMAC accepts keys of any length, so this does not fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        encoded
    })
}

/// Returns the date and the time of day in UTC, like `20161107` and `173933`.
fn date_and_time(now: SystemTime) -> (String, String) {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = DateTime::from_unix_duration(since).unwrap_or(DateTime::INFINITY);
    (
        format!("{:04}{:02}{:02}", time.year(), time.month(), time.day()),
        format!(
            "{:02}{:02}{:02}",
            time.hour(),
            time.minutes(),
            time.seconds()
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_signature_of_the_published_example_is_reproduced() {
        // The presigned request of the S3 documentation ("Signature Calculations").
        let signer = Signer {
            region: "us-east-1",
            access_key_id: "AKIAIOSFODNN7EXAMPLE",
            secret_access_key: &Secret::from("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            session_token: None,
        };
        let request = "GET\n/test.txt\n\
             X-Amz-Algorithm=AWS4-HMAC-SHA256&\
             X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&\
             X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\n\
             host:examplebucket.s3.amazonaws.com\n\nhost\nUNSIGNED-PAYLOAD";
        let scope = "20130524/us-east-1/s3/aws4_request";
        assert_eq!(
            signer.sign("20130524", "000000", scope, request),
            "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    #[test]
    fn the_signature_of_the_published_test_suite_is_reproduced() {
        // The case get-vanilla of the test suite for Signature Version 4.
        let signer = Signer {
            region: "us-east-1",
            access_key_id: "AKIDEXAMPLE",
            secret_access_key: &Secret::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: None,
        };
        let request = "GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\n\
             host;x-amz-date\n\
             e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let scope = "20150830/us-east-1/service/aws4_request";
        assert_eq!(
            signer.sign("20150830", "123600", scope, request),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
    }

    #[test]
    fn a_token_names_user_host_and_expiry() {
        let secret = Secret::from("skid");
        let session = Secret::from("to/ken+");
        let mut signer = Signer {
            region: "us-east-1",
            access_key_id: "akid",
            secret_access_key: &secret,
            session_token: None,
        };
        let host = HostPort {
            host: "prod-instance.us-east-1.rds.amazonaws.com".to_owned(),
            port: 3306,
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_478_540_373);
        let token = signer.token(&host, "someusername", now);
        // The test vector of the AWS SDK for Python, with its parameters sorted by name.
        assert_eq!(
            token.expose(),
            "prod-instance.us-east-1.rds.amazonaws.com:3306/?Action=connect&DBUser=someusername\
             &X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=akid%2F20161107%2Fus-east-1%2Frds-db%2Faws4_request\
             &X-Amz-Date=20161107T173933Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=d1138cdbc0ca63eec012ec0fc6c2267e03642168f5884a7795320d4c18374c61"
        );
        signer.session_token = Some(&session);
        let token = signer.token(&host, "some user", now);
        assert!(token.expose().contains("&DBUser=some%20user&"));
        assert!(
            token
                .expose()
                .contains("&X-Amz-Security-Token=to%2Fken%2B&")
        );
    }

    #[test]
    fn dates_of_leap_years_are_exact() {
        for (seconds, date, time) in [
            (0, "19700101", "000000"),
            (951_782_400, "20000229", "000000"),
            (1_709_251_199, "20240229", "235959"),
            (4_107_542_400, "21000301", "000000"),
        ] {
            let now = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(date_and_time(now), (date.to_owned(), time.to_owned()));
        }
    }
}
