//! Mail addresses that a mail server refused for good, for those who can correct them.

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use entities::workflow::refused::{self, Refused};
use serde_json::{Value, json};

use super::{AN_ID, Paging, close_door, instant, object, open_door, page, page_example, text};
use crate::operation::{ADMINISTRATORS, Op};
use crate::problem::{Answer, Problem};
use crate::session::Session;
use crate::state::State;

pub(super) fn operations() -> Vec<Op> {
    vec![
        Op::new(Method::GET, "/refused_addresses", "list_refused_addresses", all)
            .only(ADMINISTRATORS)
            .says("people", "Mail addresses that a mail server refused for good")
            .detail("Nothing more is sent to them. A new address for the user or organisation ends that too.")
            .query("limit", "1 to 200; 50 when absent", json!({"type": "integer", "minimum": 1, "maximum": 200}))
            .query("cursor", "next_cursor of the page before", text())
            .gives(200, "A page of addresses", page("RefusedAddress"), page_example(example()))
            .errors(&[422]),
        Op::new(Method::POST, "/refused_addresses/{id}/lift", "lift_refused_address", lift)
            .only(ADMINISTRATORS)
            .says("people", "Let mail go to the address again")
            .detail("Mail that was not sent for its sake and is not too late goes now.")
            .answers(204, "Lifted", None),
    ]
}

async fn all(state: web::Data<State>, session: Session, page: web::Query<Paging>) -> Answer {
    let (agency, limit) = (&session.actor.agency_id, page.limit()?);
    let found = refused::list(state.store.connection(), agency, page.after(), limit + 1).await?;
    page.answer(found, |row| &row.id, view)
}

async fn lift(state: web::Data<State>, session: Session, id: web::Path<String>) -> Answer {
    let mut write = open_door(&state, &session).await?;
    let agency = write.actor().agency_id.clone();
    let found = refused::by_id(write.conn(), &agency, &id).await?.ok_or(Problem::NotFound)?;
    refused::lift(write.conn(), write.now(), &agency, &found.address).await?;
    write.note("refused_address_lifted", entities::audit::object("refused_addresses", &found.id));
    close_door(&state, write).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn view(refused: &Refused) -> Value {
    json!({"id": refused.id, "address": refused.address, "code": refused.code, "said": refused.said,
        "refused_at": refused.refused_at.rfc3339()})
}

fn example() -> Value {
    json!({"id": AN_ID, "address": "office@harbor.example", "code": 550, "said": "5.1.1 no such mailbox",
        "refused_at": "2027-03-01T09:00:00.000Z"})
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let code = json!({"type": ["integer", "null"], "description": "The mail server's code."});
    let fields = json!({"id": text(), "address": text(), "code": code, "said": text(), "refused_at": instant()});
    vec![("RefusedAddress", object(&["id", "address", "code", "said", "refused_at"], fields))]
}
