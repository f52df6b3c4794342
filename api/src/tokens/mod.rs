//! Access tokens and the keys that sign them.
//!
//! Ten minutes, HS256 and nothing else, every claim required and checked here: the library neither
//! looks at `typ` nor minds a missing audience, and it would ask the machine for the time instead of
//! our clock. A token only names a session; whether that session still stands is asked of the
//! database in `session.rs`.

mod hs256;
mod key_file;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entities::clock::Instant;
use entities::sync::native::cursor::CursorKey;
use jsonwebtoken::{Algorithm, Header, Validation};
use ring::hmac;
use serde::{Deserialize, Serialize};
use tokio::time;

use hs256::install;
use key_file::{Key, create_file, load};
pub use key_file::{KeyError, rotate};

/// How long an access token lives, in seconds.
pub const ACCESS_SECS: i64 = 600;
const LEEWAY_SECS: i64 = 5;
const ISSUER: &str = "fieldstone";
const AUDIENCE: &str = "fieldstone-api";
const TYPE: &str = "at+jwt";

/// What an access token says. Times are seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it: always `fieldstone`.
    pub iss: String,
    /// Whom it is for: always `fieldstone-api`.
    pub aud: String,
    /// The user.
    pub sub: String,
    /// The session, which holds device and agency.
    pub sid: String,
    /// This token.
    pub jti: String,
    /// How often the session had been refreshed when this was issued.
    pub generation: i64,
    /// Issued at.
    pub iat: i64,
    /// Not valid before.
    pub nbf: i64,
    /// Not valid after.
    pub exp: i64,
}

/// Why a token was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It was ours and its time is over.
    Expired,
    /// It is ours and its time has not come: the clocks of two processes differ.
    Early,
    /// Anything else; which, is nobody's business.
    Invalid,
}

/// The keys in use: the first signs, all verify. The file is read again once a minute, so that a new key signs and
/// a dropped one is accepted no more without a restart, and at once when a token names an unknown key, which another
/// process may have read before.
pub struct Keys {
    keys: RwLock<Vec<Key>>,
    path: Option<PathBuf>,
    read_at: Mutex<Option<time::Instant>>,
    /// When the file was last read for its age, in milliseconds of the clock that tokens go by.
    looked_at: AtomicI64,
    /// What tokens say whose signature was found good: a phone sends the same one for ten minutes. Their
    /// times are looked at each time.
    good: RwLock<HashMap<String, Arc<Claims>>>,
}

/// Tokens remembered before the memory starts afresh.
const REMEMBERED: usize = 20_000;
/// How long a change of the key file may go unnoticed.
const LOOK_MS: u64 = 60_000;

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(redacted)")
    }
}

impl Keys {
    /// Reads the key file; where it is missing and `create` is set, makes one with mode 0600.
    ///
    /// # Errors
    /// [`KeyError`] for a file that is missing, open to others, or holds less than 32 bytes a key.
    pub fn open(path: &Path, create: bool) -> Result<Keys, KeyError> {
        if create && !path.exists() {
            create_file(path)?;
        }
        Ok(Keys::of(load(path)?, Some(path.to_owned())))
    }

