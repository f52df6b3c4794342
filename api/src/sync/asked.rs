//! What every face reads from a request, and the refusals they share.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::num::IntErrorKind;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use entities::registry::{MIN_SCHEMA_VERSION, SCHEMA_VERSION};
use entities::sync::{self, MAX_ROWS, PushRefusal};
use serde_json::{Value, json};

use crate::body::{self, Limits};
use crate::problem::Problem;

/// The parameters of a request. One that is named twice is refused: two readers could read it differently.
#[derive(Debug)]
pub(super) struct Query(HashMap<String, String>);

impl Query {
    /// A parameter as it was sent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl FromRequest for Query {
    type Error = Problem;
    type Future = Ready<Result<Query, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let Ok(pairs) = web::Query::<Vec<(String, String)>>::from_query(req.query_string()) else {
            return ready(Err(Problem::malformed("the query cannot be read")));
        };
        let mut all = HashMap::new();
        for (name, value) in pairs.into_inner() {
            if all.insert(name, value).is_some() {
                return ready(Err(Problem::malformed("a parameter is named twice")));
            }
        }
        ready(Ok(Query(all)))
    }
}

/// A whole number that is not negative, where the app gives one.
pub(super) fn number(query: &Query, name: &str) -> Result<Option<i64>, Problem> {
    let wrong = || Problem::malformed(format!("{name} must be a whole number, and not negative"));
    let read = |text: &str| text.parse().ok().filter(|number: &i64| *number >= 0).ok_or_else(wrong);
    word(query.get(name)).map(read).transpose()
}

/// The epoch a request names; there is none of number 0.
pub(super) fn epoch(query: &Query) -> Result<Option<i64>, Problem> {
    Ok(number(query, "epoch")?.filter(|epoch| *epoch > 0))
}

/// The schema version a request names, the newest when it names none.
pub(super) fn schema_version(sent: Option<&str>) -> Result<u32, Problem> {
    let version = match word(sent) {
        None => *SCHEMA_VERSION,
        Some(text) => text.parse().map_err(|_| Problem::malformed("schema_version must be a whole number"))?,
    };
    if version < MIN_SCHEMA_VERSION {
        return Err(Problem::SchemaTooOld { min_schema: MIN_SCHEMA_VERSION });
    }
    Ok(version)
}

/// Rows of a page at most, whatever the face.
pub(super) const MAX_LIMIT: usize = 2000;

/// The number of rows a request asks for, at most `max`; more than any number is the most.
pub(super) fn limit(sent: Option<&str>, max: usize) -> Result<Option<usize>, Problem> {
    let Some(text) = word(sent) else { return Ok(None) };
    match text.parse::<usize>() {
        Ok(limit) if limit > 0 => Ok(Some(limit.min(max))),
        Err(why) if *why.kind() == IntErrorKind::PosOverflow => Ok(Some(max)),
        _ => Err(Problem::malformed("limit must be a whole number of at least 1")),
    }
}

/// A parameter; clients written in JavaScript spell one that is not there in several ways.
pub(super) fn word(sent: Option<&str>) -> Option<&str> {
    sent.filter(|text| !matches!(*text, "" | "null" | "undefined"))
}

/// The body, whatever its content type, with text that was cut badly mended.
pub(super) async fn body(req: &HttpRequest, payload: web::Payload) -> Result<Value, Problem> {
    let bytes = body::read(req, &mut payload.into_inner(), Limits::SYNC).await?;
    let text = sync::mend(&bytes).0;
    body::parse(text.as_bytes()).or_else(|problem| match sync::bound(&text) {
        Some(bounded) => body::parse(bounded.as_bytes()),
        None => Err(problem),
    })
}

/// The refusal of a body with more rows than one request may carry.
pub(super) fn too_many_rows() -> Problem {
    Problem::TooLarge { max_bytes: Limits::SYNC.inflated, max_rows: Some(MAX_ROWS) }
}

/// A push that was not taken, as a problem.
pub(super) fn refused(refusal: PushRefusal) -> Problem {
    match refusal {
        PushRefusal::Conflict(conflicts) => Problem::Conflict {
            code: "sync_conflict",
            detail: "another device changed the same columns: pull, merge and push again".into(),
            conflicts: conflicts.iter().map(|row| json!(row)).collect(),
        },
        PushRefusal::EpochChanged(epoch) => Problem::EpochChanged { epoch },
        PushRefusal::TooManyRows => too_many_rows(),
        PushRefusal::Malformed(detail) => Problem::Malformed(detail),
        PushRefusal::Failed(error) => error.into(),
    }
}
