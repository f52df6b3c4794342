//! The OpenAPI 3.1 document, written from the list of operations and the registry.
//!
//! A hand-written operation brings its schemas and examples along; the generic tables' schemas are
//! read from the registry. What every operation shares (the problems it can answer with, the path
//! parameters, who may call it) is added here, so that nobody can forget it.
//!
//! A generator that feeds on the document finds in it bodies that are taken, and every refusal with the members that
//! come along: what a schema can say is not left to the text.

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use entities::Instant;
use serde_json::{Map, Value, json};

use crate::columns::SOON;
use crate::operation::{ANYONE, Access, Content, Link, Op, Param};
use crate::pace;
use crate::problem::MOST_FAULTS;

/// The whole document, with examples of requests that can be sent on this day.
pub fn document(operations: &[Op], today: Instant) -> Value {
    let mut paths = Map::new();
    let mut tags = BTreeSet::new();
    for op in operations {
        tags.insert(op.tag);
        let path = paths.entry(op.path.clone()).or_insert_with(|| json!({}));
        path[op.method.as_str().to_lowercase()] = operation(op, operations, today);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Fieldstone",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The backend of a social-work agency: sync for phones, REST for everything else. \
                Errors are application/problem+json. Changes need If-Match with the ETag last read. \
                Lists are read by cursor.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"}
        },
        "servers": [{"url": "/"}],
        "tags": tags.iter().map(|tag| json!({"name": tag})).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "The access_token of POST /api/v1/auth/login; ten minutes."
                }
            },
            "headers": {
                "RequestId": {"schema": {"type": "string"}, "description": "Finds the request in the log."},
                "ETag": {"schema": {"type": "string", "pattern": "^\"[0-9]+\"$"},
                    "description": "The version of what is in the body, for If-Match."},
                "SyncAfter": {"schema": {"type": "string", "pattern": "^[0-9]+$"}, "required": true,
                    "description": "Seconds after which the next sync is welcome, unless a poke or the person asks sooner."},
                "Location": {"schema": {"type": "string"}, "description": "Where it can be read."}
            },
            "responses": refusals(operations),
            "schemas": schemas()
        }
    })
}

fn operation(op: &Op, all: &[Op], today: Instant) -> Value {
    let described = |name: &str| op.params.iter().any(|param| param.place == "path" && param.name == name);
    let mut parameters: Vec<Value> = path_names(&op.path)
        .filter(|name| !described(name))
        .map(|name| {
            json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"},
                   "description": format!("The {name} in the path.")})
        })
        .collect();
    parameters.extend(op.params.iter().map(parameter));
    let mut responses = Map::new();
    for reply in &op.replies {
        let mut response = json!({"description": reply.says});
        if let Some(content) = &reply.content {
            response["content"] = media(content);
        }
        response["headers"] = json!({"x-request-id": {"$ref": "#/components/headers/RequestId"}});
        for name in reply.headers {
            response["headers"][*name] = json!({"$ref": format!("#/components/headers/{name}")});
        }
        if StatusCode::from_u16(reply.status).is_ok_and(|status| pace::says_when(&op.id, status)) {
            response["headers"]["Sync-After"] = json!({"$ref": "#/components/headers/SyncAfter"});
        }
        responses.insert(reply.status.to_string(), response);
    }
    if let Some(first) = op.replies.first()
        && !op.links.is_empty()
    {
        let links: Map<String, Value> = op.links.iter().map(|link| (link.name.to_owned(), linked(link, all))).collect();
        if let Some(response) = responses.get_mut(&first.status.to_string()) {
            response["links"] = Value::Object(links);
        }
    }
    // A page says in its own words what is wrong.
    for status in problem_statuses(op).into_iter().filter(|status| op.replies.iter().all(|told| told.status != *status))
    {
        let shared = format!("#/components/responses/{status}");
        responses.insert(status.to_string(), json!({"$ref": shared}));
    }
    let mut out = json!({
        "operationId": op.id, "tags": [op.tag], "summary": op.summary,
        "description": describe(op), "responses": responses,
        "security": match op.access { Access::Public => json!([]), _ => json!([{"bearer": []}]) },
    });
    if !parameters.is_empty() {
        out["parameters"] = Value::Array(parameters);
    }
    if let Some(body) = &op.body {
        let dated = Content { example: dated(&body.example, today), ..body.clone() };
        // What may be null may be left out.
        let optional = body.schema["type"].as_array().is_some_and(|types| types.contains(&json!("null")));
        out["requestBody"] = json!({"required": !optional, "content": media(&dated)});
    }
    if let Access::Roles(roles) | Access::Recent(roles) = op.access {
        out["x-roles"] = roles.iter().map(|role| role.as_str()).collect();
    }
    out
}

