//! Secrets that are handed out once and kept only as hashes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::error::{Error, Result};

/// 256 random bits as text of 43 characters.
pub fn fresh() -> Result<String> {
    let mut bytes = [0u8; 32];
    #[expect(clippy::disallowed_methods, reason = "the one place that draws secrets")]
    let random = SystemRandom::new();
    random.fill(&mut bytes).map_err(|_| Error::Internal("the system gave no randomness".into()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// What is stored of a secret. A plain hash does, since the secret itself is random.
pub fn hash(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, secret.as_bytes()))
}

/// The secret that follows another: whoever lost the answer and asks again is given the same one,
/// and the database alone does not know it.
pub fn successor(secret: &str, salt: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, salt.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_needs_both_the_secret_and_the_salt() {
        let next = successor("one", "salt");
        assert_eq!(next, successor("one", "salt"));
        assert_ne!(next, successor("two", "salt"));
        assert_ne!(next, successor("one", "other"));
        assert_eq!(next.len(), 43);
    }
}
