//! Where a list goes on: opaque, and good only for the reader and the question it was given for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::problem::Problem;
use crate::tokens::Keys;

/// The cursor after a row.
pub(super) fn seal(keys: &Keys, question: &str, last: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}{last}", keys.fingerprint(&place(question, last))))
}

/// The id that the list goes on after.
pub(super) fn open(keys: &Keys, question: &str, cursor: &str) -> Result<String, Problem> {
    let bad = || Problem::malformed("the cursor belongs to another list, or is none");
    let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(bad)?;
    let (held, last) = text.split_at_checked(TAG).ok_or_else(bad)?;
    if keys.made(held, &place(question, last)) { Ok(last.to_owned()) } else { Err(bad()) }
}

/// Length of a fingerprint as text.
const TAG: usize = 8;

fn place(question: &str, last: &str) -> Vec<u8> {
    format!("cursor\n{question}\n{last}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_opens_for_its_own_question_and_no_other() -> Result<(), Box<dyn std::error::Error>> {
        let keys = Keys::ephemeral()?;
        let cursor = seal(&keys, "ana goals", "0192-last");
        assert_eq!(open(&keys, "ana goals", &cursor).ok().as_deref(), Some("0192-last"));
        assert!(open(&keys, "ben goals", &cursor).is_err());
        for wrong in ["", "x", "????", "AAAAAAAAAAAAAAAA"] {
            assert!(open(&keys, "ana goals", wrong).is_err(), "{wrong}");
        }
        Ok(())
    }
}