fn parameter(param: &Param) -> Value {
    let mut out = json!({"name": param.name, "in": param.place, "required": param.required, "description": param.says});
    match param.json {
        true => out["content"] = json!({"application/json": {"schema": param.schema}}),
        false => out["schema"] = param.schema.clone(),
    }
    out
}

/// An example with tomorrow where it says soon.
fn dated(example: &Value, today: Instant) -> Value {
    let tomorrow = today.plus_secs(86_400).rfc3339();
    match example {
        Value::String(text) if text == SOON => format!("{}T12:00:00.000Z", &tomorrow[..10]).into(),
        Value::String(text) if *text == SOON[..10] => tomorrow[..10].into(),
        Value::Array(items) => items.iter().map(|item| dated(item, today)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), dated(member, today))).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

/// A link fills a parameter of the operation it leads to, or where that has none of the name, its body.
fn linked(link: &Link, all: &[Op]) -> Value {
    let (name, from) = link.parameter;
    let parameter = all.iter().find(|op| op.id == link.operation).is_some_and(|op| {
        path_names(&op.path).any(|known| known == name) || op.params.iter().any(|param| param.name == name)
    });
    match parameter {
        true => json!({"operationId": link.operation, "parameters": {name: from}}),
        false => json!({"operationId": link.operation, "requestBody": {name: from}}),
    }
}

/// Who may call what, as a table for people; `docs/permissions.md` holds it.
pub fn permissions(operations: &[Op]) -> String {
    let mut out = String::from(
        "# Who may call what\n\nWritten from the code by `fieldstone openapi --permissions`; a test compares. \
         Which rows a role sees is another question: see docs/security.md.\n\n\
         | operation | who |\n|---|---|\n",
    );
    let mut lines: Vec<(String, &str, String)> = operations
        .iter()
        .map(|op| {
            let who = match op.access {
                Access::Public => "anyone, without a token".to_owned(),
                Access::Roles(roles) | Access::Recent(roles) if roles == ANYONE => "anyone signed in".to_owned(),
                Access::Roles(roles) | Access::Recent(roles) => {
                    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
                }
            };
            (op.path.clone(), op.method.as_str(), who)
        })
        .collect();
    lines.sort();
    for (path, method, who) in lines {
        out.push_str(&format!("| `{method} {path}` | {who} |\n"));
    }
    out
}

fn describe(op: &Op) -> String {
    let who = match op.access {
        Access::Public => "No token needed.".to_owned(),
        Access::Roles(roles) | Access::Recent(roles) => {
            format!("For {}.", roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", "))
        }
    };
    if op.detail.is_empty() { who } else { format!("{} {who}", op.detail) }
}

fn media(content: &Content) -> Value {
    let mut entry = json!({"schema": content.schema});
    if !content.example.is_null() {
        entry["example"] = content.example.clone();
    }
    json!({content.media: entry})
}

/// Every problem status that the operation can answer with.
pub fn problem_statuses(op: &Op) -> BTreeSet<u16> {
    let mut statuses: BTreeSet<u16> = [400, 406, 429, 500, 503].into();
    statuses.extend(&op.errors);
    if !matches!(op.access, Access::Public) {
        statuses.extend([401, 403]);
    }
    if op.body.is_some() {
        statuses.extend([408, 413, 415, 422]);
    }
    if path_names(&op.path).next().is_some() {
        statuses.insert(404);
    }
    // What is read may have to stand in the audit trail, and time that is over to be taken from somebody first.
    statuses.insert(507);
    statuses
}

