//! Reads the facts of cases and what the engine remembers of them: a fixed number of statements,
//! however many cases are asked for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::NaiveTime;
use sea_orm::{ConnectionTrait, QueryResult, Value};

use super::calendar::{Calendar, Quiet};
use super::facts::{AgencyFacts, CaseFacts, ContactFact, GoalFact, Part, Person, ReferralFact};
use super::planner::{Memory, Watch};
use super::zone::Zone;
use crate::casework::goal;
use crate::clock::{Day, Instant};
use crate::doc::Doc;
use crate::error::{Error, Result};
use crate::partners::referral;
use crate::sql;

const DAY_MS: i64 = 86_400_000;
/// Contacts older than this have nothing left to remind of.
const CONTACTS_FOR_DAYS: i64 = 400;

/// An agency's zone and calendar; `None` when there is no such agency.
pub async fn agency(conn: &impl ConnectionTrait, id: &str) -> Result<Option<AgencyFacts>> {
    let text = "select tz, work_days, quiet_from, quiet_to, email_policy from agencies where id = $1";
    let Some(row) = sql::one(conn, text, vec![id.into()]).await? else { return Ok(None) };
    let tz: String = row.try_get_by_index(0)?;
    let days: Doc = row.try_get_by_index(1)?;
    let mut calendar = Calendar { work_days: [false; 7], ..Calendar::default() };
    for number in days.0.as_array().into_iter().flatten().filter_map(serde_json::Value::as_u64) {
        if let Some(day) = usize::try_from(number).ok().and_then(|n| calendar.work_days.get_mut(n.wrapping_sub(1))) {
            *day = true;
        }
    }
    let time = |text: Option<String>| text.and_then(|text| NaiveTime::parse_from_str(&text, "%H:%M").ok());
    if let (Some(from), Some(to)) = (time(row.try_get_by_index(2)?), time(row.try_get_by_index(3)?))
        && from != to
    {
        calendar.quiet = Some(Quiet { from, to });
    }
    let counts_only = row.try_get_by_index::<i64>(4)? == 0;
    for row in sql::all(conn, "select day from holidays where agency_id = $1", vec![id.into()]).await? {
        calendar.holidays.insert(row.try_get_by_index(0)?);
    }
    let zone = Zone::named(&tz).unwrap_or_else(Zone::utc);
    Ok(Some(AgencyFacts { id: id.to_owned(), zone, calendar, counts_only }))
}

/// The facts of these cases, in the order asked for; cases that are gone are left out.
pub async fn cases(conn: &impl ConnectionTrait, ids: &[String], now: Instant) -> Result<Vec<CaseFacts>> {
    let mut found = Vec::with_capacity(ids.len());
    for some in ids.chunks(500) {
        found.extend(chunk(conn, some, now).await?);
    }
    Ok(found)
}

/// The same, without those that cannot be read, for a list that one bad row must not keep from its
/// reader.
pub async fn readable_cases(conn: &impl ConnectionTrait, ids: &[String], now: Instant) -> Result<Vec<CaseFacts>> {
    match cases(conn, ids, now).await {
        Err(Error::Internal(_)) => (),
        read => return read,
    }
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        match case(conn, id, now).await {
            Ok(facts) => found.extend(facts),
            Err(Error::Internal(_)) => (),
            Err(why) => return Err(why),
        }
    }
    Ok(found)
}

/// The facts of one case; `None` when it is gone.
pub async fn case(conn: &impl ConnectionTrait, id: &str, now: Instant) -> Result<Option<CaseFacts>> {
    Ok(cases(conn, &[id.to_owned()], now).await?.pop())
}

