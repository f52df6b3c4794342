//! Cells as JSON and back, in the two dialects of the wire.

use sea_orm::Value;
use serde_json::Value as Json;

use super::{Column, Kind, Row};
use crate::clock::{Day, Instant};
use crate::doc::canonical;
use crate::error::Fault;
use crate::sql::is_null;

/// A dialect of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// REST and native sync: instants in RFC 3339, lists and objects as JSON.
    Rest,
    /// WatermelonDB: instants as milliseconds, lists and objects as a string holding JSON.
    Watermelon,
}

/// Why a JSON value does not fit a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Stable word.
    pub code: &'static str,
    /// A sentence that never repeats the value.
    pub detail: String,
}

impl Unfit {
    fn new(code: &'static str, detail: impl Into<String>) -> Unfit {
        Unfit { code, detail: detail.into() }
    }
}

/// True for an id a device may mint: 8 to 64 of `A-Z a-z 0-9 . _ -`.
pub fn is_id(text: &str) -> bool {
    (8..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

impl Column {
    /// An empty cell of this column's type.
    pub fn null(&self) -> Value {
        match self.field.kind {
            Kind::Int(..) | Kind::Instant => Value::BigInt(None),
            Kind::Real(..) => Value::Double(None),
            Kind::Bool => Value::Bool(None),
            _ => Value::String(None),
        }
    }

    /// The cell for a JSON value, or why it does not fit. Limits of length and range are asked
    /// separately, by `limit`.
    pub fn parse(&self, json: &Json, face: Face) -> Result<Value, Unfit> {
        if json.is_null() {
            return Ok(self.null());
        }
        // WatermelonDB writes an empty text where a column that is not optional was never set.
        // In no face is it a word of a list.
        let code = matches!(self.field.kind, Kind::Code(_));
        let blank = (face == Face::Watermelon || code) && json.as_str() == Some("");
        if blank && !matches!(self.field.kind, Kind::Text(_)) {
            return Ok(self.null());
        }
        match self.field.kind {
            Kind::Text(_) | Kind::Code(_) | Kind::Id => match json {
                Json::String(text) if text.contains('\0') => {
                    Err(Unfit::new("nul", "text must not contain the character NUL"))
                }
                Json::String(text) => Ok(text.as_str().into()),
                _ => Err(Unfit::new("type", "must be text")),
            },
            Kind::Date => json
                .as_str()
                .and_then(|text| text.parse::<Day>().ok())
                .map(Value::from)
                .ok_or_else(|| Unfit::new("date", "must be a date in the form YYYY-MM-DD")),
            Kind::Instant => instant(json, face),
            Kind::Int(..) => {
                let whole = json.as_i64().or_else(|| {
                    json.as_f64()
                        .filter(|number| number.fract() == 0.0 && number.abs() < 9e15)
                        .map(|number| number as i64)
                });
                whole.map(Value::from).ok_or_else(|| Unfit::new("type", "must be a whole number"))
            }
            Kind::Real(..) => json.as_f64().map(Value::from).ok_or_else(|| Unfit::new("type", "must be a number")),
            Kind::Bool => json.as_bool().map(Value::from).ok_or_else(|| Unfit::new("type", "must be true or false")),
            Kind::Json(_) => document(json, face),
        }
    }

    /// What a stored cell breaks of the column's limits, if anything.
    pub fn limit(&self, cell: &Value) -> Option<Fault> {
        let fault = |code, detail: String| Some(Fault::field(self.name, code, detail));
        match (self.field.kind, cell) {
            (_, empty) if is_null(empty) => {
                if self.field.required || !self.nullable {
                    fault("required", "must be present".into())
                } else {
                    None
                }
            }
            (_, Value::String(Some(text))) if text.is_empty() && self.field.required => {
                fault("required", "must not be empty".into())
            }
            (_, Value::String(Some(text))) if text.contains('\0') => {
                fault("nul", "text must not contain the character NUL".into())
            }
            (Kind::Date, Value::String(Some(text))) if text.parse::<Day>().is_err() => {
                fault("date", "must be a date in the form YYYY-MM-DD".into())
            }
            (Kind::Text(max), Value::String(Some(text))) if text.len() > max && text.chars().count() > max => {
                fault("too_long", format!("at most {max} characters"))
            }
            (Kind::Code(words), Value::String(Some(word))) if !word.is_empty() && !words.contains(&word.as_str()) => {
                fault("unknown_code", format!("must be one of {}", words.join(", ")))
            }
            (Kind::Id, Value::String(Some(id))) if !is_id(id) && self.field.writable() => {
                fault("id", "must be 8 to 64 of the characters A-Z a-z 0-9 . _ -".into())
            }
            (Kind::Int(min, max), Value::BigInt(Some(number))) if !(min..=max).contains(number) => {
                fault("range", format!("must be from {min} to {max}"))
            }
            (Kind::Real(min, max), Value::Double(Some(number))) if !(min..=max).contains(number) => {
                fault("range", format!("must be from {min} to {max}"))
            }
            (Kind::Instant, Value::BigInt(Some(ms)))
                if self.field.writable() && !(Instant::MIN..=Instant::MAX).contains(&Instant(*ms)) =>
            {
                fault("range", "must lie in the years 1 to 9999".into())
            }
            (Kind::Json(max), Value::String(Some(text))) if text.len() > max => {
                fault("too_long", format!("at most {max} bytes"))
            }
            (Kind::Json(_), Value::String(Some(text))) if !text.is_empty() => {
                let (opens, says) = self.field.holds?.opens();
                if text.starts_with(opens) { None } else { fault("type", says.into()) }
            }
            _ => None,
        }
    }

    /// Whether going from one value to another protects less.
    pub(crate) fn loosens(&self, from: &Value, to: &Value) -> bool {
        match (self.field.kind, from, to) {
            (Kind::Bool, Value::Bool(Some(true)), to) => *to != Value::Bool(Some(true)),
            (Kind::Code(words), Value::String(Some(from)), Value::String(Some(to))) => {
                let place = |word: &String| words.iter().position(|known| known == word);
                place(to) < place(from)
            }
            (_, from, to) => *from != self.null() && *to == self.null(),
        }
    }

    /// The initial value, or the type's zero where the column may not be empty.
    pub fn initial_or_zero(&self) -> Value {
        let initial = self.initial();
        match (is_null(&initial) && !self.nullable, self.field.kind) {
            (false, _) => initial,
            (true, Kind::Int(..) | Kind::Instant) => 0_i64.into(),
            (true, Kind::Real(..)) => 0.0_f64.into(),
            (true, Kind::Bool) => false.into(),
            (true, _) => "".into(),
        }
    }

    /// The value a new row has when none is given.
    pub fn initial(&self) -> Value {
        let Some(default) = self.field.default else { return self.null() };
        match self.field.kind {
            Kind::Bool => (default == "true").into(),
            Kind::Int(..) | Kind::Instant => default.parse::<i64>().ok().into(),
            Kind::Real(..) => default.parse::<f64>().ok().into(),
            _ => default.into(),
        }
    }
}

impl Row {
    /// One cell as JSON.
    pub fn json(&self, at: usize, face: Face) -> Json {
        let kind = self.table.columns[at].field.kind;
        match self.cell(at) {
            Value::String(Some(text)) => match (kind, face) {
                (Kind::Json(_), Face::Rest) => serde_json::from_str(text).unwrap_or(Json::Null),
                _ => Json::String(text.clone()),
            },
            Value::BigInt(Some(number)) => match (kind, face) {
                (Kind::Instant, Face::Rest) => Json::String(Instant(*number).rfc3339()),
                _ => (*number).into(),
            },
            Value::Double(Some(number)) => (*number).into(),
            Value::Bool(Some(yes)) => (*yes).into(),
            _ => Json::Null,
        }
    }

    /// The row as an object of its wire columns.
    pub fn object(&self, face: Face) -> serde_json::Map<String, Json> {
        self.table.wire_columns().map(|(at, column)| (column.name.to_owned(), self.json(at, face))).collect()
    }
}

fn instant(json: &Json, face: Face) -> Result<Value, Unfit> {
    let at = match (json, face) {
        (Json::String(text), _) => Instant::parse(text).map(|at| at.0),
        (Json::Number(_), Face::Watermelon) => {
            json.as_i64().or_else(|| json.as_f64().filter(|ms| ms.abs() < 9e15).map(|ms| ms as i64))
        }
        _ => None,
    };
    at.map(Value::from).ok_or_else(|| match face {
        Face::Rest => Unfit::new("instant", "must be an instant in RFC 3339, such as 2027-03-14T12:00:00Z"),
        Face::Watermelon => Unfit::new("instant", "must be milliseconds since 1970 as a number"),
    })
}

/// Levels of lists and objects in one value: who reads a row inside other JSON has a limit of its own, and 128 is common.
const DEEP: usize = 32;

fn depth(json: &Json) -> usize {
    match json {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Json::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

fn has_nul(json: &Json) -> bool {
    match json {
        Json::String(text) => text.contains('\0'),
        Json::Array(items) => items.iter().any(has_nul),
        Json::Object(members) => members.iter().any(|(name, member)| name.contains('\0') || has_nul(member)),
        _ => false,
    }
}

fn nested(json: Json) -> Result<String, Unfit> {
    if has_nul(&json) {
        return Err(Unfit::new("nul", "text must not contain the character NUL"));
    }
    if depth(&json) > DEEP {
        return Err(Unfit::new("too_deep", format!("lists and objects may stand in each other {DEEP} levels deep")));
    }
    Ok(canonical(json))
}

fn document(json: &Json, face: Face) -> Result<Value, Unfit> {
    let text = match (json, face) {
        (Json::String(text), Face::Watermelon) if text.is_empty() => return Ok(Value::String(None)),
        (Json::String(text), Face::Watermelon) => match serde_json::from_str::<Json>(text) {
            Ok(inner @ (Json::Array(_) | Json::Object(_))) => nested(inner)?,
            Ok(Json::Null) => return Ok(Value::String(None)),
            _ => return Err(Unfit::new("json", "must be a string that holds a JSON list or object")),
        },
        (Json::Array(_) | Json::Object(_), _) => nested(json.clone())?,
        _ => return Err(Unfit::new("json", "must be a list or an object")),
    };
    Ok(text.into())
}
