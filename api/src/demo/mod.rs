//! `/demo/mail`: the mails that went out, as their readers would see them. Only in the
//! demonstration, which listens on loopback alone and holds invented people only, so no login is
//! asked for.
//!
//! A mail's HTML part is shown in a sandboxed frame from a route of its own, whose policy lets it
//! load nothing and run nothing.

use std::collections::BTreeMap;

use actix_web::http::{Method, header};
use actix_web::{HttpResponse, web};
use entities::partners::organization;
use entities::people::{agency, user};
use entities::read;
use entities::workflow::outbox::{self, Caught};
use entities::workflow::zone::Zone;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::{Deserialize, Serialize};

use crate::operation::{Access, Op};
use crate::problem::{Answer, Problem};
use crate::state::State;

/// How many mails are listed.
const MOST: u64 = 200;
/// The page: its own styles and frames of its own, nothing else.
const PAGE: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'; \
                    form-action 'none'; frame-ancestors 'none'";
/// A mail in its frame: styles and nothing else, whatever it says.
const FRAME: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; \
                     style-src 'unsafe-inline'; img-src data:; form-action 'none'; frame-ancestors 'self'";

/// The pages of the demonstration.
pub fn operations() -> Vec<Op> {
    vec![
        Op::at_root(Method::GET, "/demo/mail", "demo_mail", newest)
            .access(Access::Public)
            .says("demo", "Mail that went out")
            .detail("A page for people. Served by `fieldstone demo` alone.")
            .query("to", "Only mail to this address", serde_json::json!({"type": "string"}))
            .answers(200, "The list and the newest mail", Some("text/html")),
        Op::at_root(Method::GET, "/demo/mail/{id}", "demo_mail_message", one)
            .access(Access::Public)
            .says("demo", "One mail that went out")
            .query("to", "The mailbox it was opened from", serde_json::json!({"type": "string"}))
            .answers(200, "The list and this mail", Some("text/html")),
        Op::at_root(Method::GET, "/demo/mail/{id}/html", "demo_mail_html", html)
            .access(Access::Public)
            .says("demo", "The HTML part of a mail")
            .answers(200, "The part as it was sent", Some("text/html")),
    ]
}

#[derive(Debug, Deserialize)]
struct Ask {
    to: Option<String>,
}

async fn newest(state: web::Data<State>, ask: web::Query<Ask>) -> Answer {
    show(&state, None, ask.into_inner().to).await
}

async fn one(state: web::Data<State>, id: web::Path<String>, ask: web::Query<Ask>) -> Answer {
    let found = outbox::caught_by_id(state.store.connection(), &id).await?.ok_or(Problem::NotFound)?;
    show(&state, Some(found), ask.into_inner().to).await
}

async fn html(state: web::Data<State>, id: web::Path<String>) -> Answer {
    let found = outbox::caught_by_id(state.store.connection(), &id).await?.ok_or(Problem::NotFound)?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_SECURITY_POLICY, FRAME))
        .insert_header((header::X_FRAME_OPTIONS, "SAMEORIGIN"))
        .content_type("text/html; charset=utf-8")
        .body(with_links_outside(&found.html)))
}

/// A mail program opens links outside of the mail; in the frame it takes a `base` to do so.
fn with_links_outside(html: &str) -> String {
    html.replacen("<head>", "<head><base target=\"_blank\">", 1)
}

/// A mail as the page shows it.
#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    address: String,
    name: String,
    /// What the reader is, such as `caseworker`.
    part: Option<String>,
    subject: String,
    text: String,
    rule: Option<String>,
    instant: String,
    short: String,
    long: String,
}

/// What the template is given.
#[derive(Debug, Serialize)]
struct Page {
    boxes: Vec<Mailbox>,
    /// Mails in all mailboxes.
    total: usize,
    /// The mailbox that is open; all of them when none.
    to: Option<String>,
    messages: Vec<Shown>,
    shown: Option<Shown>,
    /// Somebody opened this mail, so the page must not change under their eyes.
    picked: bool,
}

#[derive(Debug, Serialize)]
struct Mailbox {
    address: String,
    name: String,
    count: usize,
}

/// A reader: name, part and clock.
#[derive(Clone, Debug)]
struct Reader {
    name: String,
    part: Option<String>,
    zone: Zone,
}

