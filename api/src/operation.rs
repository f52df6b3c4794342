//! One operation: its route, who may call it, and what the document says of it.
//!
//! Routing, permission and OpenAPI read the same list, so a route without a permission or without
//! an entry in the document cannot be written. Each room offers `operations()`; `lib.rs` joins
//! them; `openapi.rs` writes them down; [`mount`] serves them.

use std::collections::BTreeMap;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, FromRequest, Handler, HttpMessage, Responder, Route, guard, web};
use entities::Role;
use serde_json::Value;

use crate::problem::Problem;
use crate::state::State;

/// Everyone who can sign in.
pub const ANYONE: &[Role] = &[Role::Caseworker, Role::Supervisor, Role::Administrator, Role::Partner, Role::Auditor];
/// The agency's own people: everyone but partners.
pub const STAFF: &[Role] = &[Role::Caseworker, Role::Supervisor, Role::Administrator, Role::Auditor];
/// Those who manage agency, teams and users.
pub const ADMINISTRATORS: &[Role] = &[Role::Administrator];

/// What may stand in `If-Match` beside a star: tags between commas. Only numbers are versions of ours, but any tag is a tag.
const ENTITY_TAGS: &str = r#"^(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*$"#;

/// Who may call an operation.
#[derive(Clone, Copy, Debug)]
pub enum Access {
    /// No token is asked for.
    Public,
    /// A session with one of these roles, checked against the database for this very request.
    Roles(&'static [Role]),
    /// As `Roles`, but the check may be up to a second old. Only for an answer without content; a
    /// handler that goes on to send content calls `Session::confirm` in its transaction.
    Recent(&'static [Role]),
}

/// A parameter in the query or the headers. Those in the path are read from the path; one stands here only where
/// more can be said of it than that it is text.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// `query`, `header` or `path`.
    pub place: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What it means.
    pub says: String,
    /// Its JSON schema.
    pub schema: Value,
    /// Whether its text is JSON, which the schema is then about.
    pub json: bool,
}

/// A body as the document describes it: of a request, or of an answer.
#[derive(Clone, Debug)]
pub struct Content {
    /// Media type.
    pub media: &'static str,
    /// JSON schema, often `{"$ref": …}`.
    pub schema: Value,
    /// A whole example that the operation would take or give.
    pub example: Value,
}

/// An answer that is not a problem.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// What it means.
    pub says: String,
    /// Its body, if it has one.
    pub content: Option<Content>,
    /// Headers that it carries: names of `components/headers` in the document.
    pub headers: &'static [&'static str],
}

/// A link from an answer to the operation one would call next.
#[derive(Clone, Debug)]
pub struct Link {
    /// Name of the link.
    pub name: &'static str,
    /// The operation it leads to.
    pub operation: String,
    /// Parameter of that operation and the expression that fills it.
    pub parameter: (&'static str, &'static str),
}

/// One operation of the api.
pub struct Op {
    /// Method.
    pub method: Method,
    /// Path with `{names}`, from the root.
    pub path: String,
    /// The operation's id in the document; also its name in logs and metrics.
    pub id: String,
    /// Chapter of the document.
    pub tag: &'static str,
    /// One line.
    pub summary: String,
    /// More lines; may be empty.
    pub detail: String,
    /// Who may call it.
    pub access: Access,
    /// Query and header parameters.
    pub params: Vec<Param>,
    /// Request body.
    pub body: Option<Content>,
    /// Answers that are not problems.
    pub replies: Vec<Reply>,
    /// Statuses of problems beyond those that every operation has.
    pub errors: Vec<u16>,
    /// Links out of the first reply.
    pub links: Vec<Link>,
    route: Route,
}

impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl Op {
    /// An operation below `/api/v1`. Until [`Op::access`] says otherwise anyone signed in may call it.
    pub fn new<F, Args>(method: Method, path: &str, id: impl Into<String>, handler: F) -> Op
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        Op::at_root(method, &format!("/api/v1{path}"), id, handler)
    }

    /// An operation at a path from the root, such as `/healthz`.
    pub fn at_root<F, Args>(method: Method, path: &str, id: impl Into<String>, handler: F) -> Op
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        Op {
            route: web::to(handler),
            method,
            path: path.into(),
            id: id.into(),
            tag: "api",
            summary: String::new(),
            detail: String::new(),
            access: Access::Roles(ANYONE),
            params: Vec::new(),
            body: None,
            replies: Vec::new(),
            errors: Vec::new(),
            links: Vec::new(),
        }
    }

    /// Chapter and one line for the document.
    pub fn says(mut self, tag: &'static str, summary: impl Into<String>) -> Op {
        self.tag = tag;
        self.summary = summary.into();
        self
    }

    /// More about it.
    pub fn detail(mut self, detail: impl Into<String>) -> Op {
        self.detail = detail.into();
        self
    }

    /// Who may call it.
    pub fn access(mut self, access: Access) -> Op {
        self.access = access;
        self
    }

    /// Only these roles may call it.
    pub fn only(self, roles: &'static [Role]) -> Op {
        self.access(Access::Roles(roles))
    }

    /// A query parameter that may be left out.
    pub fn query(mut self, name: &str, says: &str, schema: Value) -> Op {
        let (name, says) = (name.into(), says.into());
        self.params.push(Param { name, place: "query", required: false, says, schema, json: false });
        self
    }

    /// A query parameter that must be there.
    pub fn needs_query(self, name: &str, says: &str, schema: Value) -> Op {
        let mut op = self.query(name, says, schema);
        op.params.iter_mut().filter(|param| param.name == name).for_each(|param| param.required = true);
        op
    }

    /// A query parameter that is JSON and may be left out.
    pub fn query_json(self, name: &str, says: &str, schema: Value) -> Op {
        let mut op = self.query(name, says, schema);
        op.params.iter_mut().filter(|param| param.name == name).for_each(|param| param.json = true);
        op
    }

    /// What can be said of a name in the path.
    pub fn in_path(mut self, name: &str, says: &str, schema: Value) -> Op {
        let (name, says) = (name.into(), says.into());
        self.params.push(Param { name, place: "path", required: true, says, schema, json: false });
        self
    }

    /// A header.
    pub fn header(mut self, name: &str, required: bool, says: &str) -> Op {
        let schema = serde_json::json!({"type": "string"});
        self.params.push(Param {
            name: name.into(),
            place: "header",
            required,
            says: says.into(),
            schema,
            json: false,
        });
        self
    }

    /// `If-Match`, with the version of the row that the caller read.
    pub fn if_match(mut self, required: bool) -> Op {
        let says = "ETag of the row you read, or several; * for whatever is stored".into();
        let schema = serde_json::json!({"anyOf": [{"const": "*"}, {"type": "string", "pattern": ENTITY_TAGS}], "examples": ["*"]});
        self.params.push(Param { name: "If-Match".into(), place: "header", required, says, schema, json: false });
        self
    }

    /// A JSON body.
    pub fn takes(mut self, schema: Value, example: Value) -> Op {
        self.body = Some(Content { media: "application/json", schema, example });
        self
    }

    /// A body of another media type.
    pub fn takes_as(mut self, media: &'static str, schema: Value, example: Value) -> Op {
        self.body = Some(Content { media, schema, example });
        self
    }

    /// An answer with a JSON body.
    pub fn gives(mut self, status: u16, says: &str, schema: Value, example: Value) -> Op {
        let content = Some(Content { media: "application/json", schema, example });
        self.replies.push(Reply { status, says: says.into(), content, headers: &[] });
        self
    }

    /// Headers that the last named answer carries.
    pub fn with(mut self, headers: &'static [&'static str]) -> Op {
        if let Some(reply) = self.replies.last_mut() {
            reply.headers = headers;
        }
        self
    }

    /// An answer without a body, or with one that is no JSON.
    pub fn answers(mut self, status: u16, says: &str, media: Option<&'static str>) -> Op {
        let content =
            media.map(|media| Content { media, schema: serde_json::json!({"type": "string"}), example: Value::Null });
        self.replies.push(Reply { status, says: says.into(), content, headers: &[] });
        self
    }

    /// Problems beyond those of every operation (400, 429, 500, 503; 401, 403 where a token is
    /// needed; 413, 415, 422 where there is a body; 404 where the path has an id).
    pub fn errors(mut self, statuses: &[u16]) -> Op {
        self.errors.extend_from_slice(statuses);
        self
    }

    /// Where one would go next from the first reply.
    pub fn link(mut self, name: &'static str, to: impl Into<String>, parameter: (&'static str, &'static str)) -> Op {
        self.links.push(Link { name, operation: to.into(), parameter });
        self
    }
}

