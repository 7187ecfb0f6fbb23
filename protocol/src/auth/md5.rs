//! The MD5 method.

use md5::{Digest, Md5};

/// Hashes the password as the server stores it, and that with the salt of this session.
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
    fn the_inner_hash_is_what_the_server_stores() {
        // pg_authid.rolpassword of CREATE ROLE md5_user PASSWORD 'password' is md5 and this.
        let stored = Md5::new()
            .chain_update("password")
            .chain_update("md5_user")
            .finalize();
        assert_eq!(hex(&stored), "3e2c9d99d49b201ef867a36f3f9ed62c");
    }

    #[test]
    fn the_salt_changes_the_answer() {
        let answer = password_hash("md5_user", "password", [0x2a, 0x3d, 0x8f, 0xe0]);
        assert_eq!(answer, "md562af4dd09bbb41884907a838a3233294");
        assert_ne!(answer, password_hash("md5_user", "password", [0; 4]));
    }
}
