//! What is more than a move: assigning a case, and its status by name.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use entities::casework::case_assignment::{self, Assign};
use entities::registry::{Synced, Table, erased, is_id, table};
use entities::workflow::explain::explain;
use entities::{Actor, Error, Instant, Role, access, acts, lists};
use serde_json::{Map, Value, json};

use super::{document, members, rows, watched};
use crate::body::JsonBody;
use crate::columns::{ID, SOON};
use crate::form::Form;
use crate::operation::Op;
use crate::problem::{Answer, Problem};
use crate::session::Session;
use crate::state::State;

const WORKERS: &[Role] = &[Role::Caseworker, Role::Supervisor];
const LEAD: &[Role] = &[Role::Supervisor];

pub(super) fn operations() -> Vec<Op> {
    let Some(assignments) = table(case_assignment::Entity::NAME) else { return Vec::new() };
    let Some(cases) = table("cases") else { return Vec::new() };
    let text = |says: &str, most: usize| json!({"type": ["string", "null"], "description": says, "maxLength": most});
    let why = json!({"type": "string", "description": "Why", "minLength": 1, "maxLength": 1000});
    let instant = |says: &str| json!({"type": ["string", "null"], "format": "date-time", "description": says});
    let roles = json!({"enum": ["primary", "secondary", "covering"]});
    let flag = |says: &str| json!({"type": ["boolean", "null"], "description": says, "default": false});
    let assign_schema = json!({
        "type": "object", "additionalProperties": false, "required": ["user_id", "role", "reason"],
        "properties": {
            "user_id": {"type": "string", "pattern": ID}, "role": roles, "reason": why,
            "handover_note": text("What the next worker should know", 4000),
            "immediate": flag("Whoever loses the case loses it at the next pull, unsent work or not"),
            "from": instant("From when, for covering and secondary"), "to": instant("Until when"),
            "part2": flag("May see substance-use records"),
        },
    });
    // The body of the status says `reason`, where the moves say `status_reason`.
    let status_schema =
        document::moved_to(cases, "status", |name| if name == "status_reason" { "reason" } else { name });
    let reopen_schema = json!({
        "type": "object", "additionalProperties": false, "required": ["status_reason"],
        "properties": {
            "status_reason": text("Why", 1000),
            "user_id": text("Who is to have the case; the last primary worker when absent", 64),
        },
    });
    let end_schema = json!({
        "type": "object", "additionalProperties": false, "required": ["reason"],
        "properties": {"reason": why, "immediate": flag("As for an assignment")},
    });
    let who = "0192f0c1-7a1b-7c00-8000-000000000001";
    vec![
        Op::new(Method::POST, "/cases/{id}/assignments", "assign_Case", assign)
            .says("cases", "Give a case to a worker")
            .detail(
                "Ends the open assignment of that role and starts the new one; secondary and covering workers may be \
                 several. A primary from another team takes the case along. For a supervisor of the case's team or of \
                 a team above it.",
            )
            .only(LEAD)
            .takes(assign_schema, json!({"user_id": who, "role": "primary", "reason": "Moves to another town"}))
            .gives(201, "Assigned", document::reference(assignments), document::example(assignments))
            .with(&["ETag"])
            .errors(&[409]),
        Op::new(Method::POST, "/case_assignments/{id}/end", "end_CaseAssignment", end)
            .says("case_assignments", "End a secondary or covering assignment")
            .only(LEAD)
            .takes(end_schema, json!({"reason": "Back from leave"}))
            .gives(200, "Ended", document::reference(assignments), document::example(assignments))
            .with(&["ETag"])
            .errors(&[409]),
        Op::new(Method::POST, "/cases/{id}/status", "set_Case_status", status)
            .says("cases", "Change a case's status")
            .detail("The same moves as the verbs of cases, by the status they lead to.")
            .only(WORKERS)
            .takes(status_schema, json!({"to": "on_hold", "reason": "In hospital", "resume_on": SOON[..10]}))
            .gives(200, "Changed", document::reference(cases), document::example(cases))
            .with(&["ETag"])
            .errors(&[409]),
        Op::new(Method::POST, "/cases/{id}/reopen", "reopen_Case", reopen)
            .says("cases", "Move to active")
            .detail(
                "From closed. A new episode begins, with the worker named or the last one who had the case as its \
                 primary, in the same commit. If-Match is honoured where it is sent.",
            )
            .only(LEAD)
            .if_match(false)
            .takes(reopen_schema, json!({"status_reason": "Asks for help again", "user_id": who}))
            .gives(200, "Moved", document::reference(cases), document::example(cases))
            .with(&["ETag"])
            .errors(&[409, 412]),
        Op::new(Method::GET, "/cases/{id}/workflow", "explain_Case", workflow)
            .says("cases", "Why the workflow reminds, or does not")
            .detail("For each rule: when it fires next, or which fact stops it; and the mail about the case.")
            .only(WORKERS)
            .gives(200, "Each rule and each message", crate::openapi::schema("Explained"), explained_example()),
    ]
}

