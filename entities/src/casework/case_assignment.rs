//! Who works on a case, and from when to when.
//!
//! An assignment is never edited in place: it is ended and a new one begins, so that the record
//! says at any time who had the case. The server writes all of it; see `case::assign`.

use sea_orm::entity::prelude::*;

use serde_json::{Map, Value};

use crate::access::{self, Role, Stand};
use crate::acts;
use crate::clock::Instant;
use crate::error::{Error, Fault, Result};
use crate::read;
use crate::registry::{Field, Row, Synced, Touch, erased, table};
use crate::sql;
use crate::write::Write;

/// Columns of an assignment.
#[sea_orm::model]
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "case_assignments")]
pub struct Model {
    /// Row id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// The case.
    pub case_id: String,
    /// The worker.
    pub user_id: String,
    /// `primary`, `secondary` or `covering`.
    pub role: String,
    /// From when the worker has the case.
    pub from_ts: Instant,
    /// Until when; none while it is open.
    pub to_ts: Option<Instant>,
    /// Why it was made.
    pub reason: Option<String>,
    /// The supervisor who made it; none when it came with the case.
    pub assigned_by: Option<String>,
    /// What the next worker should know.
    pub handover_note: Option<String>,
    /// May see substance-use records under 42 CFR Part 2.
    pub part2: bool,
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

impl Synced for Entity {
    const NAME: &'static str = "case_assignments";
    const RANK: u8 = 20;
    const WRITERS: &'static [Role] = &[];

    fn field(column: Column) -> Field {
        match column {
            Column::Id => Field::id().once(),
            Column::AgencyId => Field::id().hidden(),
            Column::CaseId => Field::refer("cases").server(),
            Column::UserId => Field::id().server(),
            Column::Role => Field::code(&["primary", "secondary", "covering"]).server().or("primary"),
            Column::FromTs | Column::ToTs => Field::instant().server(),
            Column::Reason => Field::text(1000).server(),
            Column::AssignedBy => Field::id().server(),
            Column::HandoverNote => Field::text(4000).server(),
            Column::Part2 => Field::boolean().server(),
            Column::Seq | Column::EditSeq => Field::int(0, i64::MAX).hidden(),
            Column::CreatedAt | Column::UpdatedAt => Field::instant().server(),
            Column::CreatedBy | Column::UpdatedBy => Field::id().server(),
            Column::DeletedAt => Field::instant().hidden(),
        }
    }

    fn stands(row: &Model) -> Vec<Stand> {
        vec![Stand::Case(row.case_id.clone())]
    }

    fn check(_before: Option<&Model>, after: &Model) -> Vec<Fault> {
        match after.to_ts {
            Some(to) if to < after.from_ts => {
                vec![Fault::field("to", "before_start", "must not lie before its beginning")]
            }
            _ => Vec::new(),
        }
    }