async fn chunk(conn: &impl ConnectionTrait, ids: &[String], now: Instant) -> Result<Vec<CaseFacts>> {
    let marks = sql::marks(1, ids.len());
    let bound = || ids.iter().map(|id| id.as_str().into()).collect::<Vec<Value>>();
    let text = format!(
        "select id, agency_id, reference, status, tz, team_id, episode_no from cases where deleted_at is null and id in ({marks})"
    );
    let mut agencies: HashMap<String, Arc<AgencyFacts>> = HashMap::new();
    let mut teams: HashMap<String, Vec<String>> = HashMap::new();
    let mut found: HashMap<String, CaseFacts> = HashMap::new();
    for row in sql::all(conn, &text, bound()).await? {
        let (id, agency_id): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        if !agencies.contains_key(&agency_id) {
            let Some(facts) = agency(conn, &agency_id).await? else { continue };
            agencies.insert(agency_id.clone(), Arc::new(facts));
        }
        let Some(agency) = agencies.get(&agency_id).cloned() else { continue };
        if let Some(team) = row.try_get_by_index::<Option<String>>(5)? {
            teams.entry(team).or_default().push(id.clone());
        }
        let facts = CaseFacts {
            agency,
            reference: row.try_get_by_index(2)?,
            status: row.try_get_by_index(3)?,
            reopened_at: match row.try_get_by_index::<i64>(6)? {
                1 => None,
                _ => reopened_at(conn, &id).await?,
            },
            zone: row.try_get_by_index::<Option<String>>(4)?.as_deref().and_then(Zone::named),
            id: id.clone(),
            parts: Vec::new(),
            caseworker: None,
            covering: Vec::new(),
            supervisor: None,
            goals: Vec::new(),
            contacts: Vec::new(),
            referrals: Vec::new(),
        };
        found.insert(id, facts);
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    assignments(conn, ids, now, &mut found).await?;
    supervisors(conn, &teams, &mut found).await?;
    let text = format!(
        "select case_id, id, lifecycle, due_on, reminder_offsets_days, completed_at, version_of from goals where deleted_at is null and case_id in ({marks}) order by id"
    );
    for row in sql::all(conn, &text, bound()).await? {
        if let Some(case) = found.get_mut(&row.try_get_by_index::<String>(0)?) {
            case.goals.push(GoalFact {
                id: row.try_get_by_index(1)?,
                lifecycle: row.try_get_by_index(2)?,
                due_on: row.try_get_by_index(3)?,
                offsets: row.try_get_by_index::<Option<Doc>>(4)?.as_ref().and_then(goal::offsets),
                completed_at: row.try_get_by_index(5)?,
                version_of: row.try_get_by_index(6)?,
            });
        }
    }
    contacts(conn, ids, now, &mut found).await?;
    let text = format!(
        "select case_id, id, reference, status, priority, partner_org_id, coalesce(sent_at, created_at), \
         client_consent from referrals where deleted_at is null and case_id in ({marks}) order by id"
    );
    for row in sql::all(conn, &text, bound()).await? {
        if let Some(case) = found.get_mut(&row.try_get_by_index::<String>(0)?) {
            case.referrals.push(ReferralFact {
                id: row.try_get_by_index(1)?,
                reference: row.try_get_by_index(2)?,
                status: row.try_get_by_index(3)?,
                priority: row.try_get_by_index(4)?,
                partner_org_id: row.try_get_by_index(5)?,
                requested_at: row.try_get_by_index(6)?,
                reachable: true,
                agreed_until: row.try_get_by_index::<Option<Doc>>(7)?.as_ref().and_then(referral::agreed_until),
                agreed: false,
            });
        }
    }
    reachable(conn, &mut found).await?;
    Ok(ids.iter().filter_map(|id| found.remove(id)).map(|facts| facts.as_of(now)).collect())
}

/// When a case that was closed before was opened again.
async fn reopened_at(conn: &impl ConnectionTrait, case_id: &str) -> Result<Option<Instant>> {
    let text =
        "select max(at) from row_history where tbl = 'cases' and row_id = $1 and old like '%\"status\":\"closed\"%'";
    match sql::one(conn, text, vec![case_id.into()]).await? {
        Some(row) => Ok(row.try_get_by_index(0)?),
        None => Ok(None),
    }
}

/// Tells the referrals to partners whom no mail can reach: no user, nor else an address of their own,
/// that is not refused.
async fn reachable(conn: &impl ConnectionTrait, found: &mut HashMap<String, CaseFacts>) -> Result<()> {
    let asked = found.values().flat_map(|case| &case.referrals).filter(|referral| referral.status == "requested");
    let orgs: BTreeSet<String> = asked.filter_map(|referral| referral.partner_org_id.clone()).collect();
    if orgs.is_empty() {
        return Ok(());
    }
    let refused = "select 1 from refused_addresses r where r.agency_id = o.agency_id and r.address = lower";
    let users = "select 1 from users u where u.partner_org_id = o.id and u.active and u.role = 'partner'";
    let text = format!(
        "select o.id from organizations o where o.id in ({}) and o.deleted_at is null and \
         (exists ({users} and not exists ({refused}(u.email))) or (not exists ({users}) and o.email is not null \
         and not exists ({refused}(o.email))))",
        sql::marks(1, orgs.len())
    );
    let bound = orgs.iter().map(|id| id.as_str().into()).collect();
    let mut reached = BTreeSet::new();
    for row in sql::all(conn, &text, bound).await? {
        reached.insert(row.try_get_by_index::<String>(0)?);
    }
    for referral in found.values_mut().flat_map(|case| &mut case.referrals) {
        referral.reachable =
            referral.partner_org_id.as_ref().is_none_or(|org| !orgs.contains(org) || reached.contains(org));
    }
    Ok(())
}

const PERSON: &str = "u.id, u.tz, u.digest_hour, u.away_from, u.away_to";

fn person(row: &QueryResult, from: usize) -> Result<Person> {
    let away: (Option<Day>, Option<Day>) = (row.try_get_by_index(from + 3)?, row.try_get_by_index(from + 4)?);
    let hour: i64 = row.try_get_by_index(from + 2)?;
    Ok(Person {
        user_id: row.try_get_by_index(from)?,
        zone: row.try_get_by_index::<Option<String>>(from + 1)?.as_deref().and_then(Zone::named),
        hour: u32::try_from(hour.clamp(0, 23)).unwrap_or(super::facts::DEFAULT_HOUR),
        away: match away {
            (Some(from), to) => Some((from, to.unwrap_or(Day(chrono::NaiveDate::MAX)))),
            _ => None,
        },
    })
}

async fn assignments(
    conn: &impl ConnectionTrait,
    ids: &[String],
    now: Instant,
    found: &mut HashMap<String, CaseFacts>,
) -> Result<()> {
    let text = format!(
        "select a.case_id, a.role, a.from_ts, a.to_ts, {PERSON} from case_assignments a join users u on u.id = a.user_id \
         where a.deleted_at is null and u.active and u.role in ('caseworker', 'supervisor') \
         and a.role in ('primary', 'covering') \
         and (a.to_ts is null or a.to_ts > $1) and a.case_id in ({}) order by a.from_ts, a.id",
        sql::marks(2, ids.len())
    );
    let bound = std::iter::once(now.0.into()).chain(ids.iter().map(|id| id.as_str().into())).collect();
    for row in sql::all(conn, &text, bound).await? {
        let Some(case) = found.get_mut(&row.try_get_by_index::<String>(0)?) else { continue };
        case.parts.push(Part {
            person: person(&row, 4)?,
            primary: row.try_get_by_index::<String>(1)? == "primary",
            from: row.try_get_by_index(2)?,
            to: row.try_get_by_index(3)?,
        });
    }
    Ok(())
}

/// Who reads a digest: the agency's active supervisors.
pub async fn readers(conn: &impl ConnectionTrait, agency_id: &str) -> Result<Vec<Person>> {
    let text = format!(
        "select {PERSON} from users u where u.agency_id = $1 and u.active and u.role = 'supervisor' order by u.id"
    );
    sql::all(conn, &text, vec![agency_id.into()]).await?.iter().map(|row| person(row, 0)).collect()
}

/// The open cases that a person sees.
pub async fn cases_read_by(conn: &impl ConnectionTrait, user: &str) -> Result<Vec<String>> {
    let text = "select c.id from sync_access a join cases c on c.id = substr(a.scope, 6) \
                where a.user_id = $1 and a.visible and a.scope >= 'case:' and a.scope < 'case;' \
                and c.deleted_at is null and c.status in ('intake', 'active', 'on_hold', 'closing') order by c.id";
    sql::all(conn, text, vec![user.into()]).await?.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

/// The supervisor of each team, or of the nearest team above it that has an active one.
async fn supervisors(
    conn: &impl ConnectionTrait,
    teams: &HashMap<String, Vec<String>>,
    found: &mut HashMap<String, CaseFacts>,
) -> Result<()> {
    if teams.is_empty() {
        return Ok(());
    }
    let text = format!(
        "with recursive up(start, id, depth) as (\
         select id, id, 0 from teams where id in ({}) \
         union all select up.start, t.parent_team_id, up.depth + 1 from up join teams t on t.id = up.id \
         where t.parent_team_id is not null and up.depth < 20) \
         select up.start, {PERSON} from up join teams t on t.id = up.id \
         join users u on u.id = t.supervisor_user_id and u.active and u.role = 'supervisor' order by up.depth desc",
        sql::marks(1, teams.len())
    );
    for row in sql::all(conn, &text, teams.keys().map(|id| id.as_str().into()).collect()).await? {
        let who = person(&row, 1)?;
        for case in teams.get(&row.try_get_by_index::<String>(0)?).into_iter().flatten() {
            if let Some(case) = found.get_mut(case) {
                case.supervisor = Some(who.clone());
            }
        }
    }
    Ok(())
}

async fn contacts(
    conn: &impl ConnectionTrait,
    ids: &[String],
    now: Instant,
    found: &mut HashMap<String, CaseFacts>,
) -> Result<()> {
    // What has happened did so before it was told: a date in years to come is a slip or a wrong clock, and must not
    // pass for a contact that is later than all others. What is over takes no edits, so it was told when it was
    // stored last.
    let said = "coalesce(occurred_at, started_at, planned_start, created_at)";
    let at = format!(
        "case when status not in ('planned', 'confirmed', 'in_progress') and {said} > updated_at + {DAY_MS} \
         then updated_at + {DAY_MS} else {said} end"
    );
    let text = format!(
        "select case_id, id, status, {at}, next_contact_on, no_show_seq from contacts \
         where deleted_at is null and ({said} >= $1 or updated_at >= $1) and case_id in ({}) order by id",
        sql::marks(2, ids.len())
    );
    let since = now.plus_secs(-CONTACTS_FOR_DAYS * 86_400);
    let bound = std::iter::once(since.0.into()).chain(ids.iter().map(|id| id.as_str().into())).collect();
    for row in sql::all(conn, &text, bound).await? {
        if let Some(case) = found.get_mut(&row.try_get_by_index::<String>(0)?) {
            case.contacts.push(ContactFact {
                id: row.try_get_by_index(1)?,
                status: row.try_get_by_index(2)?,
                at: row.try_get_by_index(3)?,
                next_contact_on: row.try_get_by_index(4)?,
                no_show_seq: row.try_get_by_index(5)?,
            });
        }
    }
    Ok(())
}

/// What the engine remembers of a case.
pub async fn memory(conn: &impl ConnectionTrait, case_id: &str) -> Result<Memory> {
    let mut memory = Memory::default();
    let bound = || vec![case_id.into()];
    for row in sql::all(conn, "select key, outcome from wf_ledger where case_id = $1", bound()).await? {
        memory.outcomes.insert(row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    }
    let text = "select rule_id, subject_id, anchor, first_at, since, active, episode from wf_watch where case_id = $1";
    for row in sql::all(conn, text, bound()).await? {
        let watch = Watch {
            first_at: row.try_get_by_index(3)?,
            since: row.try_get_by_index(4)?,
            active: row.try_get_by_index(5)?,
            episode: row.try_get_by_index(6)?,
        };
        let key = (row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?);
        memory.watches.insert(key, watch);
    }
    let text = "select rule, subject_id, anchor from prompts where case_id = $1 and status = 'done'";
    for row in sql::all(conn, text, bound()).await? {
        memory.done.insert((row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?));
    }
    Ok(memory)
}