/// Every refusal once; operations refer to them by status.
fn refusals(operations: &[Op]) -> Value {
    let statuses: BTreeSet<u16> = operations.iter().flat_map(problem_statuses).collect();
    Value::Object(statuses.into_iter().map(|status| (status.to_string(), refusal(status))).collect())
}

fn refusal(status: u16) -> Value {
    let mut headers = json!({"x-request-id": {"$ref": "#/components/headers/RequestId"}});
    match status {
        401 => headers["www-authenticate"] = json!({"schema": {"type": "string"}, "required": true}),
        429 | 503 => {
            let says = "Seconds to wait before the next try";
            headers["retry-after"] =
                json!({"schema": {"type": "string", "pattern": "^[0-9]+$"}, "required": true, "description": says});
        }
        _ => (),
    }
    let (extension, example) = members_of(status);
    json!({
        "description": says(status), "headers": headers,
        "content": {"application/problem+json": {"schema": {"allOf": [schema("Problem"), extension]}, "example": example}}
    })
}

/// What the problems of a status have beside the members of all, and one of them.
fn members_of(status: u16) -> (Value, Value) {
    let problem = |code: &str, detail: &str, more: Value| {
        let mut example = json!({
            "type": format!("urn:fieldstone:problem:{code}"), "title": title(status), "status": status,
            "detail": detail, "request_id": "0197a5c2-7d3e-7c1f-9b52-5f0c4f0f6a01", "code": code,
        });
        for (name, member) in more.as_object().into_iter().flatten() {
            example[name] = member.clone();
        }
        example
    };
    let with = |properties: Value, required: &[&str]| {
        let mut properties = properties;
        properties["status"] = json!({"const": status});
        json!({"type": "object", "required": required, "properties": properties})
    };
    let coded =
        |code: &str, detail: &str| (with(json!({"code": {"const": code}}), &[]), problem(code, detail, Value::Null));
    let number = json!({"type": "integer", "minimum": 1});
    match status {
        403 => (
            with(json!({"code": {"enum": ["forbidden", "device_wiped"]}}), &[]),
            problem("forbidden", "your role does not allow this", Value::Null),
        ),
        404 => coded("not_found", "there is nothing here that you may see"),
        409 => {
            let text = json!({"type": "string"});
            let row = json!({"type": "object", "required": ["table", "id", "reason"],
                "properties": {"table": text, "id": text,
                    "reason": {"type": "string", "description": "The columns, or that it was deleted or changed meanwhile"}}});
            let says = "The rows on which two devices disagree, where code is sync_conflict";
            let told = json!([{"table": "goals", "id": "0190a0b0-0000-7000-8000-000000000001", "reason": "statement"}]);
            (
                with(
                    json!({"conflicts": {"type": "array", "minItems": 1, "items": row, "description": says},
                        "epoch": {"type": "integer", "description": "Where code is epoch_changed: the present epoch"}}),
                    &[],
                ),
                problem(
                    "sync_conflict",
                    "another device changed the same columns: pull, merge and push again",
                    json!({"conflicts": told}),
                ),
            )
        }
        410 => coded("cursor_expired", "the cursor is too old; pull again from the start"),
        412 => coded("stale", "the row has changed since it was read; read it again"),
        413 => (
            with(json!({"max_bytes": number, "max_rows": number}), &["max_bytes"]),
            problem(
                "too_large",
                "the request is larger than allowed; send it in parts",
                json!({"max_bytes": 16_777_216, "max_rows": 5000}),
            ),
        ),
        422 => {
            let text = json!({"type": "string"});
            let fault = json!({"type": "object", "required": ["pointer", "code", "detail"],
                "properties": {"pointer": text, "code": text, "detail": text}});
            (
                with(
                    json!({"errors": {"type": "array", "minItems": 1, "maxItems": MOST_FAULTS, "items": fault},
                        "more_errors": {"type": "integer", "minimum": 1,
                            "description": "How many faults there are beside those listed; absent where all are"}}),
                    &["errors"],
                ),
                problem(
                    "invalid",
                    "some parts are missing or wrong; errors lists them all",
                    json!({"errors": [{"pointer": "/email", "code": "required", "detail": "is missing"}]}),
                ),
            )
        }
        426 => (
            with(json!({"min_schema": number, "code": {"const": "schema_too_old"}}), &["min_schema"]),
            problem("schema_too_old", "the app must be updated before it can sync", json!({"min_schema": 1})),
        ),
        428 => coded("precondition_required", "send If-Match with the ETag of the row you read"),
        429 => coded("too_many_requests", "too many attempts; wait before the next one"),
        _ => (with(json!({}), &[]), problem("refused", says(status), Value::Null)),
    }
}

