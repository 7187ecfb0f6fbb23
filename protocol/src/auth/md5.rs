//! Password authentication with MD5.

use md5::{Digest, Md5};

/// Returns the response to AuthenticationMD5Password: the hash of the salt and of the password hash
/// that the server stores.
pub(super) fn password_hash(user: &str, password: &str, salt: [u8; 4]) -> String {
    let stored = Md5::new()
        .chain_update(password)
        .chain_update(user)
        .finalize();
    let answer = Md5::new()
        .chain_update(hex(&stored))
        .chain_update(salt)
        .finalize();
    format!("md5{}", hex(&answer))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_hash_equals_the_stored_password_hash() {
        // After CREATE ROLE md5_user PASSWORD 'pencil', pg_authid.rolpassword is `md5` followed by
        // this hash.
        let stored = Md5::new()
            .chain_update("pencil")
            .chain_update("md5_user")
            .finalize();
        assert_eq!(hex(&stored), "29e3d0a0b4f3e9dd311543f9993a8476");
    }

    #[test]
    fn the_response_equals_one_that_a_server_accepted() {
        let answer = password_hash("md5_user", "pencil", [0x59, 0x08, 0x08, 0xe4]);
        assert_eq!(answer, "md56f1a6ac2419a6e19ad0502daa9d3d663");
        assert_ne!(answer, password_hash("md5_user", "pencil", [0; 4]));
    }
}