/// Moves of cases that are more than a move and have an operation here.
pub(super) fn is_own(table: &Table, verb: &str) -> bool {
    table.name == "cases" && verb == "reopen"
}

/// The schema of what `GET /cases/{id}/workflow` answers.
pub(super) fn schemas() -> Vec<(String, Value)> {
    let text = json!({"type": "string"});
    let maybe = json!({"type": ["string", "null"]});
    let object = |properties: Value| {
        let names: Vec<String> = properties.as_object().map(|all| all.keys().cloned().collect()).unwrap_or_default();
        json!({"type": "object", "required": names, "properties": properties})
    };
    let instant = json!({"type": "string", "format": "date-time"});
    let mut next = object(json!({"step": text, "nominal_local": text, "zone": text, "due_at": instant}));
    next["type"] = json!(["object", "null"]);
    let because = object(json!({
        "kind": {"enum": ["condition", "fact", "calendar", "snooze", "ledger", "quiet", "fallback"]},
        "text": text, "fact": maybe,
    }));
    let rule = object(json!({
        "rule": text, "version": {"type": "integer"}, "subject_kind": text, "subject_id": maybe,
        "state": {"enum": ["pending", "fired", "blocked", "done"]}, "next": next,
        "because": {"type": "array", "items": because},
    }));
    let message = object(json!({
        "message_id": text, "rule": text, "version": {"type": "integer"}, "to_role": text, "state": text, "why": text,
    }));
    let whole = object(json!({
        "case_id": text, "as_of": instant, "rules": {"type": "array", "items": rule},
        "messages": {"type": "array", "items": message},
    }));
    vec![("Explained".into(), whole)]
}

fn explained_example() -> Value {
    json!({
        "case_id": "0192f0c1-7a1b-7c00-8000-000000000001", "as_of": "2027-03-01T15:00:00.000Z",
        "rules": [{
            "rule": "goal.deadline", "version": 1, "subject_kind": "goal",
            "subject_id": "0192f0c1-7a1b-7c00-8000-000000000002", "state": "pending",
            "next": {"step": "d7", "nominal_local": "2027-03-07T08:00", "zone": "America/New_York",
                     "due_at": "2027-03-07T13:00:00.000Z"},
            "because": [{"kind": "condition", "text": "the goal is active", "fact": "goal.lifecycle"}],
        }],
        "messages": [],
    })
}

async fn assign(session: Session, state: web::Data<State>, id: web::Path<String>, body: JsonBody) -> Answer {
    let wish = wish(body.0)?;
    let cases = table("cases").filter(|_| is_id(&id)).ok_or(Problem::NotFound)?;
    let answer = assigned(&state, &session.actor, &id, wish).await;
    watched(answer, &state, &session.actor, "assign", cases, &id).await
}

async fn assigned(state: &State, actor: &Actor, id: &str, wish: Assign) -> Answer {
    let mut write = state.store.write(actor).await?;
    let made = case_assignment::assign(&mut write, id, wish).await?;
    write.commit().await?;
    let row = erased::<case_assignment::Entity>(&made).ok_or(Problem::NotFound)?;
    rows::shown(HttpResponse::Created(), &row, actor, state)
}

fn wish(body: Value) -> Answer<Assign> {
    let mut form = Form::new(body)?;
    let user_id = form.text("user_id", 1, 64);
    let role = form.text("role", 1, 20);
    if !role.is_empty() && !["primary", "secondary", "covering"].contains(&role.as_str()) {
        form.fault("role", "code", "must be primary, secondary or covering");
    }
    if user_id.contains(char::is_whitespace) {
        form.fault("user_id", "unknown_user", "must be an active caseworker");
    }
    let wish = Assign {
        user_id,
        role,
        reason: form.text("reason", 1, 1000),
        handover_note: form.maybe_text("handover_note", 0, 4000),
        from: instant(&mut form, "from"),
        to: instant(&mut form, "to"),
        part2: flag(&mut form, "part2"),
        immediate: flag(&mut form, "immediate"),
    };
    form.finish()?;
    Ok(wish)
}

fn instant(form: &mut Form, name: &str) -> Option<Instant> {
    let text = form.maybe_text(name, 1, 40)?;
    let at = Instant::parse(&text);
    if at.is_none() {
        form.fault(name, "instant", "must be an instant in RFC 3339");
    }
    at
}

fn flag(form: &mut Form, name: &str) -> bool {
    match form.raw(name) {
        None | Some(Value::Null) => false,
        Some(Value::Bool(yes)) => yes,
        Some(_) => {
            form.fault(name, "type", "must be true or false");
            false
        }
    }
}

async fn end(session: Session, state: web::Data<State>, id: web::Path<String>, body: JsonBody) -> Answer {
    let mut form = Form::new(body.0)?;
    let reason = form.text("reason", 1, 1000);
    let immediate = flag(&mut form, "immediate");
    form.finish()?;
    let assignments = table("case_assignments").filter(|_| is_id(&id)).ok_or(Problem::NotFound)?;
    let answer = ended(&state, &session.actor, &id, reason, immediate).await;
    watched(answer, &state, &session.actor, "end", assignments, &id).await
}