    fn touches(_before: Option<&Model>, after: &Model) -> Vec<Touch> {
        vec![Touch::Access(after.case_id.clone())]
    }
}

/// Ends every open assignment of a case, because the case has ended.
pub(crate) async fn end_all(write: &mut Write, case_id: &str) -> Result<()> {
    let now = write.now();
    let open = "t.case_id = $1 and t.deleted_at is null and (t.to_ts is null or t.to_ts > $2)";
    for held in read::models::<Entity>(write.conn(), open, vec![case_id.into(), now.0.into()]).await? {
        let to_ts = Some(now.max(held.from_ts));
        write.change::<Entity>(&held, Model { to_ts, ..held.clone() }).await?;
    }
    Ok(())
}

/// What a supervisor decides about a case's workers.
#[derive(Clone, Debug)]
pub struct Assign {
    /// Who is to have the case.
    pub user_id: String,
    /// `primary`, `secondary` or `covering`.
    pub role: String,
    /// Why.
    pub reason: String,
    /// What the next worker should know.
    pub handover_note: Option<String>,
    /// From when; now when absent. A primary begins now.
    pub from: Option<Instant>,
    /// Until when; open when absent.
    pub to: Option<Instant>,
    /// May see substance-use records.
    pub part2: bool,
    /// Whoever loses the case loses it at the next pull, whatever is still unsent on the phone.
    pub immediate: bool,
}

/// Gives a case to a worker. A new primary ends the one before and, when from another team, takes
/// the case along to that team; secondary and covering workers may be several, and a new window
/// ends the worker's own open one of that role.
///
/// Fails with `NotFound` for a case the actor does not see, with `Forbidden` for anyone but a
/// supervisor of its team or of a team above, with `Invalid` for a user who cannot have it and
/// with `Conflict` when the case has ended or is that worker's already.
pub async fn assign(write: &mut Write, case_id: &str, wish: Assign) -> Result<Model> {
    let case = supervised(write, case_id).await?;
    if !super::case::OPEN.contains(&case.status.as_str()) {
        return Err(Error::Conflict { code: "case_ended", detail: "the case has ended; reopen it first".into() });
    }
    let team = check(write, &wish).await?;
    let now = write.now();
    let from_ts = wish.from.unwrap_or(now).max(now);
    let open = "t.case_id = $1 and t.deleted_at is null and (t.to_ts is null or t.to_ts > $2)";
    for held in read::models::<Entity>(write.conn(), open, vec![case_id.into(), now.0.into()]).await? {
        let same_user = held.user_id == wish.user_id;
        if same_user && held.role == wish.role && wish.role == "primary" {
            let detail = "this worker is the primary already".into();
            return Err(Error::Conflict { code: "already_assigned", detail });
        }
        let ends = match wish.role.as_str() {
            "primary" => held.role == "primary" || same_user && held.role == "secondary",
            role => same_user && held.role == role,
        };
        if ends {
            let to_ts = Some(now.max(held.from_ts));
            write.change::<Entity>(&held, Model { to_ts, ..held.clone() }).await?;
        }
    }
    if wish.role == "primary" && team.is_some() && team != case.team_id {
        write.change::<super::case::Entity>(&case, super::case::Model { team_id: team, ..case.clone() }).await?;
    }
    if wish.immediate {
        write.revoke_at_once();
    }
    // Why is said in the row, and never in the trail: what people type may name a client, and a trail is for ever.
    write.note("assigned", crate::audit::object("cases", case_id));
    let new = Model {
        case_id: case_id.to_owned(),
        user_id: wish.user_id,
        role: wish.role,
        from_ts,
        to_ts: wish.to,
        reason: Some(wish.reason),
        assigned_by: write.actor().user_id.clone(),
        handover_note: wish.handover_note,
        part2: wish.part2,
        ..Default::default()
    };
    write.create::<Entity>(new).await
}

/// Opens a closed case again and gives it to a primary worker in the same commit: the one named, or
/// else the last who had it. `body` holds what comes along with the move.
///
/// Fails as `assign` and a move do, and with `Invalid` where nobody is named and the last primary
/// worker has gone.
pub async fn reopen(
    write: &mut Write,
    case_id: &str,
    user_id: Option<String>,
    seen: Option<i64>,
    body: &Map<String, Value>,
) -> Result<Row> {
    let case = supervised(write, case_id).await?;
    let cases = table(super::case::Entity::NAME).ok_or(Error::NotFound)?;
    let mut team = None;
    if case.status == "closed" {
        let user_id = match user_id {
            Some(named) => named,
            None => last_primary(write, case_id).await?,
        };
        let caseworker =
            "select team_id from users where id = $1 and agency_id = $2 and active and role = 'caseworker'";
        let bound = vec![user_id.as_str().into(), write.actor().agency_id.as_str().into()];
        let Some(found) = sql::one(write.conn(), caseworker, bound).await? else {
            let detail = "must be an active caseworker: name who is to have the case now";
            return Err(Error::invalid("user_id", "unknown_user", detail));
        };
        team = found.try_get_by_index::<Option<String>>(0)?;
        let new = Model {
            case_id: case_id.to_owned(),
            user_id,
            role: "primary".into(),
            from_ts: write.now(),
            reason: Some("reopened the case".into()),
            assigned_by: write.actor().user_id.clone(),
            ..Default::default()
        };
        write.create::<Entity>(new).await?;
    }
    let row = acts::act(write, cases, case_id, "reopen", seen, body).await?;
    if team.is_none() || team == case.team_id {
        return Ok(row);
    }
    // The team of a primary from elsewhere takes the case along.
    let case = row.model::<super::case::Entity>()?;
    let moved = super::case::Model { team_id: team, ..case.clone() };
    let moved = write.change::<super::case::Entity>(&case, moved).await?;
    erased::<super::case::Entity>(&moved).ok_or(Error::NotFound)
}

/// Who had the case last; empty where nobody ever did.
async fn last_primary(write: &Write, case_id: &str) -> Result<String> {
    let text = "select user_id from case_assignments where case_id = $1 and role = 'primary' and deleted_at is null \
                order by from_ts desc, id desc limit 1";
    match sql::one(write.conn(), text, vec![case_id.into()]).await? {
        Some(row) => Ok(row.try_get_by_index(0)?),
        None => Ok(String::new()),
    }
}

/// Ends a secondary or covering assignment; a primary ends only when another begins.
///
/// Fails as `assign` does, and with `Conflict` when it has ended already.
pub async fn end(write: &mut Write, id: &str, reason: String, immediate: bool) -> Result<Model> {
    let held = write.load::<Entity>(id).await?.ok_or(Error::NotFound)?;
    supervised(write, &held.case_id).await?;
    if held.role == "primary" {
        let detail = "a case keeps a primary worker: assign another".into();
        return Err(Error::Conflict { code: "primary_stays", detail });
    }
    let now = write.now();
    if held.to_ts.is_some_and(|to| to <= now) {
        return Err(Error::Conflict { code: "already_ended", detail: "the assignment has ended".into() });
    }
    if immediate {
        write.revoke_at_once();
    }
    write.note("assignment_ended", crate::audit::object("cases", &held.case_id));
    let after = Model { to_ts: Some(now.max(held.from_ts)), reason: Some(reason), ..held.clone() };
    write.change::<Entity>(&held, after).await
}

/// The case, for a supervisor of its team or of a team above.
async fn supervised(write: &Write, case_id: &str) -> Result<super::case::Model> {
    let user = write.actor().user();
    if !access::sees(write.conn(), user, super::case::Entity::NAME, case_id).await? {
        return Err(Error::NotFound);
    }
    if !access::has_open(write.conn(), user, &Stand::Supervision(case_id.into())).await? {
        return Err(Error::Forbidden("only a supervisor of the case's team assigns".into()));
    }
    write.load::<super::case::Entity>(case_id).await?.ok_or(Error::NotFound)
}

/// Faults of the wish; answers the worker's team.
async fn check(write: &Write, wish: &Assign) -> Result<Option<String>> {
    let mut faults = Vec::new();
    if wish.reason.trim().is_empty() {
        faults.push(Fault::field("reason", "required", "say why"));
    }
    if wish.role == "primary" && (wish.from.is_some_and(|from| from > write.now()) || wish.to.is_some()) {
        faults.push(Fault::field("role", "no_window", "a primary begins now and has no end; use covering"));
    }
    if wish.to.is_some_and(|to| to <= wish.from.unwrap_or(write.now()).max(write.now())) {
        faults.push(Fault::field("to", "before_start", "must lie after its beginning and after now"));
    }
    let found = sql::one(
        write.conn(),
        "select team_id from users where id = $1 and agency_id = $2 and active and role = 'caseworker'",
        vec![wish.user_id.as_str().into(), write.actor().agency_id.as_str().into()],
    )
    .await?;
    match found {
        Some(row) if faults.is_empty() => Ok(row.try_get_by_index(0)?),
        Some(_) => Err(Error::Invalid(faults)),
        None => {
            faults.push(Fault::field("user_id", "unknown_user", "must be an active caseworker"));
            Err(Error::Invalid(faults))
        }
    }
}
