//! The file of signing keys: `{"keys": [{"kid", "secret"}]}`, mode 0600, the first key signs.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entities::clock::Instant;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde::{Deserialize, Serialize};

/// Why the keys could not be read or made. The process must not start.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no file.
    #[error(
        "there is no signing key file {0}: `fieldstone admin rotate-signing-key` makes it, and every api process needs \
         the same one"
    )]
    Missing(PathBuf),
    /// The file could not be read or written.
    #[error("the signing key file {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// Other users of the machine can read or change it.
    #[error("the signing key file {0} is open to other users of this machine (mode {1:o}); chmod 600 it")]
    Open(PathBuf, u32),
    /// It holds no usable key.
    #[error("the signing key file {0} {1}")]
    Content(PathBuf, &'static str),
    /// The system gave no randomness.
    #[error("the system gave no randomness for a new key")]
    Random,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    keys: Vec<KeyEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    kid: String,
    /// 32 bytes or more in base64url without padding.
    secret: String,
}

pub(super) struct Key {
    pub(super) kid: String,
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
    pub(super) raw: Vec<u8>,
}

/// Adds a new signing key in front of those in the file, keeping the last three so that tokens
/// already out stay good, or none of them where one has leaked. Running processes read the file again
/// within a minute. Makes the file, with its first key, where there is none.
///
/// # Errors
/// As [`super::Keys::open`].
pub fn rotate(path: &Path, now: Instant, drop_old: bool) -> Result<(), KeyError> {
    if !path.exists() {
        return create_file(path);
    }
    let mut file = read_file(path)?;
    file.keys.insert(0, fresh_entry(&format!("k{}", now.0))?);
    file.keys.truncate(if drop_old { 1 } else { 4 });
    write_file(path, &file, false)
}

impl Key {
    /// A key that no file has, for a process that ends with its tokens.
    pub(super) fn ephemeral() -> Result<Key, KeyError> {
        Key::read(&fresh_entry("ephemeral")?).ok_or(KeyError::Random)
    }

    fn read(entry: &KeyEntry) -> Option<Key> {
        let raw = URL_SAFE_NO_PAD.decode(&entry.secret).ok()?;
        (raw.len() >= 32 && !entry.kid.is_empty()).then(|| Key {
            kid: entry.kid.clone(),
            encoding: EncodingKey::from_secret(&raw),
            decoding: DecodingKey::from_secret(&raw),
            raw,
        })
    }
}

fn fresh_entry(kid: &str) -> Result<KeyEntry, KeyError> {
    let secret = entities::people::secret::fresh().map_err(|_| KeyError::Random)?;
    Ok(KeyEntry { kid: kid.into(), secret })
}

pub(super) fn create_file(path: &Path) -> Result<(), KeyError> {
    let file = KeyFile { keys: vec![fresh_entry("k0")?] };
    match write_file(path, &file, true) {
        // Another process was first: its key is the key.
        Err(KeyError::File(_, error)) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// Written beside and moved into place, so that no reader ever sees half a file.
fn write_file(path: &Path, file: &KeyFile, only_new: bool) -> Result<(), KeyError> {
    let fail = |error| KeyError::File(path.to_owned(), error);
    let text = serde_json::to_string_pretty(file).map_err(|error| fail(error.into()))?;
    let beside = path.with_extension(format!("new{}", std::process::id()));
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside).map_err(fail)?;
    // Whoever serves reads it on, whoever it is that makes a new key.
    let like = |held: &std::fs::Metadata| {
        if out.metadata()?.uid() != held.uid() {
            std::os::unix::fs::fchown(&out, Some(held.uid()), None)?;
        }
        match std::os::unix::fs::fchown(&out, None, Some(held.gid())) {
            Ok(()) => out.set_permissions(held.permissions()),
            // Of a group that is not ours: its owner reads it all the same.
            Err(_) => Ok(()),
        }
    };
    if let Ok(held) = std::fs::metadata(path)
        && let Err(error) = like(&held)
    {
        let _gone = std::fs::remove_file(&beside);
        return Err(fail(error));
    }
    let moved = out
        .write_all(text.as_bytes())
        .and_then(|()| out.sync_all())
        .and_then(|()| if only_new { std::fs::hard_link(&beside, path) } else { std::fs::rename(&beside, path) });
    if only_new {
        std::fs::remove_file(&beside).map_err(fail)?;
    }
    moved.map_err(fail)
}

fn read_file(path: &Path) -> Result<KeyFile, KeyError> {
    let fail = |error| KeyError::File(path.to_owned(), error);
    let mut file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => KeyError::Missing(path.to_owned()),
        _ => fail(error),
    })?;
    let about = file.metadata().map_err(fail)?;
    if about.is_dir() {
        return Err(fail(std::io::ErrorKind::IsADirectory.into()));
    }
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o027 != 0 {
        return Err(KeyError::Open(path.to_owned(), mode));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(fail)?;
    serde_json::from_str(&text)
        .map_err(|_| KeyError::Content(path.to_owned(), "is not {\"keys\": [{\"kid\", \"secret\"}]}"))
}

pub(super) fn load(path: &Path) -> Result<Vec<Key>, KeyError> {
    let file = read_file(path)?;
    let keys: Option<Vec<Key>> = file.keys.iter().map(Key::read).collect();
    match keys {
        Some(keys) if !keys.is_empty() => Ok(keys),
        Some(_) => Err(KeyError::Content(path.to_owned(), "holds no key")),
        None => Err(KeyError::Content(path.to_owned(), "holds a key shorter than 32 bytes")),
    }
}