async fn ended(state: &State, actor: &Actor, id: &str, reason: String, immediate: bool) -> Answer {
    let mut write = state.store.write(actor).await?;
    let ended = case_assignment::end(&mut write, id, reason, immediate).await?;
    write.commit().await?;
    let row = erased::<case_assignment::Entity>(&ended).ok_or(Problem::NotFound)?;
    rows::shown(HttpResponse::Ok(), &row, actor, state)
}

async fn reopen(
    session: Session,
    state: web::Data<State>,
    req: HttpRequest,
    id: web::Path<String>,
    body: JsonBody,
) -> Answer {
    let body = members(body.0)?;
    let cases = table("cases").filter(|_| is_id(&id)).ok_or(Problem::NotFound)?;
    let answer = reopened(&state, &session.actor, cases, &id, &req, body).await;
    watched(answer, &state, &session.actor, "reopen", cases, &id).await
}

async fn reopened(
    state: &State,
    actor: &Actor,
    cases: &'static Table,
    id: &str,
    req: &HttpRequest,
    mut body: Map<String, Value>,
) -> Answer {
    let user = named_user(&mut body)?;
    let mut write = state.store.write(actor).await?;
    write.note("reopen", "cases");
    let seen = rows::expected(req, &lists::one(write.conn(), cases, actor.user(), id).await?)?;
    let row = case_assignment::reopen(&mut write, id, user, seen, &body).await?;
    write.commit().await?;
    rows::shown(HttpResponse::Ok(), &row, actor, state)
}

/// Who is to have a case that is opened again.
fn named_user(body: &mut Map<String, Value>) -> Answer<Option<String>> {
    match body.shift_remove("user_id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if is_id(&id) => Ok(Some(id)),
        Some(_) => Err(Problem::invalid("user_id", "unknown_user", "must be an active caseworker")),
    }
}

async fn status(session: Session, state: web::Data<State>, id: web::Path<String>, body: JsonBody) -> Answer {
    let mut body: Map<String, Value> = members(body.0)?;
    let Some(Value::String(to)) = body.shift_remove("to") else {
        return Err(Problem::invalid("to", "required", "say which status"));
    };
    if let Some(reason) = body.shift_remove("reason") {
        body.insert("status_reason".into(), reason);
    }
    let cases = table("cases").filter(|_| is_id(&id)).ok_or(Problem::NotFound)?;
    let answer = moved(&state, &session.actor, cases, &id, &to, &body).await;
    watched(answer, &state, &session.actor, "status", cases, &id).await
}

async fn moved(
    state: &State,
    actor: &Actor,
    cases: &'static Table,
    id: &str,
    to: &str,
    body: &Map<String, Value>,
) -> Answer {
    let mut write = state.store.write(actor).await?;
    write.note("status", to);
    // Who sees it comes before what is wrong with the question.
    let closed = lists::one(write.conn(), cases, actor.user(), id).await?.text("status") == Some("closed");
    let words = cases.destinations("status");
    if !words.contains(&to) {
        return Err(Problem::invalid("to", "unknown_code", format!("must be one of {}", words.join(", "))));
    }
    let done = if to == "active" && closed && actor.role == Role::Supervisor {
        let mut body = body.clone();
        let user = named_user(&mut body)?;
        case_assignment::reopen(&mut write, id, user, None, &body).await
    } else {
        acts::act_to(&mut write, cases, id, "status", to, body).await
    };
    let row = done.map_err(|err| match err {
        // The body says `reason`; so must what is said of it.
        Error::Invalid(mut faults) => {
            for fault in faults.iter_mut().filter(|fault| fault.pointer == "/status_reason") {
                fault.pointer = "/reason".into();
            }
            Error::Invalid(faults)
        }
        other => other,
    })?;
    write.commit().await?;
    rows::shown(HttpResponse::Ok(), &row, actor, state)
}

async fn workflow(session: Session, state: web::Data<State>, id: web::Path<String>) -> Answer {
    let cases = table("cases").filter(|_| is_id(&id)).ok_or(Problem::NotFound)?;
    let answer = explained(&state, &session.actor, cases, &id).await;
    watched(answer, &state, &session.actor, "workflow", cases, &id).await
}

async fn explained(state: &State, actor: &Actor, cases: &'static Table, id: &str) -> Answer {
    // Before the view is opened: who holds a connection must not ask for another.
    let now = state.store.now().await?;
    let snapshot = access::settled_view(&state.store, &actor.agency_id).await?;
    lists::one(&*snapshot, cases, actor.user(), id).await?;
    let said = explain(&*snapshot, id, now).await?.ok_or(Problem::NotFound)?;
    Ok(HttpResponse::Ok().json(said))
}
