//! A referral: what a partner organisation is asked to do for a client, and what came of it.
//!
//! That it was sent, or accepted, is not an outcome. The loop is closed only when the outcome is
//! known and the client or the partner has confirmed it; silence closes nothing. The partner sees
//! the columns marked for partners, from the request on, and of the reason only what the packet
//! that the client agreed to holds.

use sea_orm::entity::prelude::*;

use crate::access::{Actor, Role, Stand};
use crate::casework::has_part;
use crate::clock::{Day, Instant, draw_plain, is_plain};
use crate::doc::Doc;
use crate::error::Fault;
use crate::registry::{Field, Fill, Holds, Move, Need, Row, Synced, Touch, erased};

use super::referral_event;

/// Columns of a referral.
#[sea_orm::model]
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "referrals")]
pub struct Model {
    /// Row id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// The case.
    pub case_id: String,
    /// For whom.
    pub person_id: Option<String>,
    /// Who is asked.
    pub partner_org_id: Option<String>,
    /// What both sides call it: nine plain letters and digits, drawn at random, unlike the case's.
    pub reference: String,
    /// The service that is asked for.
    pub service_id: Option<String>,
    /// Kind of need.
    pub need_category: Option<String>,
    /// `routine` or `urgent`.
    pub priority: String,
    /// What is asked for and why.
    pub reason: Option<String>,
    /// What the client agreed to share: a list of column names.
    pub packet_fields: Option<Doc>,
    /// How the client chose, in the client's words.
    pub client_choice: Option<String>,
    /// The client's agreement to share: `{by, on, how, until}`; with `withdrawn`, a date, or taken
    /// away altogether, it is withdrawn.
    pub client_consent: Option<Doc>,
    /// The record of that agreement.
    pub consent_id: Option<String>,
    /// The partner must not contact the person.
    pub do_not_contact_person: bool,
    /// State: see `MOVES`.
    pub status: String,
    /// Why it was rejected, held, cancelled or failed.
    pub status_reason: Option<String>,
    /// Why it was rejected, as a word.
    pub reason_code: Option<String>,
    /// How the partner's answer came.
    pub answered_via: Option<String>,
    /// Whether the partner has room.
    pub capacity: Option<String>,
    /// Whether the client was enrolled.
    pub enrolment: Option<String>,
    /// What the partner did.
    pub result: Option<String>,
    /// When it was requested.
    pub sent_at: Option<Instant>,
    /// When the partner answered.
    pub ack_at: Option<Instant>,
    /// When an answer is due.
    pub due_response_at: Option<Instant>,
    /// When the other side acknowledged that it is cancelled.
    pub cancel_ack_at: Option<Instant>,
    /// The partner cancelled it.
    pub cancelled_by_partner: bool,
    /// What came of it for the client.
    pub outcome: Option<String>,
    /// Who says so.
    pub outcome_confirmed_by: Option<String>,
    /// When the outcome was known and confirmed by client or partner.
    pub loop_closed_at: Option<Instant>,
    /// The referral that this one follows.
    pub previous_referral_id: Option<String>,
    /// The step of the plan it belongs to.
    pub plan_action_id: Option<String>,
    /// Commit number of the last change.
    pub seq: i64,
    /// Commit number of the last change a client could have made.
    pub edit_seq: i64,
    /// When it was stored first.
    pub created_at: Instant,
    /// When it was stored last.
    pub updated_at: Instant,
    /// Who made it.
    pub created_by: Option<String>,
    /// Who changed it last.
    pub updated_by: Option<String>,
    /// When it was deleted.
    pub deleted_at: Option<Instant>,
}

impl ActiveModelBehavior for ActiveModel {}

/// States in which the partner still has something to do.
pub const OPEN: &[&str] = &["requested", "accepted", "in_progress", "on_hold"];

const STATUSES: &[&str] = &[
    "draft",
    "requested",
    "accepted",
    "rejected",
    "in_progress",
    "on_hold",
    "completed",
    "failed",
    "cancelled",
    "entered_in_error",
];
const REJECTIONS: &[&str] =
    &["no_capacity", "not_eligible", "out_of_area", "waitlist_full", "incomplete", "duplicate", "other"];
const OUTCOMES: &[&str] = &[
    "received",
    "partly",
    "not_received",
    "declined_by_client",
    "not_eligible",
    "no_capacity",
    "no_funds",
    "could_not_reach",
    "unknown",
];
/// The partner answers, or a worker records an answer that came by telephone.
const ANSWERS: &[Role] = &[Role::Partner, Role::Caseworker];
const EITHER: &[Role] = &[Role::Partner, Role::Caseworker, Role::Supervisor];

