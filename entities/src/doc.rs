//! JSON inside a row: lists and objects such as a goal's scale texts.

use std::fmt;
use std::str::FromStr;

use sea_orm::DeriveValueType;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A JSON value stored as TEXT, so that both databases keep the same bytes and a NUL inside a
/// string cannot be accepted by one and refused by the other.
#[derive(Clone, Debug, Default, PartialEq, DeriveValueType, Serialize, Deserialize)]
#[sea_orm(value_type = "String")]
#[serde(transparent)]
pub struct Doc(pub Value);

impl Doc {
    /// The value after a JSON merge patch (RFC 7396): members that the patch does not name stay, null takes one out, and
    /// what is no object takes the place of the whole.
    pub fn patched(self, patch: &Value) -> Doc {
        let Value::Object(parts) = patch else { return Doc(patch.clone()) };
        let mut members = match self.0 {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        for (name, part) in parts {
            let stored = members.shift_remove(name).unwrap_or_default();
            if !part.is_null() {
                members.insert(name.clone(), Doc(stored).patched(part).0);
            }
        }
        Doc(Value::Object(members))
    }
}

impl fmt::Display for Doc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&canonical(self.0.clone()))
    }
}

/// The one text for a value: members of objects in order of their names, whole numbers without a point. Stored
/// values are compared as text, and a client may write the same object in any order (JavaScript puts `"0"` before
/// `"-1"`, Swift any name before any other) and 1.0 as 1.
pub(crate) fn canonical(mut value: Value) -> String {
    value.sort_all_objects();
    whole_numbers(&mut value);
    value.to_string()
}

fn whole_numbers(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(members) => members.values_mut().for_each(whole_numbers),
        Value::Number(number) if number.is_f64() => {
            // Beyond 2^53 neighbouring whole numbers are one to JavaScript.
            let whole = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9e15);
            if let Some(whole) = whole {
                *value = (whole as i64).into();
            }
        }
        _ => (),
    }
}

impl FromStr for Doc {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text).map(Doc)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_says_what_changes_inside_too() {
        let stored = || Doc(json!({"by": "client", "words": {"first": "yes", "then": "no"}, "days": [1, 2]}));
        for (patch, left) in [
            (json!({}), stored().0),
            (
                json!({"by": null, "on": null, "words": {"then": null, "last": "yes"}, "days": [3]}),
                json!({"words": {"first": "yes", "last": "yes"}, "days": [3]}),
            ),
            (
                json!({"by": {"name": "Noor", "born": null}, "words": "yes"}),
                json!({"by": {"name": "Noor"}, "words": "yes", "days": [1, 2]}),
            ),
            (json!(null), json!(null)),
            (json!([1]), json!([1])),
        ] {
            assert_eq!(stored().patched(&patch), Doc(left), "{patch}");
        }
    }

    #[test]
    fn a_value_has_one_text_however_it_was_written() {
        let one: Value = serde_json::from_str(r#"{"-1": [{"b": 1.0, "a": -0.0}], "0": 0.5, "1": null}"#).expect("JSON");
        let other = json!({"0": 0.5, "1": null, "-1": [{"a": 0, "b": 1}]});
        assert_eq!(canonical(one), canonical(other.clone()));
        assert_eq!(canonical(other), r#"{"-1":[{"a":0,"b":1}],"0":0.5,"1":null}"#);
        assert_eq!(canonical(json!([1e300])), "[1e+300]");
    }
}
