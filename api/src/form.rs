//! From a JSON object to values, collecting every fault on the way.
//!
//! A hand-written body reads its members through a [`Form`] and calls [`Form::finish`], which
//! answers 422 with all that is missing or wrong at once. Members nobody asked for are refused:
//! ignoring them would hide a misspelt name, and a field that only the server sets.

use entities::Fault;
use entities::people::name::{can_be_seen, is_one_line};
use serde_json::{Map, Value, json};

use crate::problem::Problem;

/// A whole number; JSON does not tell 7 from 7.0.
pub(crate) fn whole(value: &Value) -> Option<i64> {
    let exact = |number: &f64| number.fract() == 0.0 && number.abs() < 9e15;
    value.as_i64().or_else(|| value.as_f64().filter(exact).map(|number| number as i64))
}

/// The schema of what [`Form::text`] takes.
pub(crate) fn text_shape(min: usize, max: usize) -> Value {
    json!({"type": "string", "minLength": min, "maxLength": max, "pattern": "^[^\\u0000]*$"})
}

/// The schema of what [`Form::line`] takes.
pub(crate) fn line_shape(max: usize) -> Value {
    const BREAKS: &str = "\\u0000-\\u001f\\u007f-\\u009f\\u2028-\\u202e\\u2066-\\u2069";
    const UNSEEN: &str = "\\s\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u2060-\\u206f\\u2800\
                          \\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufffb";
    let pattern = format!("^[^{BREAKS}]*[^{UNSEEN}{BREAKS}][^{BREAKS}]*$");
    json!({"type": "string", "minLength": 1, "maxLength": max, "pattern": pattern})
}

/// The same, or null.
pub(crate) fn or_null(mut shape: Value) -> Value {
    shape["type"] = json!([shape["type"], "null"]);
    shape
}

/// One JSON object being read.
#[derive(Debug)]
pub struct Form {
    members: Map<String, Value>,
    faults: Vec<Fault>,
}

impl Form {
    /// Starts reading a body.
    ///
    /// # Errors
    /// 422 when the body is not an object.
    pub fn new(body: Value) -> Result<Form, Problem> {
        match body {
            Value::Object(members) => Ok(Form { members, faults: Vec::new() }),
            _ => Err(Problem::Invalid(vec![Fault {
                pointer: String::new(),
                code: "not_an_object",
                detail: "the body must be a JSON object".into(),
            }])),
        }
    }

    /// True when the member was sent, even as null.
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Takes a member as it is; `None` when it was not sent.
    pub fn raw(&mut self, name: &str) -> Option<Value> {
        self.members.shift_remove(name)
    }

    /// Records a fault of one member.
    pub fn fault(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        self.faults.push(Fault::field(name, code, detail));
    }

    /// True when something is wrong with the member already.
    pub fn faulty(&self, name: &str) -> bool {
        self.faults.iter().any(|fault| fault.pointer.strip_prefix('/') == Some(name))
    }

    /// A text exactly as sent, in characters; a missing one is a fault and comes back empty.
    pub fn text(&mut self, name: &str, min: usize, max: usize) -> String {
        match self.maybe_text(name, min, max) {
            Some(text) => text,
            None => {
                if !self.faulty(name) {
                    self.fault(name, "required", "is missing");
                }
                String::new()
            }
        }
    }

    /// A text that may be left out or null.
    pub fn maybe_text(&mut self, name: &str, min: usize, max: usize) -> Option<String> {
        match self.raw(name)? {
            Value::Null => None,
            Value::String(text) => {
                let length = text.chars().count();
                if length < min {
                    self.fault(name, "too_short", format!("must have at least {min} characters"));
                } else if length > max {
                    self.fault(name, "too_long", format!("must have at most {max} characters"));
                }
                Some(text)
            }
            _ => {
                self.fault(name, "wrong_type", "must be a text");
                None
            }
        }
    }

    /// A name or heading on one line: control characters are refused, outer blanks dropped.
    pub fn maybe_line(&mut self, name: &str, max: usize) -> Option<String> {
        let text = self.maybe_text(name, 1, max)?;
        if !is_one_line(&text) {
            self.fault(name, "control_character", "must be one line without control characters");
        } else if !can_be_seen(&text) {
            self.fault(name, "required", "must not be blank");
        }
        Some(text.trim().to_owned())
    }

    /// As [`Form::maybe_line`], and needed.
    pub fn line(&mut self, name: &str, max: usize) -> String {
        self.maybe_line(name, max).unwrap_or_else(|| {
            if !self.faulty(name) {
                self.fault(name, "required", "is missing");
            }
            String::new()
        })
    }

    /// A whole number within bounds; may be left out or null.
    pub fn maybe_int(&mut self, name: &str, min: i64, max: i64) -> Option<i64> {
        match self.raw(name)? {
            Value::Null => None,
            value => match whole(&value) {
                Some(number) if (min..=max).contains(&number) => Some(number),
                Some(_) => {
                    self.fault(name, "out_of_range", format!("must be from {min} to {max}"));
                    None
                }
                None => {
                    self.fault(name, "wrong_type", "must be a whole number");
                    None
                }
            },
        }
    }

    /// True or false; may be left out or null.
    pub fn maybe_bool(&mut self, name: &str) -> Option<bool> {
        match self.raw(name)? {
            Value::Null => None,
            Value::Bool(value) => Some(value),
            _ => {
                self.fault(name, "wrong_type", "must be true or false");
                None
            }
        }
    }

    /// A value of a type that reads itself from text, such as a date or a role.
    pub fn maybe_parsed<T: std::str::FromStr>(&mut self, name: &str, what: &str) -> Option<T> {
        let text = self.maybe_text(name, 0, 256)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(_) => {
                self.fault(name, "wrong_value", format!("must be {what}"));
                None
            }
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 422 with every fault found, members nobody asked for included.
    pub fn finish(mut self) -> Result<(), Problem> {
        let unknown: Vec<String> = self.members.keys().cloned().collect();
        for name in unknown {
            let pointer = name.replace('~', "~0").replace('/', "~1");
            self.fault(&pointer, "unknown_field", "is not known here, or is set by the server");
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::Invalid(self.faults)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_come_at_once() -> Result<(), Problem> {
        let mut form = Form::new(json!({"name": "two\nlines", "hour": 99, "agency_id": "x"}))?;
        form.line("name", 80);
        form.text("email", 3, 254);
        form.maybe_int("hour", 0, 23);
        let Err(Problem::Invalid(faults)) = form.finish() else { return Err(Problem::NotFound) };
        let found: Vec<_> = faults.iter().map(|fault| (fault.pointer.as_str(), fault.code)).collect();
        assert_eq!(
            found,
            [
                ("/name", "control_character"),
                ("/email", "required"),
                ("/hour", "out_of_range"),
                ("/agency_id", "unknown_field")
            ]
        );
        Ok(())
    }

    #[test]
    fn a_password_is_taken_exactly_as_sent() -> Result<(), Problem> {
        let mut form = Form::new(json!({"password": "  blanks count  "}))?;
        assert_eq!(form.text("password", 1, 128), "  blanks count  ");
        form.finish()
    }
}