fn title(status: u16) -> &'static str {
    let status = StatusCode::from_u16(status).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or("Refused")
}

fn path_names(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split('}').next())
}

fn says(status: u16) -> &'static str {
    match status {
        400 => "The request cannot be read.",
        401 => "No access token, an expired one, or the session is over.",
        403 => "The role does not allow it, or the device was reported lost (code device_wiped).",
        404 => "Nothing that you may see.",
        406 => "No encoding that the caller takes.",
        408 => "The body did not arrive in time.",
        409 => "It does not fit the present state; code says how.",
        410 => "The cursor is too old.",
        412 => "The row has changed since it was read.",
        413 => "Too large; max_bytes and max_rows say the limits.",
        415 => "Unknown or doubled Content-Encoding.",
        422 => "Parts are missing or wrong; errors lists them with JSON pointers, 100 at most.",
        426 => "The app is too old; min_schema says the oldest version served.",
        428 => "If-Match is missing.",
        429 => "Too many requests; Retry-After says how long to wait.",
        500 => "A fault of ours; request_id finds it.",
        503 => "Busy; Retry-After says when to try again.",
        507 => "Storage is full; nothing was written.",
        _ => "Refused.",
    }
}

/// A reference to a schema by name.
pub fn schema(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn schemas() -> Value {
    let mut all = Map::new();
    all.insert("Problem".into(), problem_schema());
    for (name, schema) in crate::schemas() {
        all.insert(name, schema);
    }
    Value::Object(all)
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "request_id", "code"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "request_id": {"type": "string"},
            "code": {"type": "string", "description": "A stable word to act on."}
        },
        "example": members_of(404).1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> (Vec<Op>, Value) {
        let operations = crate::operations(false);
        let document = document(&operations, Instant(0));
        (operations, document)
    }

    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let (_, document) = whole();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 5);
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_operation_says_what_it_does_and_has_a_name_of_its_own() {
        let (operations, _) = whole();
        let mut ids = BTreeSet::new();
        for op in &operations {
            assert!(ids.insert(op.id.as_str()), "{} stands for two operations", op.id);
            assert!(!op.summary.is_empty() && op.tag != "api", "{op:?} says nothing");
            assert!(op.replies.first().is_some_and(|reply| reply.status < 300), "{op:?} never succeeds");
            for content in op.body.iter().chain(op.replies.iter().filter_map(|reply| reply.content.as_ref())) {
                let shown = content.media != "application/json" || !content.example.is_null();
                assert!(shown, "{op:?} has a JSON body without an example");
            }
        }
        for op in &operations {
            for link in &op.links {
                assert!(ids.contains(link.operation.as_str()), "{op:?} leads to {}, which is none", link.operation);
            }
        }
    }

    #[test]
    fn no_two_operations_share_method_and_path() {
        let (operations, document) = whole();
        let written: usize = document["paths"]
            .as_object()
            .map_or(0, |paths| paths.values().filter_map(Value::as_object).map(Map::len).sum());
        assert_eq!(written, operations.len());
    }

    #[test]
    fn the_table_of_permissions_in_the_documentation_is_the_one_in_force() {
        let kept = include_str!("../../docs/permissions.md");
        let now = permissions(&crate::operations(false));
        assert_eq!(
            kept, now,
            "run `cargo run -- openapi --permissions > docs/permissions.md` and look at what changed"
        );
    }
}
