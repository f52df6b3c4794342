//! What the document says of a column: its schema in each dialect of the wire, and a value it takes.
//!
//! Both are read from the registry, so that a column added there is documented by that. `rest/document.rs`
//! makes the bodies of REST of it, `sync/document.rs` those of the faces.

use entities::registry::{Column, Face, Holds, Kind, Merge};
use serde_json::{Value, json};

/// What an id looks like, as a pattern.
pub(crate) const ID: &str = "^[A-Za-z0-9._-]{8,64}$";
/// Text without the one character that no database keeps.
const NO_NUL: &str = "^[^\\u0000]*$";
/// The same with more than blanks in it.
const SAYS_SOMETHING: &str = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$";
/// A year, a month or a day.
const PARTIAL_DATE: &str = "^[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|1[0-9]|2[0-8]))?)?$";
/// The name of a time zone, as far as a pattern can say.
const ZONE: &str = "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$";
/// Stands in the examples of requests for noon tomorrow, and the day of it for tomorrow: there are moves that take
/// no day far off, so a fixed one would work for a while only. `openapi.rs` puts the real one in.
pub(crate) const SOON: &str = "2027-03-14T12:00:00.000Z";

/// The JSON schema of a column as it comes back.
pub(crate) fn shape(column: &Column, face: Face) -> Value {
    shape_or_null(column, face, column.nullable)
}

/// The JSON schema of a column as it is given over REST: null takes it back to its initial value, unless it has to
/// be there.
pub(crate) fn given(column: &Column) -> Value {
    // Where words decide who sees a row, nothing would be the widest, so it is not taken.
    let widest =
        column.field.merge == Merge::Protective && matches!(column.field.kind, Kind::Code(_)) && !column.nullable;
    let null = !column.field.required && !widest;
    let mut shape = shape_or_null(column, Face::Rest, null);
    if column.field.required && matches!(column.field.kind, Kind::Text(_)) {
        shape["minLength"] = json!(1);
    }
    shape
}

/// Makes the schema of a text that may be empty one of a text that says something.
pub(crate) fn must_say_something(shape: &mut Value) {
    shape["type"] = json!("string");
    shape["pattern"] = json!(SAYS_SOMETHING);
}

fn shape_or_null(column: &Column, face: Face, null: bool) -> Value {
    let kind = |name: &str| if null { json!([name, "null"]) } else { json!(name) };
    let mut shape = match (column.field.kind, face) {
        (Kind::Text(most), _) => json!({"type": kind("string"), "maxLength": most, "pattern": NO_NUL}),
        (Kind::Code(words), _) => coded(words.iter().copied(), null),
        (Kind::Id, _) => json!({"type": kind("string"), "pattern": ID}),
        (Kind::Date, _) => json!({"type": kind("string"), "format": "date"}),
        (Kind::Instant, Face::Rest) => json!({"type": kind("string"), "format": "date-time"}),
        (Kind::Instant, Face::Watermelon) => {
            json!({"type": kind("number"), "description": "Milliseconds since 1970"})
        }
        (Kind::Int(least, most), _) => json!({"type": kind("integer"), "minimum": least, "maximum": most}),
        (Kind::Real(least, most), _) => json!({"type": kind("number"), "minimum": least, "maximum": most}),
        (Kind::Bool, _) => json!({"type": kind("boolean")}),
        (Kind::Json(_), Face::Rest) => document(column, null),
        (Kind::Json(most), Face::Watermelon) => {
            json!({"type": kind("string"), "maxLength": most, "contentMediaType": "application/json",
                "description": "A list or an object as JSON text"})
        }
    };
    if column.name == "tz" || column.name == "birth" {
        shape["pattern"] = json!(if column.name == "tz" { ZONE } else { PARTIAL_DATE });
    }
    if column.field.merge == Merge::Server {
        shape["readOnly"] = json!(true);
    }
    if let Some(target) = column.field.refers {
        shape["description"] = json!(format!("Names a row of {target}"));
    }
    shape
}

/// The schema of a list or an object.
fn document(column: &Column, null: bool) -> Value {
    let (names, members): (&[&str], &str) = match column.field.holds {
        Some(Holds::List(members)) => (&["array"], members),
        Some(Holds::Object(members)) => (&["object"], members),
        None => (&["array", "object"], "{}"),
    };
    // The entity's own text; a test reads them all.
    let mut shape: Value = serde_json::from_str(members).unwrap_or_else(|_| json!({}));
    let names: Vec<&str> = names.iter().copied().chain(null.then_some("null")).collect();
    shape["type"] = if names.len() == 1 { json!(names[0]) } else { json!(names) };
    shape
}

/// One of these words, or null where that may be.
pub(crate) fn coded<'a>(words: impl Iterator<Item = &'a str>, null: bool) -> Value {
    let all: Vec<Value> = words.map(|word| json!(word)).chain(null.then_some(Value::Null)).collect();
    json!({"type": if null { json!(["string", "null"]) } else { json!("string") }, "enum": all})
}

/// A value that the column would take.
pub(crate) fn sample(column: &Column, face: Face) -> Value {
    match (column.field.kind, face) {
        (Kind::Text(_), _) if column.name == "tz" => json!("Europe/London"),
        (Kind::Text(_), _) if column.name == "email" => json!("intake@partner.example"),
        (Kind::Text(_), _) if column.name == "birth" => json!("1980-05"),
        (Kind::Text(most), _) => json!("Walk to the market twice a week".chars().take(most).collect::<String>()),
        (Kind::Code(words), _) => json!(column.field.default.or(words.first().copied())),
        (Kind::Id, _) if column.name == "id" || column.field.refers.is_some() || !column.nullable => {
            json!("0192f0c1-7a1b-7c00-8000-000000000001")
        }
        (Kind::Id, _) => Value::Null,
        (Kind::Date, _) => json!(SOON[..10]),
        (Kind::Instant, Face::Rest) => json!(SOON),
        (Kind::Instant, Face::Watermelon) => json!(1_805_025_600_000_i64),
        (Kind::Int(least, most), _) => json!(1.clamp(least, most)),
        (Kind::Real(least, most), _) => json!(1.0_f64.clamp(least, most)),
        (Kind::Bool, _) => json!(false),
        (Kind::Json(_), face) => {
            let example = document(column, false).pointer("/examples/0").cloned().unwrap_or_default();
            let example = match (example, column.field.holds) {
                (Value::Null, Some(Holds::Object(_))) => json!({}),
                (Value::Null, _) => json!([]),
                (example, _) => example,
            };
            if face == Face::Rest { example } else { example.to_string().into() }
        }
    }
}