/// Adds operations to an application. Literal paths are tried before those with names in them: they
/// are compared as text, and each of the others is a regular expression that every pull would pay.
pub fn mount(cfg: &mut web::ServiceConfig, operations: Vec<Op>) {
    let mut paths: BTreeMap<(bool, String), (String, Vec<Route>)> = BTreeMap::new();
    for op in operations {
        let (access, name) = (op.access, Name(op.id.into()));
        // The rows of the registry say for themselves what was asked for and denied.
        let people = op.tag == "people";
        let route = match op.method {
            // A pull is taken down as what its phone was told, so only one that is read is a pull.
            Method::GET if op.tag != "sync" => op.route.guard(guard::Any(guard::Get()).or(guard::Head())),
            method => op.route.method(method),
        };
        let guarded = route.wrap(from_fn(move |req, next| enter(access, people, name.clone(), req, next)));
        let order = (op.path.contains('{'), op.path.replace('{', "\u{10ffff}"));
        paths.entry(order).or_insert_with(|| (op.path, Vec::new())).1.push(guarded);
    }
    for (_, (path, routes)) in paths {
        cfg.service(routes.into_iter().fold(web::resource(path), actix_web::Resource::route));
    }
}

/// The operation that a request reached, for logs and metrics: never the path, which holds ids.
#[derive(Clone, Debug)]
pub struct Name(pub std::sync::Arc<str>);

async fn enter<B: MessageBody + 'static>(
    access: Access,
    people: bool,
    name: Name,
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    req.extensions_mut().insert(name);
    // No database keeps a NUL, so nothing has a name with one in it; PostgreSQL does not even take the question.
    let nameless = req.path().contains("%00");
    let (roles, recent) = match access {
        Access::Public => return Ok(next.call(req).await?.map_into_boxed_body()),
        Access::Roles(roles) => (roles, false),
        Access::Recent(roles) => (roles, true),
    };
    let Some(state) = req.app_data::<web::Data<State>>().cloned() else {
        return Err(Problem::Internal("the application has no state".into()).into());
    };
    let operation = req.extensions().get::<Name>().map(|name| name.0.clone()).unwrap_or_default();
    let session = match crate::session::authenticate(&state, req.request(), roles, recent).await {
        Ok(session) => session,
        Err(problem) => return Ok(req.error_response(problem)),
    };
    let actor = session.actor.clone();
    let answer = if roles.contains(&actor.role) && nameless {
        req.error_response(Problem::NotFound)
    } else if roles.contains(&actor.role) {
        req.extensions_mut().insert(session);
        next.call(req).await?.map_into_boxed_body()
    } else {
        req.error_response(Problem::Forbidden("your role does not allow this".into()))
    };
    if answer.status() == StatusCode::FORBIDDEN || people && answer.status() == StatusCode::NOT_FOUND {
        record_denial(&state, &actor, &operation).await;
    }
    Ok(answer)
}

/// Every denied access stands in the audit trail, with the operation and never with what it was about.
async fn record_denial(state: &State, actor: &entities::Actor, operation: &str) {
    let recorded = async {
        let mut write = state.store.write(actor).await?;
        write.note("denied", operation);
        write.commit().await
    };
    if let Err(error) = recorded.await {
        tracing::error!(%error, operation, "a denied access could not be recorded");
    }
}
