//! Days on which the agency does not work.

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use entities::Day;
use entities::people::holiday::{self, Model};
use serde_json::{Value, json};

use super::{AN_ID, close_door, list, object, open_door, page, page_example, text};
use crate::body::JsonBody;
use crate::form::{Form, line_shape};
use crate::openapi::schema;
use crate::operation::{ADMINISTRATORS, Op, STAFF};
use crate::problem::Answer;
use crate::session::Session;
use crate::state::State;

pub(super) fn operations() -> Vec<Op> {
    vec![
        Op::new(Method::GET, "/holidays", "list_holidays", all)
            .only(STAFF)
            .says("people", "The agency's holidays in order")
            .gives(200, "The holidays", page("Holiday"), page_example(example())),
        Op::new(Method::POST, "/holidays", "create_holiday", create)
            .only(ADMINISTRATORS)
            .says("people", "Enter a holiday")
            .detail("Deadlines that count working days step over it from this commit on.")
            .takes(schema("NewHoliday"), json!({"day": "2027-07-05", "name": "Independence Day (observed)"}))
            .gives(201, "Entered", schema("Holiday"), example())
            .errors(&[409]),
        Op::new(Method::DELETE, "/holidays/{id}", "remove_holiday", remove)
            .only(ADMINISTRATORS)
            .says("people", "Take a holiday out again")
            .answers(204, "Gone", None),
    ]
}

async fn all(state: web::Data<State>, session: Session) -> Answer {
    let days = holiday::list(state.store.connection(), &session.actor.agency_id).await?;
    list(days.iter().map(view).collect(), None)
}

async fn create(state: web::Data<State>, session: Session, body: JsonBody) -> Answer {
    let mut form = Form::new(body.0)?;
    let day = form.maybe_parsed::<Day>("day", "a date YYYY-MM-DD");
    if day.is_none() && !form.faulty("day") {
        form.fault("day", "required", "is missing");
    }
    let name = form.line("name", 120);
    form.finish()?;
    let mut write = open_door(&state, &session).await?;
    let stored = holiday::create(&mut write, day.unwrap_or_default(), &name).await?;
    close_door(&state, write).await?;
    Ok(HttpResponse::Created().json(view(&stored)))
}

async fn remove(state: web::Data<State>, session: Session, id: web::Path<String>) -> Answer {
    let mut write = open_door(&state, &session).await?;
    holiday::remove(&mut write, &id).await?;
    close_door(&state, write).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn view(day: &Model) -> Value {
    json!({"id": day.id, "day": day.day.to_string(), "name": day.name})
}

fn example() -> Value {
    json!({"id": AN_ID, "day": "2027-07-05", "name": "Independence Day (observed)"})
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let day = json!({"type": "string", "format": "date"});
    vec![
        ("Holiday", object(&["id", "day", "name"], json!({"id": text(), "day": day, "name": text()}))),
        ("NewHoliday", object(&["day", "name"], json!({"day": day, "name": line_shape(120)}))),
    ]
}
