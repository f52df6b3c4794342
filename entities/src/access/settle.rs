//! Working out who has which scope open, and recording what changed.
//!
//! Access is stored, not computed at reading: `sync_access` has one row for each (user, scope)
//! that is or was open, with the commit number of the last change. That number is what brings a
//! whole case to a phone that gained it, and takes it from one that lost it (rules S1 and S2).
//! Windows of time (a cover that begins on Monday) leave an alarm in `sync_due`, so that a pull
//! first settles what the clock alone has changed (S3). The plan of a case leaves its own there
//! (`workflow/timers.rs`): an absence that begins, an agreement that ends.

use std::collections::BTreeSet;

use sea_orm::ConnectionTrait;

use super::{Actor, Role};
use crate::clock::Instant;
use crate::error::Result;
use crate::people::team::LED;
use crate::sql;
use crate::store::{Snapshot, Store};
use crate::write::Write;

type Open = BTreeSet<(String, String)>;

/// Settles who may see a case, after a change of its assignments, its team or its state.
pub async fn settle_case(write: &mut Write, case_id: &str) -> Result<()> {
    let now = write.now();
    let case = sql::one(
        write.conn(),
        "select team_id, status from cases where id = $1 and deleted_at is null",
        vec![case_id.into()],
    )
    .await?;
    let mut open = Open::new();
    let mut next: Option<i64> = None;
    let mut is_no_case = true;
    if let Some(case) = case {
        let status: String = case.try_get_by_index(1)?;
        if status != "entered_in_error" {
            is_no_case = false;
            assigned(write.conn(), case_id, now, &mut open, &mut next).await?;
            supervising(write.conn(), case_id, case.try_get_by_index(0)?, &mut open).await?;
        }
    }
    let like = format!("case:{case_id}");
    let held = sql::all(
        write.conn(),
        "select user_id, scope from sync_access where visible and (scope = $1 or (scope > $2 and scope < $3))",
        vec![like.as_str().into(), format!("{like}/").into(), format!("{like}0").into()],
    )
    .await?;
    let mut before = Open::new();
    for row in held {
        before.insert((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
    }
    apply(write, &before, &open).await?;
    if is_no_case && !before.is_empty() {
        restand_persons(write, case_id).await?;
    }
    let over = "delete from sync_due where case_id = $1 and at <= $2";
    sql::exec(write.conn(), over, vec![case_id.into(), now.0.into()]).await?;
    match next {
        Some(at) => wake_at(write, case_id, Instant(at)).await,
        None => Ok(()),
    }
}

/// Has a case settled and planned again at an instant at which time alone changes something of it, unless it is woken
/// before: one alarm for all, and what wakes it asks for the next.
pub(crate) async fn wake_at(write: &Write, case_id: &str, at: Instant) -> Result<()> {
    let agency = write.actor().agency_id.as_str();
    sql::exec(
        write.conn(),
        "insert into sync_due (case_id, agency_id, at) values ($1, $2, $3) on conflict (case_id) do update \
         set at = excluded.at where excluded.at < sync_due.at",
        vec![case_id.into(), agency.into(), at.0.into()],
    )
    .await?;
    Ok(())
}

/// Its persons are elsewhere once there is no such case.
async fn restand_persons(write: &mut Write, case_id: &str) -> Result<()> {
    let text = "select distinct person_id from case_parties where case_id = $1 and deleted_at is null";
    for row in sql::all(write.conn(), text, vec![case_id.into()]).await? {
        write.restand("persons", row.try_get_by_index(0)?);
    }
    Ok(())
}

async fn assigned(
    conn: &impl ConnectionTrait,
    case_id: &str,
    now: Instant,
    open: &mut Open,
    next: &mut Option<i64>,
) -> Result<()> {
    let rows = sql::all(
        conn,
        "select a.user_id, a.from_ts, a.to_ts, a.part2 from case_assignments a join users u on u.id = a.user_id \
         where a.case_id = $1 and a.deleted_at is null and u.active and u.role in ('caseworker', 'supervisor')",
        vec![case_id.into()],
    )
    .await?;
    for row in rows {
        let user: String = row.try_get_by_index(0)?;
        let from: i64 = row.try_get_by_index(1)?;
        let to: Option<i64> = row.try_get_by_index(2)?;
        if from <= now.0 && to.is_none_or(|to| to > now.0) {
            open.insert((user.clone(), format!("case:{case_id}")));
            open.insert((user.clone(), format!("case:{case_id}/assigned")));
            if row.try_get_by_index(3)? {
                open.insert((user.clone(), format!("case:{case_id}/part2")));
            }
            open.insert((user.clone(), format!("case:{case_id}/user:{user}")));
        }
        for edge in [Some(from), to].into_iter().flatten().filter(|edge| *edge > now.0) {
            *next = Some(next.map_or(edge, |soonest| soonest.min(edge)));
        }
    }
    Ok(())
}

/// The supervisor of the case's team and of every team above it.
async fn supervising(
    conn: &impl ConnectionTrait,
    case_id: &str,
    team_id: Option<String>,
    open: &mut Open,
) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut team = team_id;
    while let Some(id) = team.filter(|id| seen.insert(id.clone())) {
        let row = sql::one(
            conn,
            "select t.parent_team_id, u.id from teams t \
             left join users u on u.id = t.supervisor_user_id and u.active and u.role = 'supervisor' where t.id = $1",
            vec![id.into()],
        )
        .await?;
        let Some(row) = row else { break };
        if let Some(user) = row.try_get_by_index::<Option<String>>(1)? {
            open.insert((user.clone(), format!("case:{case_id}")));
            open.insert((user.clone(), format!("case:{case_id}/supervision")));
            open.insert((user.clone(), format!("case:{case_id}/user:{user}")));
        }
        team = row.try_get_by_index(0)?;
    }
    Ok(())
}

/// Settles what a user sees without any case: their own scope and the agency's reference data, or
/// the partner organisation's referrals. Also every case they are assigned to or supervise, or would if they
/// were active, since a deactivated user sees none and one who comes back all; each with a commit number of its own, so that a page of what was
/// gained can end between two cases.
pub async fn settle_user(write: &mut Write, user_id: &str) -> Result<()> {
    let row = sql::one(
        write.conn(),
        "select role, active, partner_org_id, agency_id from users where id = $1",
        vec![user_id.into()],
    )
    .await?;
    let mut open = Open::new();
    if let Some(row) = row {
        let role: String = row.try_get_by_index(0)?;
        let active: bool = row.try_get_by_index(1)?;
        let org: Option<String> = row.try_get_by_index(2)?;
        let agency: String = row.try_get_by_index(3)?;
        if active {
            // Administrators and auditors have none of their own: what stands there was written about clients.
            if ![Role::Administrator, Role::Auditor].map(Role::as_str).contains(&&*role) {
                open.insert((user_id.into(), format!("user:{user_id}")));
            }
            if role == Role::Partner.as_str() {
                open.extend(org.map(|org| (user_id.to_owned(), format!("org:{org}"))));
            } else {
                open.insert((user_id.into(), format!("agency:{agency}")));
            }
        }
    }
    let held = sql::all(
        write.conn(),
        "select scope from sync_access where visible and user_id = $1 and (scope < 'case:' or scope >= 'case;')",
        vec![user_id.into()],
    )
    .await?;
    let mut before = Open::new();
    for row in held {
        before.insert((user_id.into(), row.try_get_by_index(0)?));
    }
    apply(write, &before, &open).await?;
    let text = format!(
        "{LED} select distinct case_id from case_assignments where user_id = $1 and deleted_at is null \
         union select substr(scope, 6) from sync_access where visible and user_id = $1 \
         and scope >= 'case:' and scope < 'case;' and scope not like '%/%' \
         union select id from cases where team_id in (select id from led) and deleted_at is null"
    );
    for case in cases_of(write.conn(), &text, user_id).await? {
        write.step();
        settle_case(write, &case).await?;
    }
    Ok(())
}

/// Settles every case of a team and of the teams under it, after a change of supervisor or parent;
/// each with a commit number of its own.
pub async fn settle_team(write: &mut Write, team_id: &str) -> Result<()> {
    let text = "with recursive under(id) as (select id from teams where id = $1 \
                union select t.id from teams t join under on t.parent_team_id = under.id) \
                select c.id from cases c join under on c.team_id = under.id where c.deleted_at is null";
    for case in cases_of(write.conn(), text, team_id).await? {
        write.step();
        settle_case(write, &case).await?;
    }
    Ok(())
}

async fn cases_of(conn: &impl ConnectionTrait, text: &str, id: &str) -> Result<Vec<String>> {
    let rows = sql::all(conn, text, vec![id.into()]).await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

/// A view for a reader, once what time alone has changed in the agency has been settled: whose window is over must not
/// read on until somebody writes.
pub async fn settled_view(store: &Store, agency_id: &str) -> Result<Snapshot> {
    settle_due(store, agency_id).await?;
    store.read().await
}

/// Settles, in a transaction of its own, what time alone has changed in an agency. Called before
/// every read and by the worker; costs one look-up when nothing is due. Writes settle by themselves.
pub async fn settle_due(store: &Store, agency_id: &str) -> Result<bool> {
    let text = format!("select 1 from sync_due where agency_id = $1 and at <= {} limit 1", store.now_sql());
    if sql::one(store.connection(), &text, vec![agency_id.into()]).await?.is_none() {
        return Ok(false);
    }
    let mut write = store.write(&Actor::system(agency_id)).await?;
    write.note("access_settled", "a window of time began or ended");
    write.commit().await?;
    Ok(true)
}

/// Settles the cases in which a window of time began or ended, first thing in every write: what is
/// written next must not count as seen by somebody whose time with the case is over.
pub(crate) async fn settle_windows(write: &mut Write, due: &[String]) -> Result<()> {
    for (at, case) in due.iter().enumerate() {
        // Whoever covers for a colleague from Monday gets the cases one by one (S13).
        if at > 0 {
            write.step();
        }
        settle_case(write, case).await?;
        write.replan(case);
    }
    write.settle_scopes().await
}

/// Records the difference between what was open and what is to be open.
async fn apply(write: &mut Write, before: &Open, after: &Open) -> Result<()> {
    let seq = write.seq();
    let agency = write.actor().agency_id.clone();
    for (user, scope) in after.difference(before) {
        sql::exec(
            write.conn(),
            "insert into sync_access (user_id, scope, agency_id, seq, visible, immediate, spans) \
             values ($1, $2, $3, $4, true, false, $5) \
             on conflict (user_id, scope) do update set seq = excluded.seq, visible = true, immediate = false, \
             spans = sync_access.spans || ',' || excluded.spans",
            vec![user.into(), scope.into(), agency.clone().into(), seq.into(), format!("{seq}-").into()],
        )
        .await?;
        write.sees_more(user, scope);
    }
    for (user, scope) in before.difference(after) {
        sql::exec(
            write.conn(),
            "update sync_access set seq = $1, visible = false, spans = spans || $2, immediate = $5 \
             where user_id = $3 and scope = $4",
            vec![seq.into(), seq.to_string().into(), user.into(), scope.into(), write.is_immediate().into()],
        )
        .await?;
    }
    Ok(())
}