    /// Keys that live as long as the process, for tests.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn ephemeral() -> Result<Keys, KeyError> {
        let key = Key::ephemeral()?;
        Ok(Keys::of(vec![key], None))
    }

    fn of(keys: Vec<Key>, path: Option<PathBuf>) -> Keys {
        Keys {
            keys: RwLock::new(keys),
            path,
            read_at: Mutex::new(None),
            looked_at: AtomicI64::new(0),
            good: RwLock::default(),
        }
    }

    /// Signs a token for a session.
    ///
    /// # Errors
    /// A text for the log, when signing is impossible.
    pub fn sign(&self, claims: &Claims) -> Result<String, String> {
        install();
        self.look(Instant(claims.iat.saturating_mul(1000)));
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.first().ok_or("there is no signing key")?;
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYPE.into());
        header.kid = Some(key.kid.clone());
        jsonwebtoken::encode(&header, claims, &key.encoding).map_err(|error| error.to_string())
    }

    /// Reads a token back.
    ///
    /// # Errors
    /// [`Refused`]; nothing in a refused token is to be believed.
    pub fn verify(&self, token: &str, now: Instant) -> Result<Arc<Claims>, Refused> {
        self.look(now);
        let known = self.good.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned();
        let claims = match known {
            Some(claims) => claims,
            None => self.read(token)?,
        };
        let now = now.0.div_euclid(1000);
        if claims.nbf > now + LEEWAY_SECS {
            return Err(Refused::Early);
        }
        if claims.exp.saturating_add(LEEWAY_SECS) <= now {
            return Err(Refused::Expired);
        }
        Ok(claims)
    }

    /// Checks a token in everything but its times.
    fn read(&self, token: &str) -> Result<Arc<Claims>, Refused> {
        install();
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::Invalid)?;
        let kid = header.kid.as_deref().ok_or(Refused::Invalid)?;
        if header.alg != Algorithm::HS256 || header.typ.as_deref() != Some(TYPE) {
            return Err(Refused::Invalid);
        }
        let claims = match self.decode(token, kid) {
            None if self.reload() => self.decode(token, kid).ok_or(Refused::Invalid)??,
            None => return Err(Refused::Invalid),
            Some(decoded) => decoded?,
        };
        if claims.iss != ISSUER || claims.aud != AUDIENCE {
            return Err(Refused::Invalid);
        }
        let claims = Arc::new(claims);
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        // Its key may have been taken out since, and what it signed been forgotten.
        if keys.iter().any(|key| key.kid == kid) {
            let mut good = self.good.write().unwrap_or_else(PoisonError::into_inner);
            if good.len() >= REMEMBERED {
                good.clear();
            }
            good.insert(token.to_owned(), Arc::clone(&claims));
        }
        Ok(claims)
    }

    /// `None` when the key is unknown.
    fn decode(&self, token: &str, kid: &str) -> Option<Result<Claims, Refused>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.iter().find(|key| key.kid == kid)?;
        // Missing claims fail in `Claims`; times and names are compared above, by our own clock.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let decoded = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation);
        Some(decoded.map(|data| data.claims).map_err(|_| Refused::Invalid))
    }

    fn reload(&self) -> bool {
        let Some(path) = &self.path else { return false };
        // At most once a second, or made-up tokens would keep the disk busy.
        let mut read_at = self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        if read_at.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
            return true;
        }
        *read_at = Some(time::Instant::now());
        self.read_again(path).unwrap_or(false)
    }

    /// Reads the file again when a minute has passed. One thread does; the others go on with what they know.
    fn look(&self, now: Instant) {
        let Some(path) = &self.path else { return };
        let looked = self.looked_at.load(Ordering::Relaxed);
        if now.0.abs_diff(looked) < LOOK_MS
            || self.looked_at.compare_exchange(looked, now.0, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        if let Err(error) = self.read_again(path) {
            tracing::warn!(%error, "the signing keys could not be read again: going on with those that are known");
        }
    }

    /// Whether the file holds other keys than before.
    fn read_again(&self, path: &Path) -> Result<bool, KeyError> {
        let fresh = load(path)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let changed = fresh.iter().map(|key| (&key.kid, &key.raw)).ne(keys.iter().map(|key| (&key.kid, &key.raw)));
        if changed {
            *keys = fresh;
            self.good.write().unwrap_or_else(PoisonError::into_inner).clear();
        }
        Ok(changed)
    }

    /// Keys that sealed cursors before the database kept one for them.
    pub fn cursor_keys(&self) -> Vec<CursorKey> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|key| CursorKey::derive(&key.raw)).collect()
    }

    /// A keyed fingerprint for short-lived counters, so that what failed cannot be read from them.
    pub fn fingerprint(&self, of: &[u8]) -> String {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        fingerprint(keys.first().map_or(&[][..], |key| &key.raw), of)
    }

    /// Whether any of the keys made this fingerprint: what one process handed out comes back to another, and after
    /// a new key has taken the first place.
    pub fn made(&self, print: &str, of: &[u8]) -> bool {
        let any = || {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            keys.iter().any(|key| fingerprint(&key.raw, of) == print)
        };
        any() || (self.reload() && any())
    }
}

fn fingerprint(secret: &[u8], of: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), of);
    URL_SAFE_NO_PAD.encode(&tag.as_ref()[..6])
}

