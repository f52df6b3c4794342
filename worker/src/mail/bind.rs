//! The last question before a mail goes out: does its reason still stand, who holds the role at
//! this moment, and may they see the case? Answered from committed facts, in one snapshot.

use entities::access::{self, Stand};
use entities::clock::Day;
use entities::people::letters;
use entities::sql;
use entities::workflow::facts::{AgencyFacts, CaseFacts};
use entities::workflow::planner::Chain;
use entities::workflow::rule::{Audience, CatchUp};
use entities::workflow::rules::{self, digest};
use entities::workflow::zone::Zone;
use entities::workflow::{load, planner, refused, timers};
use entities::{Instant, Result, Snapshot, Store};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use super::claim::Claimed;

/// A message with a person and values.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// The user, where it is one.
    pub(super) user_id: Option<String>,
    /// Where it goes.
    pub(super) addresses: Vec<String>,
    /// Why it goes there rather than elsewhere; empty when that is plain.
    pub(super) why: String,
    /// Values for the template.
    pub(super) data: Value,
    /// The agency wants its mail to say how many and nothing more.
    pub(super) counts_only: bool,
}

/// The answer.
#[derive(Clone, Debug)]
pub(super) enum Bound {
    /// Send it.
    To(Letter),
    /// Do not, for this reason.
    Nobody(String),
    /// Do not: its time is over.
    TooLate,
    /// Do not: the mail server has refused every address that it could go to.
    Refused,
    /// Do not, for good: another mail of its chain says it.
    SpokenFor(String),
    /// Not yet, but at this instant, and why: it is night or a day off where its reader is.
    NotBefore(Instant, &'static str),
    /// It may have reached the holder before; this user is to get one of their own.
    Passed(String),
}

pub(super) async fn bind(store: &Store, row: &Claimed, due: Instant, public_url: &str) -> Result<Bound> {
    if row.expires_at.is_some_and(|until| until <= due) {
        return Ok(Bound::TooLate);
    }
    // Never a second connection while one is held: eight messages that each hold one and wait for
    // another would stop a pool of eight for good.
    if row.to_role == "address" {
        return Ok(match row.to_address.clone() {
            Some(address) => plain(store, row, None, address, public_url).await?,
            None => Bound::Nobody("no address".into()),
        });
    }
    let snapshot = store.read().await?;
    let bound = match (row.to_role.as_str(), row.rule_id.as_deref()) {
        ("user", Some(digest::ID)) => morning(&snapshot, row, due, public_url).await?,
        ("user", _) => {
            let user = row.to_user.clone().unwrap_or_default();
            let address = address_of(&snapshot, &user).await?;
            drop(snapshot);
            return Ok(match address {
                Some(address) => plain(store, row, Some(user), address, public_url).await?,
                None => Bound::Nobody("the account is closed".into()),
            });
        }
        _ => from_rule(&snapshot, row, due, public_url).await?,
    };
    match bound {
        Bound::To(letter) => spared(&*snapshot, row, letter).await,
        other => Ok(other),
    }
}

/// Leaves out the addresses that the mail server refuses.
async fn spared(conn: &impl ConnectionTrait, row: &Claimed, mut letter: Letter) -> Result<Bound> {
    let refused = refused::among(conn, &row.agency_id, &letter.addresses).await?;
    if refused.is_empty() {
        return Ok(Bound::To(letter));
    }
    letter.addresses.retain(|address| !refused.contains(address));
    if letter.addresses.is_empty() {
        return Ok(Bound::Refused);
    }
    letter.why = "left out those of the addresses that the mail server refuses".into();
    Ok(Bound::To(letter))
}

/// A message that no rule stands behind: it goes to the person or the address it was made for. A
/// link that works once is made now, so that no secret lies in the outbox.
async fn plain(
    store: &Store,
    row: &Claimed,
    user_id: Option<String>,
    address: String,
    public_url: &str,
) -> Result<Bound> {
    let side = store.side().await?;
    // Before a link is made for nobody.
    if !refused::among(&*side, &row.agency_id, std::slice::from_ref(&address)).await?.is_empty() {
        return Ok(Bound::Refused);
    }
    let data = row.data.clone().unwrap_or_default();
    let mut data = letters::complete(&*side, side.now(), public_url, data).await?;
    side.commit().await?;
    if let Some(map) = data.as_object_mut()
        && !map.contains_key("link")
    {
        map.insert("link".into(), public_url.into());
    }
    Ok(Bound::To(Letter { user_id, addresses: vec![address], why: String::new(), data, counts_only: false }))
}

async fn from_rule(snapshot: &Snapshot, row: &Claimed, due: Instant, public_url: &str) -> Result<Bound> {
    let (Some(rule), Some(subject), Some(anchor), Some(step), Some(case_id)) =
        (&row.rule_id, &row.subject_id, &row.anchor, &row.step, &row.case_id)
    else {
        return Ok(Bound::Nobody("it does not say what it is about".into()));
    };
    let Some(facts) = load::case(&**snapshot, case_id, due).await? else {
        return Ok(Bound::Nobody("the case is gone".into()));
    };
    let memory = load::memory(&**snapshot, case_id).await?;
    let chains = planner::plan(rules::ALL, &facts, &memory, due);
    let chain = match timers::holds(&chains, rule, subject, anchor, step) {
        Ok(chain) => chain,
        Err(stop) => return Ok(Bound::Nobody(stop.text)),
    };
    let own = place(chain, step).unwrap_or_default();
    let at_once = chain.steps.get(own).is_some_and(|planned| planned.step.is_at_once());
    let role = Audience::parse(&row.to_role).unwrap_or(Audience::Caseworker);
    let roles = chain.steps.get(own).map_or(&[][..], |planned| planned.step.to);
    if !roles.contains(&role) {
        return Ok(Bound::Nobody("it is told to others now".into()));
    }
    let another = if at_once { None } else { another(&**snapshot, row, chain, own, due).await? };
    match another.as_deref() {
        None => (),
        Some("sent") => return Ok(Bound::SpokenFor("another one says it".into())),
        // It may come to nothing yet.
        Some(_) => return Ok(Bound::NotBefore(due.plus_secs(ANOTHER_SECS), "another one says it and goes first")),
    }
    let on = |zone: &Zone| chain.on.or_else(|| chain.at.map(|at| zone.day(at)));
    if role == Audience::Partner {
        if let Some(morning) = closed(&facts.agency, &facts.agency.zone, due).filter(|_| !at_once) {
            return Ok(Bound::NotBefore(morning, QUIET));
        }
        let zone = &facts.agency.zone;
        return partner(snapshot, row, &facts, (on(zone), zone.day(due)), public_url).await;
    }
    let today = facts.case_zone().day(due);
    let (Some(holder), fallback) = facts.holder(role, today) else {
        return Ok(Bound::Nobody(format!("nobody is {} of the case", role.as_str())));
    };
    if !access::has_open(&**snapshot, &holder.user_id, &Stand::Case(case_id.clone())).await? {
        return Ok(Bound::Nobody(format!("the {} may not see the case", role.as_str())));
    }
    let moved = row.to_user.as_ref().is_some_and(|before| *before != holder.user_id);
    if moved && row.resent {
        return Ok(Bound::Passed(holder.user_id.clone()));
    }
    let Some(address) = address_of(snapshot, &holder.user_id).await? else {
        return Ok(Bound::Nobody("the account is closed".into()));
    };
    let holds = |role: &&Audience| facts.holder(**role, today).0.is_some_and(|other| other.user_id == holder.user_id);
    let first = roles.iter().take_while(|other| **other != role).find(holds).copied();
    if !row.resent {
        match told_else(&**snapshot, row, &holder.user_id, first).await?.as_deref() {
            None => (),
            Some("sent") => return Ok(Bound::SpokenFor("they are told of it in their other role".into())),
            // It may go to somebody else yet.
            Some(_) => return Ok(Bound::NotBefore(due.plus_secs(ANOTHER_SECS), "their other role comes first")),
        }
    }
    let why = match (moved, fallback) {
        (true, _) => "the case has passed on since it was queued: its new holder gets it".to_owned(),
        (false, Some(fallback)) => fallback.text,
        (false, None) => String::new(),
    };
    let zone = holder.zone.as_ref().unwrap_or_else(|| facts.case_zone());
    if let Some(morning) = closed(&facts.agency, zone, due).filter(|_| !at_once) {
        return Ok(Bound::NotBefore(morning, QUIET));
    }
    let mut data = values(row, &facts, (on(zone), zone.day(due)), public_url);
    sent_before(&**snapshot, row, chain, &mut data).await?;
    let counts_only = facts.agency.counts_only;
    Ok(Bound::To(Letter { user_id: Some(holder.user_id.clone()), addresses: vec![address], why, data, counts_only }))
}

/// Where a step stands in its chain.
fn place(chain: &Chain, step: &str) -> Option<usize> {
    chain.steps.iter().position(|planned| planned.step.id == step)
}

/// What became of another mail that says all that one of the step at `own` does, which never went out: to the same
/// person of a later step of its chain, or of the event itself. `sent`, or what it is while it may still go.
async fn another(
    conn: &impl ConnectionTrait,
    row: &Claimed,
    chain: &Chain,
    own: usize,
    due: Instant,
) -> Result<Option<String>> {
    if row.resent || chain.rule.catch_up != CatchUp::Latest {
        return Ok(None);
    }
    let (of_chain, mut bound) = of_chain(row, chain);
    let at = bound.len();
    let text = format!(
        "select step, state, cast(case when state <> 'sent' or finished_at >= (select created_at from outbound_message \
         where id = ${0}) then 1 else 0 end as bigint) from outbound_message where {of_chain} \
         and to_role = ${1} and id <> ${0} and state in ('queued', 'sending', 'uncertain', 'sent') \
         and (state = 'sent' or expires_at is null or expires_at > ${2}) order by state = 'sent' desc",
        at + 1,
        at + 2,
        at + 3
    );
    bound.extend([row.id.as_str().into(), row.to_role.as_str().into(), due.0.into()]);
    for other in sql::all(conn, &text, bound).await? {
        let Some(at) = place(chain, &other.try_get_by_index::<String>(0)?) else { continue };
        // One that went out before this was due says nothing of it.
        let the_event_itself = chain.steps[at].step.is_at_once() && other.try_get_by_index::<i64>(2)? == 1;
        if at > own || the_event_itself {
            return Ok(Some(other.try_get_by_index(1)?));
        }
    }
    Ok(None)
}

/// A condition for the mail of one chain, of all versions of a goal, and its values.
fn of_chain(row: &Claimed, chain: &Chain) -> (String, Vec<sea_orm::Value>) {
    let subjects = std::iter::once(&chain.subject_id).chain(&chain.replaces).map(|subject| subject.as_str().into());
    let text = format!(
        "case_id = $1 and rule_id = $2 and anchor = $3 and subject_id in ({})",
        sql::marks(4, 1 + chain.replaces.len())
    );
    let own = [row.case_id.clone().into(), chain.rule.id.into(), chain.anchor.as_str().into()];
    (text, own.into_iter().chain(subjects).collect())
}

/// What somebody who has come to hold both roles was told of the step in the other: `sent`, or what may still be, where
/// it is the `first` of them.
async fn told_else(
    conn: &impl ConnectionTrait,
    row: &Claimed,
    user: &str,
    first: Option<Audience>,
) -> Result<Option<String>> {
    let text = "select state from outbound_message where case_id = $1 and timer_key = $2 and id <> $3 \
                and (state = 'sent' and to_user = $4 or state in ('queued', 'sending', 'uncertain') and to_role = $5) \
                order by state = 'sent' desc limit 1";
    let column = |value: &Option<String>| value.clone().into();
    let first = first.map_or("", Audience::as_str).into();
    let bound = vec![column(&row.case_id), column(&row.timer_key), row.id.as_str().into(), user.into(), first];
    Ok(sql::one(conn, text, bound).await?.map(|found| found.try_get_by_index(0)).transpose()?)
}

/// When the quiet hours or the days off end that hold in a zone at this instant. Steps are planned out of them; mail of
/// a step that was late, or that the mail server put off, may come into them. What was due in the last minutes before
/// them still goes.
fn closed(agency: &AgencyFacts, zone: &Zone, at: Instant) -> Option<Instant> {
    let calendar = &agency.calendar;
    let open = |at: Instant| calendar.is_open(zone.wall(at));
    if open(at) || open(at.plus_secs(-LAST_MINUTES * 60)) {
        return None;
    }
    Some(zone.instant(calendar.next_open(zone.wall(at)))).filter(|morning| *morning > at)
}

const QUIET: &str = "quiet hours or a day off";
/// How long a mail waits for another one that would make it needless, before it looks again.
const ANOTHER_SECS: i64 = 5 * 60;
/// Minutes after an open time in which what was due in it is sent.
const LAST_MINUTES: i64 = 30;

/// The partner organisation of the referral: its users, or its own address where it has none.
async fn partner(
    snapshot: &Snapshot,
    row: &Claimed,
    facts: &CaseFacts,
    days: (Option<Day>, Day),
    public_url: &str,
) -> Result<Bound> {
    let referral = facts.referrals.iter().find(|referral| Some(&referral.id) == row.subject_id.as_ref());
    let Some(org) = referral.and_then(|referral| referral.partner_org_id.clone()) else {
        return Ok(Bound::Nobody("the referral names no partner".into()));
    };
    if row.to_org.as_ref().is_some_and(|before| *before != org) {
        return Ok(Bound::Nobody("the referral is addressed to another partner now".into()));
    }
    let users = "select email from users where partner_org_id = $1 and active and role = 'partner' order by id";
    let mut addresses = Vec::new();
    for user in sql::all(&**snapshot, users, vec![org.as_str().into()]).await? {
        addresses.push(user.try_get_by_index::<String>(0)?);
    }
    let account = !addresses.is_empty();
    if !account {
        let own = "select email from organizations where id = $1 and deleted_at is null and email is not null";
        if let Some(found) = sql::one(&**snapshot, own, vec![org.as_str().into()]).await? {
            addresses.push(found.try_get_by_index(0)?);
        }
    }
    if addresses.is_empty() {
        return Ok(Bound::Nobody("the partner has no user and no address".into()));
    }
    let mut data = values(row, facts, days, public_url);
    // Whoever cannot sign in has to know whom to ask.
    let named = "select name from agencies where id = $1";
    let name = sql::one(&**snapshot, named, vec![row.agency_id.as_str().into()]).await?;
    data["agency"] = name.map_or(Ok(String::new()), |name| name.try_get_by_index(0))?.into();
    data["account"] = account.into();
    let counts_only = facts.agency.counts_only;
    Ok(Bound::To(Letter { user_id: None, addresses, why: String::new(), data, counts_only }))
}

/// What a mail up the line may say of those before it: how many of them went out, to the partner
/// about a referral, to the caseworker about anything else.
async fn sent_before(conn: &impl ConnectionTrait, row: &Claimed, chain: &Chain, data: &mut Value) -> Result<()> {
    let to = if row.subject_kind.as_deref() == Some("referral") { Audience::Partner } else { Audience::Caseworker };
    let (of_chain, mut bound) = of_chain(row, chain);
    bound.push(to.as_str().into());
    let text = format!(
        "select count(*), coalesce(sum(case when step = 'told' then 0 else 1 end), 0) from outbound_message \
         where {of_chain} and to_role = ${} and state = 'sent'",
        bound.len()
    );
    let (mut told, mut reminded): (i64, i64) = (0, 0);
    if let Some(found) = sql::one(conn, &text, bound).await? {
        (told, reminded) = (found.try_get_by_index(0)?, found.try_get_by_index(1)?);
    }
    (data["told"], data["reminded"]) = (told.into(), reminded.into());
    Ok(())
}

/// What the templates may say: references, days and a link. Nothing else about a case is passed. The day it is about and
/// today are days where its reader is.
fn values(row: &Claimed, facts: &CaseFacts, (on, today): (Option<Day>, Day), public_url: &str) -> Value {
    let days = on.map(|on| (on.0 - today.0).num_days());
    let when = match days {
        Some(0) => "is due today".to_owned(),
        Some(1) => "is due tomorrow".to_owned(),
        Some(days) if days > 1 => format!("is due in {days} days"),
        _ => "was due".to_owned(),
    };
    let kind = row.subject_kind.as_deref().unwrap_or("case");
    let subject = row.subject_id.as_deref().unwrap_or_default();
    let referral = facts.referrals.iter().find(|referral| referral.id == subject);
    let reference = referral.map_or(&facts.reference, |referral| &referral.reference);
    // The one that the mail names: staff look for the case, a partner knows the referral alone.
    let named = if row.to_role == Audience::Partner.as_str() { reference } else { &facts.reference };
    if facts.agency.counts_only {
        return json!({"link": public_url, "account": true});
    }
    json!({
        "reference": reference,
        "case_reference": facts.reference,
        "on": on.map(|on| on.to_string()),
        "today": today.to_string(),
        "days": days,
        "when": when,
        "link": format!("{public_url}/#/{kind}s/{subject}?reference={named}"),
    })
}

/// The digest asks the facts now, whatever they were when it was queued.
async fn morning(snapshot: &Snapshot, row: &Claimed, due: Instant, public_url: &str) -> Result<Bound> {
    let user = row.to_user.clone().unwrap_or_default();
    let Some(address) = address_of(snapshot, &user).await? else {
        return Ok(Bound::Nobody("the account is closed".into()));
    };
    let agency = load::agency(&**snapshot, &row.agency_id).await?;
    let zone = sql::one(&**snapshot, "select tz from users where id = $1", vec![user.as_str().into()]).await?;
    let zone: Option<String> = zone.map_or(Ok(None), |zone| zone.try_get_by_index(0))?;
    if let Some(agency) = &agency {
        let zone = zone.as_deref().and_then(Zone::named).unwrap_or_else(|| agency.zone.clone());
        // A morning's digest is of no use on the next.
        if closed(agency, &zone, due).is_some() {
            return Ok(Bound::Nobody("the quiet hours have begun".into()));
        }
    }
    let cases = load::cases_read_by(&**snapshot, &user).await?;
    let said = digest::sections(&load::readable_cases(&**snapshot, &cases, due).await?, due);
    if said.is_empty() {
        return Ok(Bound::Nobody("there is nothing to say any more".into()));
    }
    let counts_only = agency.as_ref().is_some_and(|agency| agency.counts_only);
    let sections: Vec<Value> = [
        ("Overdue goals", &said.overdue),
        ("Goals due within a week", &said.due_soon),
        ("Referrals without an answer", &said.unanswered),
        ("Missed appointments to follow up", &said.no_shows),
        ("Cases that may be ready to close", &said.ready_to_close),
    ]
    .into_iter()
    .filter(|(_, lines)| !lines.is_empty())
    .map(|(title, lines)| {
        let lines: Vec<Value> = lines
            .iter()
            .map(|line| json!({"reference": line.reference, "on": line.on.map(|on| on.to_string())}))
            .collect();
        json!({"title": title, "count": lines.len(), "lines": if counts_only { Vec::new() } else { lines }})
    })
    .collect();
    let data = json!({"on": row.anchor, "today": row.anchor, "sections": sections, "link": public_url});
    let why = String::new();
    // The digest counts by itself.
    Ok(Bound::To(Letter { user_id: Some(user), addresses: vec![address], why, data, counts_only: false }))
}

async fn address_of(snapshot: &Snapshot, user: &str) -> Result<Option<String>> {
    let text = "select email from users where id = $1 and active";
    match sql::one(&**snapshot, text, vec![user.into()]).await? {
        Some(row) => Ok(Some(row.try_get_by_index(0)?)),
        None => Ok(None),
    }
}
