//! The supervisors' digests: one timer for each person, one mail each working morning.

use entities::access::Actor;
use entities::people::agency;
use entities::sql;
use entities::workflow::facts::{AgencyFacts, Person};
use entities::workflow::load;
use entities::workflow::outbox::{self, NewMessage, Origin, Recipient, ResendPolicy};
use entities::workflow::rules::digest::{self, ID, VERSION, WINDOW_HOURS, key};
use entities::workflow::zone::Zone;
use entities::{Day, Instant, Result, Store, Write};
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::fire::ledger;

/// A supervisor's own time.
struct Reader {
    zone: Zone,
    hour: u32,
}

impl Reader {
    fn of(person: &Person, agency: &AgencyFacts) -> Reader {
        Reader { zone: person.zone.clone().unwrap_or_else(|| agency.zone.clone()), hour: person.hour }
    }

    /// A morning as its timer says it.
    fn planned(&self, agency: &AgencyFacts, wall: chrono::NaiveDateTime) -> Planned {
        (wall.format("%Y-%m-%dT%H:%M").to_string(), self.zone.name().to_owned(), self.told_at(agency, wall))
    }

    /// The instant of a morning that has this wall time, out of the agency's quiet hours.
    fn told_at(&self, agency: &AgencyFacts, wall: chrono::NaiveDateTime) -> Instant {
        self.zone.instant(digest::open_moment(&agency.calendar, wall))
    }
}

/// A morning that is planned: its wall time, the zone of that, and the instant.
type Planned = (String, String, Instant);

/// Gives every active supervisor a timer for their next digest, and moves the timers that the hour or zone of their
/// reader, the agency's working days, its holidays or its quiet hours have left behind. Says how many were set.
pub(crate) async fn arm(store: &Store, due: Instant) -> Result<usize> {
    let mut wanted: Vec<(String, String)> = Vec::new();
    for agency in agency::all(store.connection()).await? {
        let Some(facts) = load::agency(store.connection(), &agency.id).await? else { continue };
        for person in load::readers(store.connection(), &agency.id).await? {
            let held = pending(store.connection(), &person.user_id).await?;
            let reader = Reader::of(&person, &facts);
            let user = person.user_id;
            let coming =
                coming(store.connection(), &user, &facts, &reader, awaited(held.as_ref(), &reader, due)).await?;
            if held != coming.map(|wall| reader.planned(&facts, wall)) {
                wanted.push((agency.id.clone(), user));
            }
        }
    }
    let mut ended = Ok(wanted.len());
    for some in wanted.chunk_by(|a, b| a.0 == b.0) {
        // An agency that is busy comes up again; the others do not wait for it.
        if let Err(why) = arm_some(store, some, due).await {
            ended = ended.and(Err(why));
        }
    }
    ended
}

async fn arm_some(store: &Store, some: &[(String, String)], due: Instant) -> Result<()> {
    let Some((agency, _)) = some.first() else { return Ok(()) };
    let write = store.write(&Actor::system(agency)).await?;
    for (_, user) in some {
        if let Some((agency, reader)) = reader(write.conn(), user).await? {
            let from = awaited(pending(write.conn(), user).await?.as_ref(), &reader, due);
            clear(&write, user, "planned again").await?;
            next(&write, user, &agency, &reader, from).await?;
        }
    }
    write.commit().await?;
    Ok(())
}

/// The morning that somebody's timer stands for.
async fn pending(conn: &impl ConnectionTrait, user: &str) -> Result<Option<Planned>> {
    let text = "select nominal_local, zone, due_at from wf_timer \
                where rule_id = $1 and subject_id = $2 and state = 'pending'";
    let row = sql::one(conn, text, vec![ID.into(), user.into()]).await?;
    row.map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?))).transpose()
}

/// After which wall time the next morning is looked for: now, or before the morning that is awaited. One that has not
/// been told yet is told at its new hour, even one that is over.
fn awaited(held: Option<&Planned>, reader: &Reader, due: Instant) -> chrono::NaiveDateTime {
    let now = reader.zone.wall(due);
    held.and_then(|(local, ..)| day_of(local)).map_or(now, |day| before(day).min(now))
}