impl Synced for Entity {
    const NAME: &'static str = "referrals";
    const RANK: u8 = 35;
    const READERS: &'static [Role] = &[Role::Caseworker, Role::Supervisor, Role::Partner];
    const MOVES: &'static [Move<Model>] = &[
        Move {
            who: &[Role::Caseworker],
            takes: &["partner_org_id", "client_choice", "client_consent", "packet_fields", "due_response_at"],
            guard: |referral, now| complete(referral, now),
            effect: |referral, now, _| referral.sent_at = Some(now),
            ..Move::plain("request", &["draft"], "requested")
        },
        Move {
            who: ANSWERS,
            takes: &["answered_via", "capacity", "status_reason"],
            effect: answered,
            ..Move::plain("accept", &["requested"], "accepted")
        },
        Move {
            who: ANSWERS,
            takes: &["answered_via", "capacity", "status_reason", "reason_code"],
            guard: |referral, _| match referral.reason_code {
                Some(_) => Vec::new(),
                None => vec![Fault::field("reason_code", "required", "say why, as one of the words")],
            },
            effect: answered,
            ..Move::plain("reject", &["requested"], "rejected")
        },
        Move { who: ANSWERS, takes: &["enrolment"], ..Move::plain("start", &["accepted"], "in_progress") },
        Move {
            who: ANSWERS,
            takes: &["status_reason"],
            guard: reason,
            ..Move::plain("hold", &["accepted", "in_progress"], "on_hold")
        },
        Move { who: ANSWERS, takes: &["status_reason"], ..Move::plain("resume", &["on_hold"], "in_progress") },
        Move {
            who: ANSWERS,
            takes: &["result", "outcome", "enrolment"],
            guard: |referral, _| match (&referral.result, &referral.outcome) {
                (None, None) => vec![Fault::field("result", "required", "say what was done, or give an outcome")],
                _ => Vec::new(),
            },
            effect: told,
            ..Move::plain("complete", &["accepted", "in_progress", "on_hold"], "completed")
        },
        Move {
            who: ANSWERS,
            takes: &["result", "outcome", "status_reason"],
            guard: reason,
            effect: told,
            ..Move::plain("fail", &["accepted", "in_progress", "on_hold"], "failed")
        },
        Move {
            who: EITHER,
            takes: &["status_reason"],
            guard: reason,
            effect: |referral, _, actor| referral.cancelled_by_partner = actor.role == Role::Partner,
            ..Move::plain("cancel", OPEN, "cancelled")
        },
        Move {
            who: EITHER,
            effect: |referral, now, actor| {
                if referral.cancelled_by_partner != (actor.role == Role::Partner) {
                    referral.cancel_ack_at = referral.cancel_ack_at.or(Some(now));
                }
            },
            ..Move::plain("acknowledge", &["cancelled"], "cancelled")
        },
        Move {
            who: &[Role::Caseworker],
            takes: &["status_reason"],
            guard: reason,
            ..Move::plain("mark_error", STATUSES, "entered_in_error")
        },
    ];

    fn field(column: Column) -> Field {
        match column {
            Column::Id => Field::id().once(),
            Column::AgencyId => Field::id().hidden(),
            Column::CaseId => Field::refer("cases").once().required(),
            Column::PersonId => Field::refer("persons"),
            Column::PartnerOrgId => Field::refer("organizations"),
            Column::Reference => Field::text(20).server().partner(),
            Column::ServiceId => Field::id(),
            Column::NeedCategory => Field::text(60).partner(),
            Column::Priority => Field::code(&["routine", "urgent"]).or("routine").partner(),
            Column::Reason => Field::text(2000).partner(),
            Column::PacketFields => Field::json(Holds::List(PACKET)),
            Column::ClientChoice => Field::text(1000),
            Column::ClientConsent => Field::json(Holds::Object(CONSENT)).agreement(),
            Column::ConsentId => Field::id(),
            Column::DoNotContactPerson => Field::boolean().protective().partner(),
            Column::Status => Field::code(STATUSES).state().or("draft").partner(),
            Column::StatusReason => Field::text(1000).partner(),
            Column::ReasonCode => Field::code(REJECTIONS).partner(),
            Column::AnsweredVia => Field::code(&["portal", "email_link", "phone", "fax"]).partner(),
            Column::Capacity => {
                Field::code(&["capacity", "no_capacity", "waitlist", "additional_assessment_required"]).partner()
            }
            Column::Enrolment => Field::code(&["enrolled", "not_enrolled", "not_enrolled_on_waitlist"]).partner(),
            Column::Result => Field::text(2000).partner(),
            Column::SentAt | Column::AckAt => Field::instant().server().partner(),
            Column::DueResponseAt => Field::instant().partner(),
            Column::CancelAckAt => Field::instant().server().partner(),
            Column::CancelledByPartner => Field::boolean().server().partner(),
            Column::Outcome => Field::code(OUTCOMES).partner(),
            Column::OutcomeConfirmedBy => Field::code(&["client", "partner", "worker"]).partner(),
            Column::LoopClosedAt => Field::instant().server().partner(),
            Column::PreviousReferralId => Field::refer("referrals").once(),
            Column::PlanActionId => Field::id(),
            Column::Seq | Column::EditSeq => Field::int(0, i64::MAX).hidden(),
            Column::CreatedAt | Column::UpdatedAt => Field::instant().server(),
            Column::CreatedBy | Column::UpdatedBy => Field::id().server(),
            Column::DeletedAt => Field::instant().hidden(),
        }
    }

    fn stands(row: &Model) -> Vec<Stand> {
        let mut stands = vec![Stand::Case(row.case_id.clone())];
        if let Some(org) = &row.partner_org_id
            && !["draft", "entered_in_error"].contains(&row.status.as_str())
        {
            stands.push(Stand::Org(org.clone()));
        }
        stands
    }

    fn check(before: Option<&Model>, after: &Model) -> Vec<Fault> {
        let mut faults = Vec::new();
        if before.is_some_and(|before| before.status != "draft" && before.partner_org_id != after.partner_org_id) {
            let detail = "stands once it was requested; cancel it and make a new one";
            faults.push(Fault::field("partner_org_id", "sent", detail));
        }
        if before
            .is_some_and(|before| before.status != "draft" && !is_part(&after.packet_fields, &before.packet_fields))
        {
            let detail = "only becomes less once it was requested; for more make a new referral";
            faults.push(Fault::field("packet_fields", "sent", detail));
        }
        if before.is_none_or(|before| before.client_consent != after.client_consent) {
            if let Some(detail) = after.client_consent.as_ref().and_then(unreadable) {
                faults.push(Fault::field("client_consent", "wrong_value", detail));
            } else if let Some(before) = before.filter(|before| before.status != "draft") {
                faults.extend(taken_away(before.client_consent.as_ref(), after.client_consent.as_ref()));
            }
        }
        faults
    }

    /// It is for a person of the case, and asks somebody who is there to answer.
    fn needs(before: Option<&Model>, after: &Model, _now: Instant, _actor: &Actor) -> Vec<Need> {
        let mut needs = Vec::new();
        needs.extend(has_part(&after.case_id, before.map(|before| &before.person_id), &after.person_id));
        if after.status == "requested" && before.is_some_and(|before| before.status != after.status) {
            let org = vec![after.partner_org_id.as_deref().unwrap_or_default().into()];
            needs.push(Need::none(HAS_CLOSED, org).or_fault("partner_org_id", "closed", "is closed and asked nothing"));
        }
        needs
    }

    /// Withdrawing the agreement cancels what the partner has not begun yet. An outcome that is changed is not the one
    /// that was confirmed; a partner's changes only with the move that says it.
    fn fills(before: Option<&Model>, after: &Model, actor: &Actor) -> Vec<Fill> {
        let Some(before) = before else { return Vec::new() };
        let fill = |column, text| Fill { column, text, values: Vec::new() };
        let mut fills = Vec::new();
        let agreed = |referral: &Model| referral.client_consent.as_ref().is_some_and(|record| !is_withdrawn(record));
        if agreed(before) && !agreed(after) && NOT_BEGUN.contains(&after.status.as_str()) {
            fills.extend([fill("status", "select 'cancelled'"), fill("status_reason", "select 'withdrawn'")]);
        }
        let confirmed_anew = actor.role == Role::Partner || before.outcome_confirmed_by != after.outcome_confirmed_by;
        if before.outcome != after.outcome && !confirmed_anew {
            // Whoever says it with a move stands for it.
            let by = if before.status == after.status { "select cast(null as text)" } else { "select 'worker'" };
            fills.push(fill("outcome_confirmed_by", by));
            fills.push(fill("loop_closed_at", "select cast(null as bigint)"));
        }
        fills
    }

    fn derive(row: &mut Model, now: Instant, _actor: &Actor) {
        // It goes into mails, so it is never a text that somebody sent.
        if !is_plain(&row.reference, 9) {
            row.reference = draw_plain(9);
        }
        let confirmed = matches!(row.outcome_confirmed_by.as_deref(), Some("client" | "partner"));
        let known = row.outcome.as_deref().is_some_and(|outcome| outcome != "unknown");
        row.loop_closed_at = if known && confirmed { row.loop_closed_at.or(Some(now)) } else { None };
    }

    /// Each change of state is told in a row of its own.
    fn follow(before: Option<&Model>, after: &Model, now: Instant, actor: &Actor) -> Vec<Row> {
        if before.is_some_and(|before| before.status == after.status) {
            return Vec::new();
        }
        let answer = ["accepted", "rejected"].contains(&after.status.as_str());
        let event = referral_event::Model {
            case_id: after.case_id.clone(),
            referral_id: after.id.clone(),
            from_status: before.map(|before| before.status.clone()),
            to_status: after.status.clone(),
            at: now,
            by_user_id: actor.user_id.clone(),
            by_role: actor.role.as_str().into(),
            note: after.status_reason.clone().filter(|_| before.is_some()),
            via: after.answered_via.clone().filter(|_| answer),
            ..Default::default()
        };
        erased::<referral_event::Entity>(&event).into_iter().collect()
    }

    /// A partner reads what the need is while the client's agreement stands, and of the reason only
    /// what the client agreed to share, while there is work to do or it was done. Why the agency
    /// cancelled stays with the agency, unless it is that the agreement was withdrawn.
    fn partner_reads(row: &Model, column: &str, now: Instant) -> bool {
        let stands = agrees(row.client_consent.as_ref(), Day(now.utc().date_naive()));
        match column {
            "status_reason" => {
                let told = row.status_reason.as_deref() == Some(WITHDRAWN);
                return row.status != "cancelled" || row.cancelled_by_partner || told;
            }
            "need_category" => return stands,
            "reason" => (),
            _ => return true,
        }
        let shared = row.packet_fields.as_ref().and_then(|list| list.0.as_array());
        let named = shared.is_some_and(|list| list.iter().any(|name| name == "reason"));
        named
            && stands
            && (OPEN.contains(&row.status.as_str()) || ["completed", "failed"].contains(&row.status.as_str()))
    }

    fn touches(_before: Option<&Model>, after: &Model) -> Vec<Touch> {
        vec![Touch::Plan(after.case_id.clone())]
    }
}

