//! Passwords: what is accepted, and hashing that cannot be used to exhaust the machine.
//!
//! Argon2id with 19 MiB a hash; as many at once as there are cores, 32 more may wait, the rest
//! are told to come back. An unknown user costs the same hash as a known one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::problem::Problem;

/// Fewest characters of a password.
pub const MIN_CHARS: usize = 12;
/// Most characters of a password.
pub const MAX_CHARS: usize = 128;
const QUEUE: usize = 32;

/// Refused although long enough: the ones that guessing starts with.
const COMMON: &[&str] = &[
    "123456789012",
    "1234567890123",
    "12345678901234",
    "123456123456",
    "111111111111",
    "000000000000",
    "qwertyuiop12",
    "qwertyuiop123",
    "qwertyuiopas",
    "qwerty123456",
    "qwertyqwerty",
    "1qaz2wsx3edc",
    "1q2w3e4r5t6y",
    "abcdefghijkl",
    "abcdef123456",
    "abc123abc123",
    "passwordpassword",
    "password1234",
    "password12345",
    "password123456",
    "password123!",
    "passw0rd1234",
    "mypassword123",
    "letmeinletmein",
    "letmein12345",
    "welcome12345",
    "welcome123456",
    "iloveyou1234",
    "iloveyouiloveyou",
    "administrator",
    "administrator1",
    "admin1234567",
    "adminadminadmin",
    "changeme1234",
    "changemechangeme",
    "fieldstone123",
    "fieldstonefieldstone",
    "caseworker123",
    "socialworker",
    "socialwork123",
    "sunshine1234",
    "football1234",
    "baseball1234",
    "princess1234",
    "superman1234",
    "trustno1trustno1",
    "monkey123456",
    "dragon123456",
    "correcthorsebatterystaple",
    "correct horse battery staple",
];

/// Why a password cannot be chosen; `None` when it can.
pub fn objection(password: &str, email: &str) -> Option<(&'static str, String)> {
    let length = password.chars().count();
    if length < MIN_CHARS {
        return Some(("too_short", format!("must have at least {MIN_CHARS} characters")));
    }
    if length > MAX_CHARS {
        return Some(("too_long", format!("must have at most {MAX_CHARS} characters")));
    }
    let low = password.to_lowercase();
    let mut kinds: Vec<char> = low.chars().collect();
    kinds.sort_unstable();
    kinds.dedup();
    if COMMON.contains(&low.as_str()) || kinds.len() < 4 || (!email.is_empty() && low == email.to_lowercase()) {
        return Some(("too_common", "is among those that are guessed first".into()));
    }
    None
}

/// Hashes and verifies within the machine's means.
#[derive(Clone, Debug)]
pub struct Passwords {
    slots: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Passwords {
    /// So many at a time; the others wait.
    pub fn at_once(many: usize) -> Passwords {
        Passwords { slots: Arc::new(Semaphore::new(many)), waiting: Arc::new(AtomicUsize::new(0)) }
    }

    /// Hashes a new password to a PHC string.
    ///
    /// # Errors
    /// 503 when too many are waiting already.
    pub async fn hash(&self, password: SecretString) -> Result<String, Problem> {
        self.run(move || hash_now(&password)).await?.map_err(Problem::Internal)
    }

    /// True when the password, exactly as sent, is the one that was hashed. `None` for an unknown
    /// user or one without a password takes the same time and is false.
    ///
    /// # Errors
    /// 503 when too many are waiting already.
    pub async fn verify(&self, password: SecretString, hash: Option<String>) -> Result<bool, Problem> {
        self.run(move || verify_now(&password, hash.as_deref())).await
    }

    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let busy = Problem::Busy { retry_after: 2 };
        if self.waiting.fetch_add(1, Ordering::SeqCst) >= QUEUE + self.slots.available_permits() {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            return Err(busy);
        }
        // Counted down also when the caller hangs up while waiting.
        let _place = Place(Arc::clone(&self.waiting));
        let permit = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| busy.clone())?;
        tokio::task::spawn_blocking(move || {
            let done = job();
            drop(permit);
            done
        })
        .await
        .map_err(|_| busy)
    }
}

struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Hashes on this very thread, for the command line.
///
/// # Errors
/// A text for the log.
pub fn hash_now(password: &SecretString) -> Result<String, String> {
    let hash = argon2id()?.hash_password(password.expose_secret().as_bytes()).map_err(|error| error.to_string())?;
    Ok(hash.to_string())
}

fn argon2id() -> Result<Argon2<'static>, String> {
    let params = Params::new(19_456, 2, 1, None).map_err(|error| error.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// A hash of nobody's password, with the same cost as a real one.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$ZmllbGRzdG9uZW5vYm9keWhhc3RoaXNoYXNoYXRhbGw";

fn verify_now(password: &SecretString, hash: Option<&str>) -> bool {
    let real = PasswordHash::new(hash.unwrap_or(NOBODY));
    let (Ok(parsed), Ok(hasher)) = (real, argon2id()) else { return false };
    let same = hasher.verify_password(password.expose_secret().as_bytes(), &parsed).is_ok();
    same && hash.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_placeholder_hash_is_one_that_argon2_can_read() {
        assert!(PasswordHash::new(NOBODY).is_ok());
    }

    #[tokio::test]
    async fn a_password_is_verified_exactly_as_sent() -> Result<(), Problem> {
        let passwords = Passwords::at_once(2);
        let hash = passwords.hash("  Zwölf Zeichen ".into()).await?;
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify("  Zwölf Zeichen ".into(), Some(hash.clone())).await?);
        assert!(!passwords.verify("Zwölf Zeichen".into(), Some(hash)).await?);
        assert!(!passwords.verify("  Zwölf Zeichen ".into(), None).await?);
        Ok(())
    }

    #[test]
    fn short_long_common_and_repeated_passwords_are_refused() {
        for (password, code) in [
            ("elevenchars", Some("too_short")),
            ("twelve-chars", None),
            ("Password1234", Some("too_common")),
            ("abababababab", Some("too_common")),
            ("ana@demo.example", Some("too_common")),
            ("fieldstone-demo", None),
            ("ééééééééééé", Some("too_short")),
        ] {
            assert_eq!(objection(password, "ana@demo.example").map(|(code, _)| code), code, "{password}");
        }
        assert_eq!(objection(&"xyz!".repeat(33), "").map(|(code, _)| code), Some("too_long"));
    }

    #[tokio::test]
    async fn a_crowd_at_the_door_is_told_to_come_back() {
        let passwords = Passwords::at_once(2);
        let tries = (0..200).map(|_| passwords.verify("twelve-chars".into(), None));
        let answers = futures_util::future::join_all(tries).await;
        assert!(answers.iter().any(|answer| matches!(answer, Err(Problem::Busy { .. }))));
        assert!(answers.iter().filter(|answer| answer.is_ok()).count() >= QUEUE);
    }
}