/// Fires one person's digest, under the agency's lock. What was missed is sent once, and only on
/// the morning it belongs to.
pub(crate) async fn fire(write: &Write, user: &str, due: Instant) -> Result<()> {
    let text = "select key, nominal_local from wf_timer where rule_id = $1 and subject_id = $2 and state = 'pending' \
                and try_at <= $3";
    let bound = vec![ID.into(), user.into(), due.0.into()];
    let Some(row) = sql::one(write.conn(), text, bound).await? else { return Ok(()) };
    let stored: String = row.try_get_by_index(0)?;
    let local: String = row.try_get_by_index(1)?;
    let Some((agency, reader)) = reader(write.conn(), user).await? else {
        return clear(write, user, "no active supervisor any more").await;
    };
    let day = day_of(&local).unwrap_or_default();
    // The latest morning up to now: a timer that waited through an outage stands for it.
    let mut latest = None;
    let mut at = before(day);
    while let Some(wall) = following(&agency, &reader, at) {
        if reader.told_at(&agency, wall) > due {
            break;
        }
        latest = Some(wall);
        at = wall;
    }
    let Some(wall) = latest else {
        // The day has become a day off, or the hour has moved, with the quiet hours too: the next one instead, which may
        // be the same day's.
        clear(write, user, "not a working morning any more").await?;
        return next(write, user, &agency, &reader, before(day)).await;
    };
    let anchor = wall.date().to_string();
    let key = key(user, &anchor);
    if key != stored {
        ledger(write, &stored, None, VERSION, "superseded", "a later morning speaks for it").await?;
    }
    let told_at = reader.told_at(&agency, wall);
    if told_at.plus_secs(WINDOW_HOURS * 3600) < due {
        ledger(write, &key, None, VERSION, "missed", "the morning was over").await?;
        return next(write, user, &agency, &reader, wall).await;
    }
    let cases = load::cases_read_by(write.conn(), user).await?;
    if digest::sections(&load::readable_cases(write.conn(), &cases, due).await?, due).is_empty() {
        ledger(write, &key, None, VERSION, "skipped", "nothing to say").await?;
        return next(write, user, &agency, &reader, wall).await;
    }
    if ledger(write, &key, None, VERSION, "fired", "").await? {
        let origin = Origin {
            rule_id: ID.into(),
            rule_version: VERSION,
            step: "digest".into(),
            timer_key: key.clone(),
            anchor,
            subject_kind: "user".into(),
            subject_id: user.to_owned(),
            case_id: None,
        };
        let message = NewMessage {
            agency_id: write.actor().agency_id.clone(),
            message_key: format!("{key}|mail|supervisor"),
            template: "digest".into(),
            to: Recipient::User(user.to_owned()),
            data: json!({}),
            not_before: None,
            expires_at: Some(told_at.plus_secs(WINDOW_HOURS * 3600).max(due.plus_secs(3600))),
            resend_policy: ResendPolicy::Once,
        };
        outbox::queue_from(write.conn(), write.now(), message, Some(&origin)).await?;
    }
    next(write, user, &agency, &reader, wall).await
}

/// A wall time before any hour of this day and after any of the day before.
fn before(day: Day) -> chrono::NaiveDateTime {
    day.0.and_time(chrono::NaiveTime::MIN) - chrono::TimeDelta::minutes(1)
}

/// The day of a wall time as it is stored.
fn day_of(local: &str) -> Option<Day> {
    local.get(..10)?.parse().ok()
}

async fn reader(conn: &impl ConnectionTrait, user: &str) -> Result<Option<(AgencyFacts, Reader)>> {
    let text = "select agency_id from users where id = $1";
    let Some(row) = sql::one(conn, text, vec![user.into()]).await? else { return Ok(None) };
    let id: String = row.try_get_by_index(0)?;
    let Some(agency) = load::agency(conn, &id).await? else { return Ok(None) };
    let person = load::readers(conn, &id).await?.into_iter().find(|person| person.user_id == user);
    Ok(person.map(|person| (agency.clone(), Reader::of(&person, &agency))))
}

/// The next working morning after a wall time.
fn following(agency: &AgencyFacts, reader: &Reader, after: chrono::NaiveDateTime) -> Option<chrono::NaiveDateTime> {
    let schedule = digest::schedule(reader.hour);
    let mut at = after;
    for _ in 0..400 {
        at = schedule.next_after(at)?;
        if agency.calendar.is_working(Day(at.date())) {
            return Some(at);
        }
    }
    None
}

/// The same, but for those whose digest is out already: the hour may have been moved back on such a day.
async fn coming(
    conn: &impl ConnectionTrait,
    user: &str,
    agency: &AgencyFacts,
    reader: &Reader,
    after: chrono::NaiveDateTime,
) -> Result<Option<chrono::NaiveDateTime>> {
    let mut at = after;
    while let Some(wall) = following(agency, reader, at) {
        let ended =
            sql::one(conn, "select 1 from wf_ledger where key = $1", vec![key(user, &wall.date().to_string()).into()]);
        if ended.await?.is_none() {
            return Ok(Some(wall));
        }
        at = wall;
    }
    Ok(None)
}

async fn next(
    write: &Write,
    user: &str,
    agency: &AgencyFacts,
    reader: &Reader,
    after: chrono::NaiveDateTime,
) -> Result<()> {
    let Some(wall) = coming(write.conn(), user, agency, reader, after).await? else { return Ok(()) };
    let anchor = wall.date().to_string();
    let key = key(user, &anchor);
    let (local, zone, told_at) = reader.planned(agency, wall);
    sql::exec(
        write.conn(),
        "insert into wf_timer (id, agency_id, case_id, rule_id, rule_version, subject_kind, subject_id, anchor, step, \
         key, nominal_local, zone, due_at, try_at, state, reason, attempts, changed_at) \
         values ($1, $2, null, $3, $4, 'user', $5, $6, 'digest', $7, $8, $9, $10, $10, 'pending', '', 0, $11) \
         on conflict (key) do update set nominal_local = excluded.nominal_local, zone = excluded.zone, \
         due_at = excluded.due_at, try_at = excluded.try_at, state = 'pending', reason = '', attempts = 0, \
         changed_at = excluded.changed_at",
        vec![
            write.mint().into(),
            write.actor().agency_id.as_str().into(),
            ID.into(),
            VERSION.into(),
            user.into(),
            anchor.into(),
            key.into(),
            local.into(),
            zone.into(),
            told_at.0.into(),
            write.now().0.into(),
        ],
    )
    .await?;
    Ok(())
}

async fn clear(write: &Write, user: &str, why: &str) -> Result<()> {
    sql::exec(
        write.conn(),
        "update wf_timer set state = 'cancelled', reason = $3, changed_at = $4 \
         where rule_id = $1 and subject_id = $2 and state = 'pending'",
        vec![ID.into(), user.into(), why.into(), write.now().0.into()],
    )
    .await?;
    Ok(())
}