impl Claims {
    /// The claims of a fresh token for a session.
    pub fn new(user_id: &str, session_id: &str, generation: i64, jti: String, now: Instant) -> Claims {
        let iat = now.0.div_euclid(1000);
        Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: user_id.into(),
            sid: session_id.into(),
            jti,
            generation,
            iat,
            nbf: iat,
            exp: iat + ACCESS_SECS,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::{Value, json};

    use super::*;

    const NOW: Instant = Instant(1_800_000_000_000);

    fn claims() -> Claims {
        Claims::new("user", "session", 0, "jti".into(), NOW)
    }

    fn keys() -> Keys {
        Keys::ephemeral().unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// A token with a header and claims of the forger's choice, signed with the real key.
    fn forged(keys: &Keys, header: Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(claims));
        let held = keys.keys.read().unwrap_or_else(PoisonError::into_inner);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &held[0].raw), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    #[test]
    fn a_token_reads_back_until_ten_minutes_and_five_seconds_later() {
        let keys = keys();
        let token = keys.sign(&claims()).unwrap_or_default();
        assert_eq!(keys.verify(&token, NOW), Ok(Arc::new(claims())));
        assert_eq!(keys.verify(&token, NOW.plus_secs(604)), Ok(Arc::new(claims())));
        assert_eq!(keys.verify(&token, NOW.plus_secs(605)), Err(Refused::Expired));
        assert_eq!(keys.verify(&token, NOW.plus_secs(-6)), Err(Refused::Early));
    }

    #[test]
    fn a_token_lacking_any_claim_or_its_type_is_refused() {
        let keys = keys();
        let header = json!({"alg": "HS256", "typ": "at+jwt", "kid": "ephemeral"});
        let full = serde_json::to_value(claims()).unwrap_or_default();
        assert!(keys.verify(&forged(&keys, header.clone(), &full), NOW).is_ok());
        for claim in ["iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp"] {
            let mut less = full.clone();
            less.as_object_mut().map(|members| members.remove(claim));
            assert_eq!(keys.verify(&forged(&keys, header.clone(), &less), NOW), Err(Refused::Invalid), "{claim}");
        }
        for (name, value) in [("typ", "JWT"), ("alg", "none"), ("alg", "HS512"), ("kid", "other")] {
            let mut other = header.clone();
            other[name] = value.into();
            assert_eq!(keys.verify(&forged(&keys, other, &full), NOW), Err(Refused::Invalid), "{name}");
        }
        for (name, value) in [("iss", "other"), ("aud", "other")] {
            let mut other = full.clone();
            other[name] = value.into();
            assert_eq!(keys.verify(&forged(&keys, header.clone(), &other), NOW), Err(Refused::Invalid), "{name}");
        }
        // A time beyond all counting has not come.
        let mut late = full.clone();
        late["exp"] = i64::MAX.into();
        assert!(keys.verify(&forged(&keys, header.clone(), &late), NOW).is_ok());
        let stranger = Keys::ephemeral().and_then(|other| other.sign(&claims()).map_err(|_| KeyError::Random));
        assert_eq!(keys.verify(&stranger.unwrap_or_default(), NOW), Err(Refused::Invalid));
    }

    #[test]
    fn rotation_keeps_old_tokens_good_and_reaches_a_running_process() -> Result<(), KeyError> {
        let folder = std::env::temp_dir().join(format!("fieldstone-keys-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| KeyError::File(folder.clone(), error))?;
        let path = folder.join("signing.json");
        let running = Keys::open(&path, true)?;
        let old = running.sign(&claims()).unwrap_or_default();
        rotate(&path, NOW, false)?;
        let restarted = Keys::open(&path, false)?;
        let new = restarted.sign(&claims()).unwrap_or_default();
        assert!(restarted.verify(&old, NOW).is_ok());
        assert!(running.verify(&new, NOW).is_ok());
        // A token that was found good is not when its key has been taken out.
        let running = Keys::open(&path, false)?;
        assert!(running.verify(&old, NOW).is_ok() && running.verify(&old, NOW).is_ok());
        for later in 1..=4 {
            rotate(&path, NOW.plus_secs(later), false)?;
        }
        let newest = Keys::open(&path, false)?.sign(&claims()).unwrap_or_default();
        assert!(running.verify(&newest, NOW).is_ok());
        assert_eq!(running.verify(&old, NOW), Err(Refused::Invalid));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))
            .map_err(|error| KeyError::File(path.clone(), error))?;
        assert!(matches!(Keys::open(&path, false), Err(KeyError::Open(..))));
        std::fs::remove_dir_all(&folder).map_err(|error| KeyError::File(folder, error))
    }

    #[test]
    fn within_a_minute_a_new_key_signs_and_a_dropped_one_is_refused() -> Result<(), KeyError> {
        let folder = std::env::temp_dir().join(format!("fieldstone-minute-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| KeyError::File(folder.clone(), error))?;
        let path = folder.join("signing.json");
        let running = Keys::open(&path, true)?;
        let signs_at = |secs| {
            let now = NOW.plus_secs(secs);
            running.sign(&Claims::new("user", "session", 0, "jti".into(), now)).unwrap_or_default()
        };
        let kid = |token: &str| jsonwebtoken::decode_header(token).ok().and_then(|header| header.kid);
        let first = signs_at(0);
        let print = running.fingerprint(b"a page of a list");
        rotate(&path, NOW, false)?;
        assert_eq!(kid(&signs_at(59)), kid(&first));
        let second = signs_at(60);
        assert_ne!(kid(&second), kid(&first));
        assert!(running.verify(&first, NOW.plus_secs(60)).is_ok());
        assert!(running.made(&print, b"a page of a list") && !running.made(&print, b"another page"));
        rotate(&path, NOW.plus_secs(61), true)?;
        assert!(running.verify(&second, NOW.plus_secs(119)).is_ok());
        assert_eq!(running.verify(&second, NOW.plus_secs(120)), Err(Refused::Invalid));
        assert_eq!(running.verify(&first, NOW.plus_secs(120)), Err(Refused::Invalid));
        assert!(running.verify(&signs_at(121), NOW.plus_secs(121)).is_ok());
        std::fs::remove_dir_all(&folder).map_err(|error| KeyError::File(folder, error))
    }
}