const PACKET: &str = r#"{
    "description": "What the client lets the partner read beside the need; reason is the one that there is",
    "examples": [["reason"]]
}"#;
const CONSENT: &str = r#"{
    "description": "The client's agreement to share: by whom, when, how, and the last day on which it holds",
    "properties": {
        "by": {"description": "client, or who speaks for the client"},
        "on": {"type": ["string", "null"], "format": "date"},
        "how": {"enum": ["signed", "spoken", null]},
        "until": {"type": ["string", "null"], "format": "date"},
        "withdrawn": {"type": ["string", "null"], "format": "date", "description": "The day on which it was taken back"}
    },
    "examples": [{"by": "client", "on": "2027-01-04", "how": "signed", "until": "2027-12-31"}]
}"#;

const HAS_CLOSED: &str = "select 1 from organizations where id = $1 and status in ('defunct', 'temporarily_closed')";

/// What the partner is told where the client has withdrawn the agreement.
const WITHDRAWN: &str = "withdrawn";
/// States in which the partner has not begun.
const NOT_BEGUN: &[&str] = &["requested", "accepted"];
/// How an agreement was given.
const HOW: &[&str] = &["signed", "spoken"];

fn is_withdrawn(record: &Doc) -> bool {
    !record.0["withdrawn"].is_null()
}

