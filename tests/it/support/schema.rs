//! The document as the server gives it, and whether a value fits what it says.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::World;

/// The OpenAPI document.
#[derive(Debug)]
pub struct Document(Value);

impl Document {
    pub async fn of(world: &World) -> Document {
        Document(world.stranger().get("//openapi.json").await.ok())
    }

    /// Every operation by its id.
    pub fn operations(&self) -> BTreeMap<&str, &Value> {
        let paths = self.0["paths"].as_object().expect("paths").values();
        let all = paths.flat_map(|path| path.as_object().expect("operations").values());
        all.map(|op| (op["operationId"].as_str().expect("an id"), op)).collect()
    }

    /// The request body that an operation shows.
    pub fn example(&self, operation: &str) -> Value {
        let content = &self.operations()[operation]["requestBody"]["content"];
        content.as_object().and_then(|media| media.values().next()).expect("a body")["example"].clone()
    }

    /// Fails where the body of an answer is not what the operation says for its status.
    pub fn describes(&self, operation: &str, status: u16, body: &Value) {
        let at = format!("{operation} {status}");
        let found = &self.operations()[operation]["responses"][status.to_string()];
        assert!(found.is_object(), "{at} is not in the document: {body}");
        let content = self.follow(found)["content"].as_object().unwrap_or_else(|| panic!("{at} has no body"));
        let schema = &content.values().next().expect("a media type")["schema"];
        self.fits(schema, body).unwrap_or_else(|why| panic!("{at}: {why}\n{body}"));
    }

    /// Every body that the document shows, with its schema and where it stands.
    pub fn examples(&self) -> Vec<(String, &Value, &Value)> {
        let mut found = Vec::new();
        collect(&self.0, String::new(), &mut found);
        found
    }

    fn follow<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(name) => {
                self.0.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name} leads nowhere"))
            }
            None => value,
        }
    }

    /// As much of JSON Schema as the document uses; patterns are the generators' to try.
    pub fn fits(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let schema = self.follow(schema);
        if schema == &json!(false) {
            return Err(format!("{value} must not be here"));
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.fits(part, value)?;
        }
        if let Some(ways) = schema["anyOf"].as_array() {
            let faults: Vec<String> = ways.iter().filter_map(|way| self.fits(way, value).err()).collect();
            if faults.len() == ways.len() {
                return Err(format!("none of {faults:?}"));
            }
        }
        let listed = schema["enum"].as_array().is_none_or(|words| words.contains(value));
        if !listed || schema.get("const").is_some_and(|only| only != value) {
            return Err(format!("{value} is not what {schema} says"));
        }
        self.has_the_type(schema, value)?;
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            value.get(name).ok_or_else(|| format!("{name} is missing"))?;
        }
        for (name, member) in value.as_object().into_iter().flatten() {
            let fits = match (schema["properties"].get(name), &schema["additionalProperties"]) {
                (Some(inner), _) => self.fits(inner, member),
                (None, Value::Null) => Ok(()),
                (None, other) => self.fits(other, member),
            };
            fits.map_err(|why| format!("{name}: {why}"))?;
        }
        for item in value.as_array().into_iter().flatten() {
            self.fits(&schema["items"], item).map_err(|why| format!("[]: {why}"))?;
        }
        Ok(())
    }

    fn has_the_type(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => return Ok(()),
        };
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let length = match value {
            Value::String(text) => text.chars().count(),
            Value::Array(items) => items.len(),
            _ => {
                return if kinds.contains(&kind) || (kind == "integer" && kinds.contains(&"number")) {
                    Ok(())
                } else {
                    Err(format!("{value} is no {kinds:?}"))
                };
            }
        } as u64;
        let (least, most) = if value.is_string() { ("minLength", "maxLength") } else { ("minItems", "maxItems") };
        let fits = kinds.contains(&kind)
            && schema[least].as_u64().is_none_or(|least| length >= least)
            && schema[most].as_u64().is_none_or(|most| length <= most);
        if fits { Ok(()) } else { Err(format!("{value} does not fit {schema}")) }
    }
}

fn collect<'a>(value: &'a Value, at: String, found: &mut Vec<(String, &'a Value, &'a Value)>) {
    match value {
        Value::Object(members) => {
            if let (Some(schema), Some(example)) = (members.get("schema"), members.get("example")) {
                found.push((at.clone(), schema, example));
            }
            for (name, member) in members {
                collect(member, format!("{at}/{name}"), found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, at.clone(), found)),
        _ => (),
    }
}
