//! Cursors that only we can write.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use crate::error::{Error, Result};
use crate::people::secret;
use crate::sql;
use crate::store::Store;

/// A key that signs cursors.
#[derive(Clone)]
pub struct CursorKey(hmac::Key);

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey(..)")
    }
}

impl CursorKey {
    /// The database's own, made when it is asked for first. It comes along in a backup: a phone's cursor must be
    /// readable where its database was restored, or the phone would not be asked for what the backup lacks.
    pub async fn of(store: &Store) -> Result<CursorKey> {
        let side = store.side().await?;
        let first = "update wf_instance set cursor_key = $1 where id = 1 and cursor_key is null";
        sql::exec(&*side, first, vec![secret::fresh()?.into()]).await?;
        let row = sql::one(&*side, "select cursor_key from wf_instance where id = 1", vec![]).await?;
        let key: String = row.ok_or(Error::NotFound)?.try_get_by_index(0)?;
        side.commit().await?;
        Ok(CursorKey::derive(key.as_bytes()))
    }

    /// Derives the key for cursors from a secret that serves other purposes too.
    pub fn derive(secret: &[u8]) -> CursorKey {
        let parent = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let tag = hmac::sign(&parent, b"fieldstone native cursor v1");
        CursorKey(hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref()))
    }

    /// Base64url of a text and its MAC.
    pub(crate) fn seal(&self, body: &str) -> String {
        let mut bytes = hmac::sign(&self.0, body.as_bytes()).as_ref().to_vec();
        bytes.extend_from_slice(body.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The text that was sealed; `None` when it was not by this key, or was edited.
    pub(crate) fn open(&self, sealed: &str) -> Option<String> {
        let mut bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (tag, body) = bytes.split_at_checked(32)?;
        hmac::verify(&self.0, body, tag).ok()?;
        bytes.drain(..32);
        String::from_utf8(bytes).ok()
    }
}

/// What a cursor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The timeline its number belongs to.
    pub epoch: i64,
    /// Everything up to this commit number has been sent.
    pub seq: i64,
    /// The user it was made for.
    pub user_id: String,
}

impl Cursor {
    /// The opaque form.
    pub fn seal(&self, key: &CursorKey) -> String {
        key.seal(&format!("1.{}.{}.{}", self.epoch, self.seq, self.user_id))
    }

    /// Reads a cursor back; `None` when it is not one of ours, or was edited.
    pub fn open(text: &str, key: &CursorKey) -> Option<Cursor> {
        let body = key.open(text)?;
        let mut parts = body.splitn(4, '.');
        if parts.next()? != "1" {
            return None;
        }
        Some(Cursor {
            epoch: parts.next()?.parse().ok()?,
            seq: parts.next()?.parse().ok()?,
            user_id: parts.next()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_an_edited_one_does_not() {
        let key = CursorKey::derive(b"secret");
        let cursor = Cursor { epoch: 3, seq: 1_800_000_000_123, user_id: "u.1".into() };
        let sealed = cursor.seal(&key);
        assert_eq!(Cursor::open(&sealed, &key), Some(cursor));
        assert_eq!(Cursor::open(&sealed, &CursorKey::derive(b"other")), None);
        for at in 0..sealed.len() {
            let mut edited = sealed.clone().into_bytes();
            edited[at] = if edited[at] == b'A' { b'B' } else { b'A' };
            let edited = String::from_utf8(edited).expect("ascii");
            assert!(edited == sealed || Cursor::open(&edited, &key).is_none_or(|read| read.seq == 1_800_000_000_123));
        }
        assert_eq!(Cursor::open("", &key), None);
    }
}
