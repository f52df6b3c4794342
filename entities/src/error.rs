//! What can go wrong, in the words of the domain.
//!
//! This room knows no HTTP: `api::problem` is the one place that gives these a status.

use serde::Serialize;

/// One thing wrong with one part of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// JSON pointer into the body, such as `/due_on`; empty for the body as a whole.
    pub pointer: String,
    /// A stable word a program can act on, such as `required`, `too_long`, `unknown_field`.
    pub code: &'static str,
    /// A sentence for a person; never repeats what was sent.
    pub detail: String,
}

impl Fault {
    /// A fault of one named field.
    pub fn field(name: &str, code: &'static str, detail: impl Into<String>) -> Fault {
        Fault { pointer: format!("/{name}"), code, detail: detail.into() }
    }
}

/// Why an operation did not happen. Nothing was changed when one of these comes back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The row does not exist or is not the reader's to see; the two answer alike.
    #[error("no such row")]
    NotFound,
    /// The reader may see the row but not do this.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// The input is well formed and says something that cannot be; every fault found is listed.
    #[error("invalid input")]
    Invalid(Vec<Fault>),
    /// The change does not fit the present state (an illegal move, an id already in use).
    #[error("conflict: {detail}")]
    Conflict {
        /// Stable word, such as `illegal_move` or `id_in_use`.
        code: &'static str,
        /// A sentence for a person.
        detail: String,
    },
    /// The row changed since the writer last read it.
    #[error("the row has changed since it was read")]
    Stale,
    /// The database is busy or gone for the moment; the same call may go through later.
    #[error("busy: {0}")]
    Busy(String),
    /// The disk is full: reads go on, writes resume when there is room.
    #[error("storage is full")]
    StorageFull,
    /// Something broke inside; the text is for operators and never reaches a client.
    #[error("internal: {0}")]
    Internal(String),
}

impl From<std::io::Error> for Error {
    fn from(err: std::io::Error) -> Error {
        Error::Internal(err.to_string())
    }
}

impl Error {
    /// One fault of one field.
    pub fn invalid(name: &str, code: &'static str, detail: impl Into<String>) -> Error {
        Error::Invalid(vec![Fault::field(name, code, detail)])
    }
}

/// The result of everything in this crate that touches stored data.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<sea_orm::DbErr> for Error {
    fn from(err: sea_orm::DbErr) -> Self {
        let text = said(&err);
        let low = text.to_lowercase();
        if matches!(err, sea_orm::DbErr::ConnectionAcquire(_) | sea_orm::DbErr::Conn(_))
            || [
                "database is locked",
                "database table is locked",
                "lock timeout",
                "statement timeout",
                "deadlock",
                "could not serialize",
                "connection",
                "pool timed out",
                "terminating",
                "shutting down",
                "starting up",
                "broken pipe",
                "recovery mode",
                // A primary that has been demoted: the address leads to the new one soon.
                "read-only transaction",
                "too many clients",
                "communicating with database",
                "at eof",
                "because of crash",
            ]
            .iter()
            .any(|sign| low.contains(sign))
        {
            return Error::Busy(text);
        }
        if ["disk is full", "no space left", "disk full"].iter().any(|sign| low.contains(sign)) {
            return Error::StorageFull;
        }
        match err.sql_err() {
            Some(sea_orm::SqlErr::UniqueConstraintViolation(_)) => {
                Error::Conflict { code: "already_exists", detail: "a row with this identity exists already".into() }
            }
            _ => Error::Internal(text),
        }
    }
}

/// What a database said. PostgreSQL's driver adds a line of PostgreSQL's own source.
fn said(err: &sea_orm::DbErr) -> String {
    let text = err.to_string();
    match text.rsplit_once(" at line ") {
        Some((said, line)) if line.bytes().all(|byte| byte.is_ascii_digit()) => said.to_owned(),
        _ => text,
    }
}