/// Whether the client agrees on a day: there is a record, and it has neither ended nor been withdrawn.
pub fn agrees(record: Option<&Doc>, on: Day) -> bool {
    record.and_then(agreed_until).is_some_and(|until| until >= on)
}

/// The last day of an agreement that has not been withdrawn.
pub fn agreed_until(record: &Doc) -> Option<Day> {
    if is_withdrawn(record) {
        return None;
    }
    record.0["until"].as_str()?.parse().ok()
}

/// Whether a packet holds nothing that the other does not.
fn is_part(packet: &Option<Doc>, whole: &Option<Doc>) -> bool {
    let names = |packet: &Option<Doc>| packet.as_ref().and_then(|list| list.0.as_array().cloned()).unwrap_or_default();
    let whole = names(whole);
    names(packet).iter().all(|name| whole.contains(name))
}

/// What is wrong with a record of an agreement, as far as it says anything.
fn unreadable(record: &Doc) -> Option<&'static str> {
    let Some(parts) = record.0.as_object() else { return Some("must be an object: by, on, how, until") };
    for (name, value) in parts {
        let text = value.as_str().unwrap_or_default();
        match name.as_str() {
            _ if value.is_null() => (),
            "how" if !HOW.contains(&text) => return Some("how must be signed or spoken"),
            "on" | "until" | "withdrawn" if text.parse::<Day>().is_err() => {
                return Some("on, until and withdrawn must be dates");
            }
            _ => (),
        }
    }
    None
}

