//! The supervisors' digests: one timer for each person, one mail each working morning.

use entities::access::Actor;
use entities::sql;
use entities::workflow::facts::AgencyFacts;
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
    /// The instant of a morning that has this wall time, out of the agency's quiet hours.
    fn told_at(&self, agency: &AgencyFacts, wall: chrono::NaiveDateTime) -> Instant {
        self.zone.instant(digest::open_moment(&agency.calendar, wall))
    }
}

/// Gives every active supervisor a timer for their next digest, and moves the timers of those who
/// changed their hour or zone. Says how many were set.
pub(crate) async fn arm(store: &Store, due: Instant) -> Result<usize> {
    let text = "select u.id, u.agency_id, t.nominal_local, t.zone from users u left join wf_timer t \
                on t.rule_id = $1 and t.subject_id = u.id and t.state = 'pending' \
                where u.role = 'supervisor' and u.active order by u.agency_id, u.id";
    let mut wanted: Vec<(String, String, Option<Day>)> = Vec::new();
    for row in sql::all(store.connection(), text, vec![ID.into()]).await? {
        let (user, agency): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let held: Option<String> = row.try_get_by_index(2)?;
        let zone: Option<String> = row.try_get_by_index(3)?;
        let day = held.as_deref().and_then(|local| local.get(..10)?.parse::<Day>().ok());
        let stands = match (&held, zone) {
            (Some(local), Some(zone)) => match reader(store.connection(), &user).await? {
                Some((_, reader)) => zone == reader.zone.name() && local.ends_with(&clock_text(reader.hour)),
                None => true,
            },
            _ => false,
        };
        if !stands {
            wanted.push((agency, user, day));
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

async fn arm_some(store: &Store, some: &[(String, String, Option<Day>)], due: Instant) -> Result<()> {
    let Some((agency, ..)) = some.first() else { return Ok(()) };
    let write = store.write(&Actor::system(agency)).await?;
    for (_, user, held) in some {
        if let Some((agency, reader)) = reader(write.conn(), user).await? {
            clear(&write, user, "planned again").await?;
            // A morning that has not been told yet is told at its new hour, even one that is over.
            let from = held.map_or(chrono::NaiveDateTime::MAX, before).min(reader.zone.wall(due));
            next(&write, user, &agency, &reader, from).await?;
        }
    }
    write.commit().await?;
    Ok(())
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
    let day = local.get(..10).and_then(|day| day.parse::<Day>().ok()).unwrap_or_default();
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
    let cases = cases_of(write.conn(), user).await?;
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

/// The open cases that a person sees.
pub(crate) async fn cases_of(conn: &impl ConnectionTrait, user: &str) -> Result<Vec<String>> {
    let text = "select c.id from sync_access a join cases c on c.id = substr(a.scope, 6) \
                where a.user_id = $1 and a.visible and a.scope >= 'case:' and a.scope < 'case;' \
                and c.deleted_at is null and c.status in ('intake', 'active', 'on_hold', 'closing') order by c.id";
    sql::all(conn, text, vec![user.into()]).await?.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

/// A wall time before any hour of this day and after any of the day before.
fn before(day: Day) -> chrono::NaiveDateTime {
    day.0.and_time(chrono::NaiveTime::MIN) - chrono::TimeDelta::minutes(1)
}

fn clock_text(hour: u32) -> String {
    format!("T{hour:02}:00")
}

async fn reader(conn: &impl ConnectionTrait, user: &str) -> Result<Option<(AgencyFacts, Reader)>> {
    let text = "select agency_id, tz, digest_hour from users where id = $1 and active and role = 'supervisor'";
    let Some(row) = sql::one(conn, text, vec![user.into()]).await? else { return Ok(None) };
    let Some(agency) = load::agency(conn, &row.try_get_by_index::<String>(0)?).await? else { return Ok(None) };
    let own = row.try_get_by_index::<Option<String>>(1)?.as_deref().and_then(Zone::named);
    let hour: i64 = row.try_get_by_index(2)?;
    let zone = own.unwrap_or_else(|| agency.zone.clone());
    Ok(Some((agency, Reader { zone, hour: u32::try_from(hour.clamp(0, 23)).unwrap_or(8) })))
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

async fn next(
    write: &Write,
    user: &str,
    agency: &AgencyFacts,
    reader: &Reader,
    after: chrono::NaiveDateTime,
) -> Result<()> {
    let Some(wall) = following(agency, reader, after) else { return Ok(()) };
    let anchor = wall.date().to_string();
    let key = key(user, &anchor);
    let ended = "select 1 from wf_ledger where key = $1";
    if sql::one(write.conn(), ended, vec![key.as_str().into()]).await?.is_some() {
        // The hour was moved back on a day whose digest is out already.
        return Box::pin(next(write, user, agency, reader, wall)).await;
    }
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
            wall.format("%Y-%m-%dT%H:%M").to_string().into(),
            reader.zone.name().into(),
            reader.told_at(agency, wall).0.into(),
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
