//! The OpenAPI 3.1 document, written from the list of operations and the registry.
//!
//! A hand-written operation brings its schemas and examples along; the generic tables' schemas are
//! read from the registry. What every operation shares (the problems it can answer with, the path
//! parameters, who may call it) is added here, so that nobody can forget it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::operation::{Access, Content, Op};

/// The whole document.
pub fn document(operations: &[Op]) -> Value {
    let mut paths = Map::new();
    let mut tags = BTreeSet::new();
    for op in operations {
        tags.insert(op.tag);
        let path = paths.entry(op.path.clone()).or_insert_with(|| json!({}));
        path[op.method.as_str().to_lowercase()] = operation(op);
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
            "schemas": schemas()
        }
    })
}

fn operation(op: &Op) -> Value {
    let mut parameters: Vec<Value> = path_names(&op.path)
        .map(|name| {
            json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"},
                   "description": format!("The {name} in the path.")})
        })
        .collect();
    for param in &op.params {
        parameters.push(json!({"name": param.name, "in": param.place, "required": param.required,
            "description": param.says, "schema": param.schema}));
    }
    let mut responses = Map::new();
    for reply in &op.replies {
        let mut response = json!({"description": reply.says});
        if let Some(content) = &reply.content {
            response["content"] = media(content);
        }
        response["headers"] =
            json!({"x-request-id": {"schema": {"type": "string"}, "description": "Finds the request in the log."}});
        responses.insert(reply.status.to_string(), response);
    }
    if let Some(first) = op.replies.first()
        && !op.links.is_empty()
    {
        let links: Map<String, Value> = op
            .links
            .iter()
            .map(|link| {
                let (name, from) = link.parameter;
                (link.name.to_owned(), json!({"operationId": link.operation, "parameters": {name: from}}))
            })
            .collect();
        if let Some(response) = responses.get_mut(&first.status.to_string()) {
            response["links"] = Value::Object(links);
        }
    }
    for status in problem_statuses(op) {
        responses.insert(
            status.to_string(),
            json!({"description": says(status), "content": {"application/problem+json":
                {"schema": {"$ref": "#/components/schemas/Problem"}}}}),
        );
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
        out["requestBody"] = json!({"required": true, "content": media(body)});
    }
    if let Access::Roles(roles) | Access::Recent(roles) = op.access {
        out["x-roles"] = roles.iter().map(|role| role.as_str()).collect();
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
    let mut statuses: BTreeSet<u16> = [400, 429, 500, 503].into();
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
    if op.method != "GET" {
        statuses.insert(507);
    }
    statuses
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
        408 => "The body did not arrive in time.",
        409 => "It does not fit the present state; code says how.",
        410 => "The cursor is too old.",
        412 => "The row has changed since it was read.",
        413 => "Too large; max_bytes and max_rows say the limits.",
        415 => "Unknown or doubled Content-Encoding.",
        422 => "Parts are missing or wrong; errors lists them all with JSON pointers.",
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
            "code": {"type": "string", "description": "A stable word to act on."},
            "errors": {"type": "array", "items": {"type": "object",
                "required": ["pointer", "code", "detail"],
                "properties": {"pointer": {"type": "string"}, "code": {"type": "string"}, "detail": {"type": "string"}}}},
            "conflicts": {"type": "array", "items": {"type": "object"}},
            "min_schema": {"type": "integer"},
            "max_bytes": {"type": "integer"},
            "max_rows": {"type": "integer"}
        },
        "example": {"type": "urn:fieldstone:problem:invalid", "title": "Unprocessable Entity", "status": 422,
            "detail": "some parts are missing or wrong; errors lists them all",
            "request_id": "0197a5c2-7d3e-7c1f-9b52-5f0c4f0f6a01", "code": "invalid",
            "errors": [{"pointer": "/email", "code": "required", "detail": "is missing"}]}
    })
}