/// What a change of the agreement to a referral that was sent would take from it: it stays one that says by whom, how,
/// when and until when, or it ends, and what has ended does not come back.
fn taken_away(before: Option<&Doc>, after: Option<&Doc>) -> Option<Fault> {
    let record = after.filter(|record| !is_withdrawn(record))?;
    if before.is_none_or(is_withdrawn) {
        let detail = "the agreement was withdrawn; when the client agrees again, make a new referral";
        return Some(Fault::field("client_consent", "withdrawn", detail));
    }
    let says = |part: &str| record.0[part].as_str().is_some_and(|text| !text.trim().is_empty());
    let whole = ["by", "how", "on", "until"].into_iter().all(says);
    let detail = "what the client agreed to stays whole: by, on, how, until; or withdrawn, with the day";
    (!whole).then(|| Fault::field("client_consent", "required", detail))
}

fn blank(text: Option<&str>) -> bool {
    text.is_none_or(|text| text.trim().is_empty())
}

fn reason(referral: &Model, _now: Instant) -> Vec<Fault> {
    if blank(referral.status_reason.as_deref()) {
        vec![Fault::field("status_reason", "required", "say why")]
    } else {
        Vec::new()
    }
}

/// What must be there before anything is shared: a partner, the client's choice and the client's
/// agreement, which must not have run out.
fn complete(referral: &Model, now: Instant) -> Vec<Fault> {
    let mut faults = Vec::new();
    if referral.partner_org_id.is_none() {
        faults.push(Fault::field("partner_org_id", "required", "say who is asked"));
    }
    if blank(referral.need_category.as_deref()) {
        faults.push(Fault::field("need_category", "required", "say what kind of need it is"));
    }
    if blank(referral.client_choice.as_deref()) {
        faults.push(Fault::field("client_choice", "required", "say how the client chose, in the client's words"));
    }
    let consent = referral.client_consent.as_ref().map(|doc| &doc.0);
    let given = |part: &str| consent.and_then(|doc| doc[part].as_str()).filter(|text| !text.trim().is_empty());
    if given("by").is_none() || given("how").is_none() || given("on").and_then(|on| on.parse::<Day>().ok()).is_none() {
        faults.push(Fault::field("client_consent", "required", "the client's agreement to share: by, on, how, until"));
    }
    // Wherever the client is, it is no later than tomorrow in UTC.
    let today = Day(now.utc().date_naive());
    if given("on").and_then(|on| on.parse::<Day>().ok()).is_some_and(|on| on > today.plus_days(1)) {
        faults.push(Fault::field("client_consent", "in_future", "the agreement cannot be given on a day to come"));
    }
    if referral.client_consent.as_ref().is_some_and(is_withdrawn) {
        faults.push(Fault::field("client_consent", "withdrawn", "the agreement was withdrawn"));
    }
    match given("until").map(str::parse::<Day>) {
        Some(Ok(until)) if until >= today => (),
        Some(Ok(_)) => faults.push(Fault::field("client_consent", "expired", "the agreement has run out")),
        _ => faults.push(Fault::field("client_consent", "no_end", "the agreement needs an end: until, a date")),
    }
    faults
}

fn answered(referral: &mut Model, now: Instant, actor: &Actor) {
    referral.ack_at = Some(now);
    if actor.role == Role::Partner {
        referral.answered_via = Some("portal".into());
    }
}

/// Whoever says an outcome stands for it; a worker does not make less of what the client or the partner has confirmed.
fn told(referral: &mut Model, _now: Instant, actor: &Actor) {
    if referral.outcome.is_none() {
        return;
    }
    if actor.role == Role::Partner {
        referral.outcome_confirmed_by = Some("partner".into());
    } else {
        referral.outcome_confirmed_by.get_or_insert_with(|| "worker".into());
    }
}