async fn show(state: &State, picked: Option<Caught>, to: Option<String>) -> Answer {
    let mut all = outbox::caught(state.store.connection(), MOST).await?;
    let mut readers = BTreeMap::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for mail in all.iter().chain(&picked) {
        let address = bare(&mail.to);
        if !readers.contains_key(&address) {
            readers.insert(address.clone(), reader(state, &address).await?);
        }
    }
    for mail in &all {
        *counts.entry(bare(&mail.to)).or_default() += 1;
    }
    let mut boxes: Vec<Mailbox> = counts
        .iter()
        .map(|(address, count)| Mailbox { address: address.clone(), name: name_of(&readers, address), count: *count })
        .collect();
    // The agency's people first, then organisations.
    boxes.sort_by_key(|one| (readers.get(&one.address).is_none_or(|reader| reader.part.is_none()), one.name.clone()));
    let total = all.len();
    if let Some(to) = &to {
        all.retain(|mail| bare(&mail.to) == *to);
    }
    let is_picked = picked.is_some();
    let messages: Vec<Shown> = all.iter().map(|mail| shown(mail, &readers)).collect();
    let shown = picked.as_ref().or(all.first()).map(|mail| shown(mail, &readers));
    let page = page(&Page { boxes, total, to, messages, shown, picked: is_picked })
        .map_err(|error| Problem::Internal(error.to_string()))?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_SECURITY_POLICY, PAGE))
        .content_type("text/html; charset=utf-8")
        .body(page))
}

/// The address alone, without the name before it.
fn bare(to: &str) -> String {
    to.rsplit_once('<').map_or(to, |(_, rest)| rest.trim_end_matches('>')).trim().to_owned()
}

fn name_of(readers: &BTreeMap<String, Reader>, address: &str) -> String {
    readers.get(address).map_or_else(|| address.to_owned(), |reader| reader.name.clone())
}

/// Who reads mail at an address: a user, or a partner organisation whose desk it is. Anybody else
/// is called by the address, and the day is told in UTC.
async fn reader(state: &State, address: &str) -> Result<Reader, Problem> {
    let store = state.store.connection();
    let (name, part, tz, agency_id) = if let Some(user) = user::by_email(store, address).await? {
        (user.display_name, Some(user.role), user.tz, user.agency_id)
    } else {
        let of = vec![address.into()];
        match read::models::<organization::Entity>(store, "t.email = $1 and t.deleted_at is null", of).await?.pop() {
            Some(desk) => (desk.name, None, desk.tz, desk.agency_id),
            None => return Ok(Reader { name: address.to_owned(), part: None, zone: Zone::utc() }),
        }
    };
    let agency = agency::by_id(store, &agency_id).await?;
    let zone = tz.or(agency.map(|agency| agency.tz)).and_then(|name| Zone::named(&name));
    Ok(Reader { name, part, zone: zone.unwrap_or_else(Zone::utc) })
}

fn shown(mail: &Caught, readers: &BTreeMap<String, Reader>) -> Shown {
    let address = bare(&mail.to);
    let reader = readers.get(&address);
    let zone = reader.map_or_else(Zone::utc, |reader| reader.zone.clone());
    let wall = zone.wall(mail.at);
    Shown {
        id: mail.id.clone(),
        name: name_of(readers, &address),
        part: reader.and_then(|reader| reader.part.clone()),
        address,
        subject: mail.subject.clone(),
        text: mail.text.clone(),
        rule: mail.rule.clone(),
        instant: mail.at.rfc3339(),
        short: wall.format("%a %-d %b, %H:%M").to_string(),
        long: format!("{} ({})", wall.format("%A, %-d %B %Y, %H:%M"), zone.name().replace('_', " ")),
    }
}

fn page(context: &Page) -> Result<String, minijinja::Error> {
    let mut pages = Environment::new();
    pages.set_undefined_behavior(UndefinedBehavior::Strict);
    pages.set_auto_escape_callback(|_| AutoEscape::Html);
    pages.add_template("mail.html", include_str!("mail.html"))?;
    pages.get_template("mail.html")?.render(minijinja::value::Serde(context))
}

#[cfg(test)]
mod tests {
    use super::*;
    use entities::Instant;

    fn mail(subject: &str) -> Caught {
        Caught {
            id: "m1".into(),
            to: "Ana Alder <ana@demo.example>".into(),
            subject: subject.into(),
            text: "<b>plain</b>".into(),
            html: "<html><head></head></html>".into(),
            rule: Some("goal.deadline".into()),
            at: Instant::parse("2027-03-14T12:00:00Z").unwrap(),
        }
    }

    #[test]
    fn a_mail_is_shown_with_its_readers_clock_and_never_as_markup() {
        let ana = Reader { name: "Ana Alder".into(), part: None, zone: Zone::named("America/New_York").unwrap() };
        let readers = BTreeMap::from([("ana@demo.example".to_owned(), ana)]);
        let [listed, opened] = [(); 2].map(|()| shown(&mail("<script>"), &readers));
        assert_eq!(opened.long, "Sunday, 14 March 2027, 08:00 (America/New York)");
        let context =
            Page { boxes: vec![], total: 1, to: None, messages: vec![listed], shown: Some(opened), picked: true };
        let page = page(&context).unwrap();
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"), "{page}");
        assert!(page.contains("&lt;b&gt;plain"), "{page}");
    }

    #[test]
    fn links_in_a_mail_open_outside_of_its_frame() {
        assert_eq!(with_links_outside("<html><head><title>"), "<html><head><base target=\"_blank\"><title>");
    }
}
