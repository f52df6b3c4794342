//! The one place where an error becomes a status.
//!
//! Every refusal of the api is `application/problem+json` with `type`, `title`, `status`, `detail`
//! and `request_id`; programs act on `code`. Database text, parser positions and panics stay in the
//! log. `shell.rs` calls `finish` last on every answer, so the framework's own errors end here too.

use actix_web::error::{JsonPayloadError, PayloadError, QueryPayloadError, UrlencodedError};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use entities::{Error, Fault};
use serde_json::{Map, Value, json};

/// Why a request was refused. Each variant names its status and when it happens.
#[derive(Clone, Debug)]
pub enum Problem {
    /// 400: the bytes cannot be read as what they should be (JSON, a query, an instant in a path).
    Malformed(String),
    /// 401: no access token, or one that is not ours, is spent or belongs to an ended session.
    Unauthorized(&'static str),
    /// 403: this device was reported lost. The app must erase what it holds and stop.
    DeviceWiped,
    /// 403: the caller may see the thing but not do this to it.
    Forbidden(String),
    /// 404: no such thing, or not the caller's to see; the two are alike.
    NotFound,
    /// 405: the path exists, this method on it does not.
    MethodNotAllowed,
    /// 408: the body did not arrive in time.
    Slow,
    /// 409: the change does not fit the present state; `code` says how.
    Conflict {
        /// Stable word, such as `illegal_move` or `id_in_use`.
        code: &'static str,
        /// A sentence for a person.
        detail: String,
        /// Rows in conflict, for sync; empty elsewhere.
        conflicts: Vec<Value>,
    },
    /// 409: a backup was restored, and the device may hold what the server lacks.
    EpochChanged {
        /// The epoch that the server is in now.
        epoch: i64,
    },
    /// 410: the native sync cursor is older than what is kept; pull from the start.
    CursorExpired,
    /// 412: the row changed since the caller read it.
    Stale,
    /// 413: more bytes or rows than one request may carry.
    TooLarge {
        /// The limit in bytes after inflation.
        max_bytes: usize,
        /// The limit in rows, where rows are counted.
        max_rows: Option<usize>,
    },
    /// 415: an unknown or doubled Content-Encoding, or a media type that is not understood.
    Unsupported(&'static str),
    /// 422: well formed and wrong; every fault found is listed with its pointer, up to [`MOST_FAULTS`].
    Invalid(Vec<Fault>),
    /// 426: the app's schema is older than the oldest that is served.
    SchemaTooOld {
        /// The oldest version that is served.
        min_schema: u32,
    },
    /// 428: a change of a row needs If-Match.
    PreconditionRequired,
    /// 429: too many requests or failed sign-ins.
    TooMany {
        /// Whole seconds to wait before the next try.
        retry_after: u64,
    },
    /// 503: busy or not ready; the same request may go through later.
    Busy {
        /// Whole seconds to wait before the next try.
        retry_after: u64,
    },
    /// 507: the disk is full. Reads go on; writes resume when there is room.
    StorageFull,
    /// 500: a fault of ours. The text goes to the log and never to the caller.
    Internal(String),
    /// Any other status the framework itself answers with.
    Other(StatusCode),
}

/// Faults that an answer lists; of more it says how many there are.
pub const MOST_FAULTS: usize = 100;

/// The result of a handler.
pub type Answer<T = HttpResponse> = Result<T, Problem>;

impl Problem {
    /// A 400 with a sentence.
    pub fn malformed(detail: impl Into<String>) -> Problem {
        Problem::Malformed(detail.into())
    }

    /// A 422 about one field.
    pub fn invalid(field: &str, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::Invalid(vec![Fault::field(field, code, detail)])
    }

    /// The status this problem answers with.
    pub fn status(&self) -> StatusCode {
        match self {
            Problem::Malformed(_) => StatusCode::BAD_REQUEST,
            Problem::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Problem::DeviceWiped | Problem::Forbidden(_) => StatusCode::FORBIDDEN,
            Problem::NotFound => StatusCode::NOT_FOUND,
            Problem::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Problem::Slow => StatusCode::REQUEST_TIMEOUT,
            Problem::Conflict { .. } | Problem::EpochChanged { .. } => StatusCode::CONFLICT,
            Problem::CursorExpired => StatusCode::GONE,
            Problem::Stale => StatusCode::PRECONDITION_FAILED,
            Problem::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Problem::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Problem::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Problem::SchemaTooOld { .. } => StatusCode::UPGRADE_REQUIRED,
            Problem::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
            Problem::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Problem::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Problem::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
            Problem::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Problem::Other(status) => *status,
        }
    }

    /// The stable word in `code`.
    pub fn code(&self) -> &'static str {
        match self {
            Problem::Malformed(_) => "malformed",
            Problem::Unauthorized(code) | Problem::Unsupported(code) => code,
            Problem::DeviceWiped => "device_wiped",
            Problem::Forbidden(_) => "forbidden",
            Problem::NotFound => "not_found",
            Problem::MethodNotAllowed => "method_not_allowed",
            Problem::Slow => "body_too_slow",
            Problem::Conflict { code, .. } => code,
            Problem::EpochChanged { .. } => "epoch_changed",
            Problem::CursorExpired => "cursor_expired",
            Problem::Stale => "stale",
            Problem::TooLarge { .. } => "too_large",
            Problem::Invalid(_) => "invalid",
            Problem::SchemaTooOld { .. } => "schema_too_old",
            Problem::PreconditionRequired => "precondition_required",
            Problem::TooMany { .. } => "too_many_requests",
            Problem::Busy { .. } => "busy",
            Problem::StorageFull => "storage_full",
            Problem::Internal(_) => "internal",
            Problem::Other(_) => "refused",
        }
    }

    fn detail(&self) -> String {
        match self {
            Problem::Malformed(text) | Problem::Forbidden(text) => text.clone(),
            Problem::Unauthorized("token_missing") => "an access token is needed: Authorization: Bearer".into(),
            Problem::Unauthorized("token_expired") => "the access token has expired; refresh it".into(),
            Problem::Unauthorized("sign_in_failed") => "e-mail address or password is wrong".into(),
            Problem::Unauthorized(_) => "this session is over; sign in again".into(),
            Problem::DeviceWiped => "this device was reported lost; erase its data".into(),
            Problem::NotFound => "there is nothing here that you may see".into(),
            Problem::MethodNotAllowed => "this path does not take that method".into(),
            Problem::Slow => "the body did not arrive in time".into(),
            Problem::Conflict { detail, .. } => detail.clone(),
            Problem::EpochChanged { .. } => {
                "a backup was restored: offer what you hold, then pull from the start".into()
            }
            Problem::CursorExpired => "the cursor is too old; pull again from the start".into(),
            Problem::Stale => "the row has changed since it was read; read it again".into(),
            Problem::TooLarge { .. } => "the request is larger than allowed; send it in parts".into(),
            Problem::Unsupported(_) => "only identity and gzip bodies are understood, encoded once".into(),
            Problem::Invalid(faults) if faults.len() > MOST_FAULTS => {
                format!("some parts are missing or wrong; errors lists the first {MOST_FAULTS} of {}", faults.len())
            }
            Problem::Invalid(_) => "some parts are missing or wrong; errors lists them all".into(),
            Problem::SchemaTooOld { .. } => "the app must be updated before it can sync".into(),
            Problem::PreconditionRequired => "send If-Match with the ETag of the row you read".into(),
            Problem::TooMany { .. } => "too many attempts; wait before the next one".into(),
            Problem::Busy { .. } => "busy for the moment; try the same request again".into(),
            Problem::StorageFull => "the server's storage is full; nothing was written".into(),
            Problem::Internal(_) => "something went wrong on our side; the request id finds it in the log".into(),
            Problem::Other(status) => status.canonical_reason().unwrap_or("refused").to_lowercase(),
        }
    }

    /// The problem document as a client reads it.
    pub fn document(&self, request_id: &str) -> Value {
        let mut body = Map::new();
        body.insert("type".into(), format!("urn:fieldstone:problem:{}", self.code()).into());
        body.insert("title".into(), self.status().canonical_reason().unwrap_or("Refused").into());
        body.insert("status".into(), self.status().as_u16().into());
        body.insert("detail".into(), self.detail().into());
        body.insert("request_id".into(), request_id.into());
        body.insert("code".into(), self.code().into());
        match self {
            Problem::Invalid(faults) => {
                let (listed, more) = faults.split_at(faults.len().min(MOST_FAULTS));
                body.insert("errors".into(), json!(listed));
                if !more.is_empty() {
                    body.insert("more_errors".into(), json!(more.len()));
                }
            }
            Problem::Conflict { conflicts, .. } if !conflicts.is_empty() => {
                body.insert("conflicts".into(), json!(conflicts));
            }
            Problem::EpochChanged { epoch } => {
                body.insert("epoch".into(), json!(epoch));
            }
            Problem::SchemaTooOld { min_schema } => {
                body.insert("min_schema".into(), json!(min_schema));
            }
            Problem::TooLarge { max_bytes, max_rows } => {
                body.insert("max_bytes".into(), json!(max_bytes));
                if let Some(rows) = max_rows {
                    body.insert("max_rows".into(), json!(rows));
                }
            }
            _ => {}
        }
        Value::Object(body)
    }

    /// The whole answer.
    pub fn respond(&self, request_id: &str) -> HttpResponse {
        let mut answer = HttpResponseBuilder::new(self.status());
        answer.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        match self {
            Problem::TooMany { retry_after } | Problem::Busy { retry_after } => {
                // Not all at once: whoever was refused together comes back apart.
                let secs = crate::pace::retry_after(*retry_after, request_id);
                answer.insert_header((header::RETRY_AFTER, secs.to_string()));
            }
            Problem::Unauthorized(code) => {
                let challenge = match *code {
                    "token_missing" | "sign_in_failed" => "Bearer".to_owned(),
                    code => format!("Bearer error=\"invalid_token\", error_description=\"{code}\""),
                };
                answer.insert_header((header::WWW_AUTHENTICATE, challenge));
            }
            // The rest of the body may never come: nothing else can be read from this line.
            Problem::Slow => {
                answer.force_close();
            }
            _ => {}
        }
        answer.body(self.document(request_id).to_string())
    }

    /// Reads the framework's own errors; `status` decides where the type says nothing.
    pub fn from_framework(error: &actix_web::Error, status: StatusCode) -> Problem {
        if let Some(problem) = error.as_error::<Problem>() {
            return problem.clone();
        }
        if let Some(error) = error.as_error::<PayloadError>() {
            return Problem::from(error);
        }
        if error.as_error::<JsonPayloadError>().is_some() && status == StatusCode::BAD_REQUEST {
            return Problem::malformed("the body is not readable JSON");
        }
        if error.as_error::<QueryPayloadError>().is_some() || error.as_error::<UrlencodedError>().is_some() {
            return Problem::malformed("the query cannot be read");
        }
        Problem::from_status(status)
    }

    /// The problem that a bare status stands for.
    pub fn from_status(status: StatusCode) -> Problem {
        match status.as_u16() {
            400 => Problem::malformed("the request cannot be read"),
            404 => Problem::NotFound,
            405 => Problem::MethodNotAllowed,
            408 => Problem::Slow,
            413 => Problem::TooLarge { max_bytes: crate::body::Limits::REST.inflated, max_rows: None },
            415 => Problem::Unsupported("unsupported_media_type"),
            500 => Problem::Internal("an error without a text".into()),
            503 => Problem::Busy { retry_after: 1 },
            _ => Problem::Other(status),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Problem::Internal(text) => f.write_str(text),
            _ => write!(f, "{} {}", self.status().as_u16(), self.code()),
        }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse {
        self.respond("")
    }
}

impl From<&PayloadError> for Problem {
    fn from(error: &PayloadError) -> Self {
        match error {
            PayloadError::Overflow => Problem::from_status(StatusCode::PAYLOAD_TOO_LARGE),
            PayloadError::EncodingCorrupted => Problem::malformed("the body is not valid gzip"),
            _ => Problem::malformed("the body ended before it was complete"),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Problem::NotFound,
            Error::Forbidden(why) => Problem::Forbidden(why),
            Error::Invalid(faults) => Problem::Invalid(faults),
            Error::Conflict { code, detail } => Problem::Conflict { code, detail, conflicts: Vec::new() },
            Error::Stale => Problem::Stale,
            Error::Busy(why) => {
                tracing::warn!(why, "the database is busy");
                Problem::Busy { retry_after: 1 }
            }
            Error::StorageFull => Problem::StorageFull,
            Error::Internal(why) => Problem::Internal(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_error_tells_the_caller_nothing() {
        let text = Problem::Internal("column secret does not exist".into()).document("r1").to_string();
        assert!(!text.contains("secret"), "{text}");
        assert!(text.contains("r1"));
    }

    #[test]
    fn an_invalid_body_lists_every_fault_with_its_pointer() {
        let faults =
            vec![Fault::field("email", "required", "is missing"), Fault::field("password", "required", "is missing")];
        let document = Problem::Invalid(faults).document("r1");
        assert_eq!(document["status"], 422);
        assert_eq!(document["errors"][0]["pointer"], "/email");
        assert_eq!(document["errors"][1]["pointer"], "/password");
    }

    #[test]
    fn of_many_faults_some_are_listed_and_the_others_counted() {
        let faults = (0..250).map(|at| Fault::field(&format!("m{at}"), "unknown_field", "is not known here")).collect();
        let document = Problem::Invalid(faults).document("r1");
        assert_eq!(document["errors"].as_array().map(Vec::len), Some(MOST_FAULTS));
        assert_eq!(document["more_errors"], 150);
        assert!(document["detail"].as_str().is_some_and(|detail| detail.ends_with("the first 100 of 250")));
    }

    #[test]
    fn waiting_problems_say_how_long() {
        for problem in [Problem::TooMany { retry_after: 7 }, Problem::Busy { retry_after: 7 }] {
            let answer = problem.respond("0");
            assert_eq!(answer.headers().get("retry-after").map(|v| v.as_bytes()), Some(&b"7"[..]));
        }
    }
}
