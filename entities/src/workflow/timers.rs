//! Keeps the stored promises equal to the plan, inside the transaction that changed the facts.
//!
//! Nobody can therefore see a closed case with a timer still running: closing it cancels its
//! timers, takes back its prompts and holds its mail in the same commit. The agency's clock row,
//! which every writer takes first, is the lock that keeps a firing from slipping in between.

use std::collections::{HashMap, HashSet};

use sea_orm::{ConnectionTrait, QueryResult};

use super::facts::CaseFacts;
use super::planner::{Chain, Memory, Planned, plan};
use super::rule::{Audience, Because};
use super::{load, prompt, refused, rules, snooze};
use crate::access::wake_at;
use crate::clock::Instant;
use crate::error::Result;
use crate::sql;
use crate::write::Write;

/// What a mail's reason begins with while it is held back because its rule no longer holds; such
/// a mail goes back into the queue when the rule holds again.
pub const REASON_GONE: &str = "reason gone: ";

/// Plans a case again and brings timers, watches, prompts and queued mail into line.
pub async fn plan_case(write: &mut Write, case_id: &str) -> Result<()> {
    let now = write.now();
    if idle(write, case_id).await? {
        return Ok(());
    }
    let facts = load::case(write.conn(), case_id, now).await?;
    let memory = load::memory(write.conn(), case_id).await?;
    let chains = facts.as_ref().map_or_else(Vec::new, |facts| plan(rules::ALL, facts, &memory, now));
    watches(write, case_id, &chains, &memory).await?;
    timers(write, case_id, &chains).await?;
    prompts(write, case_id, facts.as_ref(), &chains).await?;
    snooze::plan(write, case_id, facts.as_ref(), &chains).await?;
    mail(write, case_id, facts.as_ref(), &chains).await?;
    match facts.and_then(|facts| facts.changes_after(now)) {
        Some(at) => wake_at(write, case_id, at).await,
        None => Ok(()),
    }
}

/// True for a case that no rule has anything to say about, and none ever had: most of what is
/// written (persons, parties, notes of a young case) pays one look-up and no more.
async fn idle(write: &Write, case_id: &str) -> Result<bool> {
    let text = "select 1 where exists (select 1 from goals where case_id = $1) \
                or exists (select 1 from contacts where case_id = $1) \
                or exists (select 1 from referrals where case_id = $1) \
                or exists (select 1 from wf_watch where case_id = $1)";
    Ok(sql::one(write.conn(), text, vec![case_id.into()]).await?.is_none())
}

/// Asks for every open case of an agency to be planned again soon, by a worker and in lots: for
/// changes that touch many cases, such as a holiday. One row for each change, so that none is
/// lost to another that is being worked on.
pub async fn mark_agency(write: &Write, cause: &'static str) -> Result<()> {
    mark(write.conn(), write.mint(), &write.actor().agency_id, cause).await
}

/// The same where partners may be reached otherwise than before, if anything waits for an answer of one.
pub async fn mark_partners(
    conn: &impl ConnectionTrait,
    id: String,
    agency_id: &str,
    cause: &'static str,
) -> Result<()> {
    let text = "select 1 from referrals where agency_id = $1 and status = 'requested' and deleted_at is null limit 1";
    match sql::one(conn, text, vec![agency_id.into()]).await? {
        Some(_) => mark(conn, id, agency_id, cause).await,
        None => Ok(()),
    }
}

/// As `mark_agency`, outside the write door, with a new id for the mark.
pub async fn mark(conn: &impl ConnectionTrait, id: String, agency_id: &str, cause: &str) -> Result<()> {
    sql::exec(
        conn,
        "insert into wf_dirty (id, agency_id, after_case, cause) values ($1, $2, '', $3)",
        vec![id.into(), agency_id.into(), cause.into()],
    )
    .await?;
    Ok(())
}

/// Whether this program knows the rule: what a newer one planned, while both are running, is not this one's to take back.
fn is_ours(rule: &str) -> bool {
    rules::by_id(rule).is_some()
}

async fn watches(write: &Write, case_id: &str, chains: &[Chain], memory: &Memory) -> Result<()> {
    let mut seen = HashSet::new();
    for chain in chains {
        let key = (chain.rule.id.to_owned(), chain.subject_id.clone(), chain.watched.clone());
        let known = memory.watches.get(&key);
        if known != Some(&chain.watch) && (known.is_some() || chain.watch.active) {
            store_watch(write, case_id, &key, &chain.watch).await?;
        }
        seen.insert(key);
    }
    // A date that nothing counts from any more: moved, or its row is gone.
    for (key, watch) in
        memory.watches.iter().filter(|(key, watch)| watch.active && is_ours(&key.0) && !seen.contains(*key))
    {
        store_watch(write, case_id, key, &super::planner::Watch { active: false, ..*watch }).await?;
    }
    Ok(())
}

async fn store_watch(
    write: &Write,
    case_id: &str,
    (rule, subject, anchor): &(String, String, String),
    watch: &super::planner::Watch,
) -> Result<()> {
    sql::exec(
        write.conn(),
        "insert into wf_watch (rule_id, subject_id, anchor, agency_id, case_id, first_at, since, active, episode) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (rule_id, subject_id, anchor) do update set \
         first_at = excluded.first_at, since = excluded.since, active = excluded.active, episode = excluded.episode",
        vec![
            rule.as_str().into(),
            subject.as_str().into(),
            anchor.as_str().into(),
            write.actor().agency_id.as_str().into(),
            case_id.into(),
            watch.first_at.0.into(),
            watch.since.0.into(),
            watch.active.into(),
            watch.episode.into(),
        ],
    )
    .await?;
    Ok(())
}

async fn timers(write: &Write, case_id: &str, chains: &[Chain]) -> Result<()> {
    let wanted: HashMap<&str, (&Chain, &Planned)> =
        chains.iter().filter_map(|chain| chain.next().map(|next| (next.key.as_str(), (chain, next)))).collect();
    let text = format!(
        "select key, rule_id, subject_id, anchor, due_at, nominal_local, zone from wf_timer \
         where case_id = $1 and state = 'pending' and not {}",
        snooze::OF_A_SNOOZE
    );
    let mut kept = HashSet::new();
    for row in sql::all(write.conn(), &text, vec![case_id.into()]).await? {
        let key: String = row.try_get_by_index(0)?;
        if let Some((_, next)) = wanted.get(key.as_str()) {
            let same = row.try_get_by_index::<Instant>(4)? == next.due_at
                && row.try_get_by_index::<String>(5)? == local(next)
                && row.try_get_by_index::<String>(6)? == next.zone.name();
            if same {
                kept.insert(next.key.as_str());
            }
            continue;
        }
        let (rule, subject, anchor): (String, String, String) =
            (row.try_get_by_index(1)?, row.try_get_by_index(2)?, row.try_get_by_index(3)?);
        if !is_ours(&rule) {
            continue;
        }
        let why = chains
            .iter()
            .find(|chain| chain.rule.id == rule && chain.subject_id == subject)
            .and_then(|chain| chain.stops.first().map(|stop| stop.text.clone()))
            .unwrap_or_else(|| {
                let same = |chain: &&Chain| chain.is_about(&subject) && chain.anchor == anchor;
                match chains.iter().find(same) {
                    Some(chain) if chain.waits_for_somebody() => "nobody can be told",
                    Some(_) => "another step comes first",
                    None => "what it counted from is gone or has moved",
                }
                .into()
            });
        sql::exec(
            write.conn(),
            "update wf_timer set state = 'cancelled', reason = $2, changed_at = $3 where key = $1",
            vec![key.into(), why.into(), write.now().0.into()],
        )
        .await?;
    }
    for (key, (chain, next)) in wanted {
        if !kept.contains(key) {
            arm(write, case_id, chain, next).await?;
        }
    }
    Ok(())
}

fn local(next: &Planned) -> String {
    next.nominal.format("%Y-%m-%dT%H:%M").to_string()
}

/// Stores a timer, or revives the one of this key that was cancelled before.
async fn arm(write: &Write, case_id: &str, chain: &Chain, next: &Planned) -> Result<()> {
    sql::exec(
        write.conn(),
        "insert into wf_timer (id, agency_id, case_id, rule_id, rule_version, subject_kind, subject_id, anchor, step, \
         key, nominal_local, zone, due_at, try_at, state, reason, attempts, changed_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, 'pending', '', 0, $14) \
         on conflict (key) do update set rule_version = excluded.rule_version, \
         nominal_local = excluded.nominal_local, zone = excluded.zone, due_at = excluded.due_at, \
         try_at = excluded.try_at, state = 'pending', reason = '', attempts = 0, changed_at = excluded.changed_at",
        vec![
            write.mint().into(),
            write.actor().agency_id.as_str().into(),
            case_id.into(),
            chain.rule.id.into(),
            chain.rule.version.into(),
            chain.rule.subject_kind.into(),
            chain.subject_id.as_str().into(),
            chain.anchor.as_str().into(),
            next.step.id.into(),
            next.key.as_str().into(),
            local(next).into(),
            next.zone.name().into(),
            next.due_at.0.into(),
            write.now().0.into(),
        ],
    )
    .await?;
    Ok(())
}

/// A prompt of a case, as far as it matters to the others.
struct Shown {
    id: String,
    status: String,
    rule: String,
    subject: String,
    anchor: String,
    step: String,
    role: String,
    due_at: Instant,
    key: String,
    user: String,
}

impl Shown {
    fn of(row: &QueryResult) -> Result<Shown> {
        let text = |at: usize| row.try_get_by_index::<String>(at);
        Ok(Shown {
            id: text(0)?,
            status: text(1)?,
            rule: text(2)?,
            subject: text(3)?,
            anchor: text(4)?,
            step: text(5)?,
            role: text(6)?,
            due_at: row.try_get_by_index(7)?,
            key: text(8)?,
            user: text(9)?,
        })
    }

    /// Whether a later one of its chain speaks for it.
    fn is_spoken_for(&self, chain: &Chain, all: &[Shown]) -> bool {
        let of_chain = |other: &&Shown| {
            (&other.rule, &other.anchor, &other.role) == (&self.rule, &self.anchor, &self.role)
                && chain.is_about(&other.subject)
        };
        all.iter().filter(of_chain).any(|other| other.due_at > self.due_at)
    }
}

/// What somebody is asked, whatever their role: a prompt's key without the role.
fn matter(key: &str) -> String {
    key.rsplit_once('|').map_or(key, |(matter, _)| matter).to_owned()
}

/// Takes back prompts whose reason is gone, and hands the others to whoever holds the role now.
async fn prompts(write: &mut Write, case_id: &str, facts: Option<&CaseFacts>, chains: &[Chain]) -> Result<()> {
    let text = "select id, status, rule, subject_id, anchor, step, recipient_role, due_at, dedupe_key, recipient_user_id \
                from prompts where case_id = $1 and deleted_at is null order by id";
    let rows = sql::all(write.conn(), text, vec![case_id.into()]).await?;
    let all = rows.iter().map(Shown::of).collect::<Result<Vec<_>>>()?;
    let reopened = facts.and_then(|facts| facts.reopened_at);
    let mut changes = Vec::new();
    for shown in all.iter().filter(|shown| is_ours(&shown.rule)) {
        let cancelled = shown.status == "cancelled";
        if !cancelled && !prompt::OPEN.contains(&shown.status.as_str()) {
            continue;
        }
        let held = holds(chains, &shown.rule, &shown.subject, &shown.anchor, &shown.step);
        // One that was taken back may have its reason again, and no later one that speaks for it.
        if cancelled && held.as_ref().map_or(true, |chain| shown.is_spoken_for(chain, &all)) {
            continue;
        }
        let Some(before) = write.load::<prompt::Entity>(&shown.id).await? else { continue };
        // What went with a case that was closed does not come back with it.
        if cancelled && reopened.is_some_and(|at| before.updated_at <= at) {
            continue;
        }
        let mut after = before.clone();
        match held {
            Err(_) => after.status = "cancelled".into(),
            Ok(chain) => {
                after.subject_id.clone_from(&chain.subject_id);
                if cancelled {
                    (after.status, after.snooze_until) = ("pending".into(), None);
                }
                let role = Audience::parse(&before.recipient_role).unwrap_or(Audience::Caseworker);
                let today = facts.map(|facts| facts.case_zone().day(write.now())).unwrap_or_default();
                if let Some(holder) = facts.and_then(|facts| facts.holder(role, today).0) {
                    after.recipient_user_id.clone_from(&holder.user_id);
                    // What the one before has seen or put off, the new one has not.
                    if after.recipient_user_id != before.recipient_user_id {
                        (after.status, after.snooze_until, after.snoozed_times) = ("pending".into(), None, 0);
                    }
                }
            }
        }
        changes.push((before, after));
    }
    // Whoever has come to hold both roles is asked once, as they were asked first, and not of what they have finished.
    let done = all.iter().filter(|shown| shown.status == "done");
    let mut asked: HashSet<_> = done.map(|shown| (matter(&shown.key), shown.user.clone())).collect();
    changes.sort_by_key(|(before, after)| {
        (before.status == "cancelled", before.recipient_user_id != after.recipient_user_id)
    });
    for (before, mut after) in changes {
        let is_open = prompt::OPEN.contains(&after.status.as_str());
        if is_open && !asked.insert((matter(&after.dedupe_key), after.recipient_user_id.clone())) {
            (after.status, after.snooze_until) = ("cancelled".into(), None);
        }
        if after != before {
            write.change::<prompt::Entity>(&before, after).await?;
        }
    }
    Ok(())
}

/// Holds back queued mail whose reason is gone, and lets go what was held when it is back.
async fn mail(write: &Write, case_id: &str, facts: Option<&CaseFacts>, chains: &[Chain]) -> Result<()> {
    // Of an attempt that never came as far as a server nobody has heard.
    let text = "select id, state, rule_id, subject_id, anchor, reason, coalesce(step, ''), created_at from outbound_message \
                where case_id = $1 and rule_id is not null \
                and (state = 'queued' or (state = 'suppressed' and put_offs = 0 and not resent \
                and (expires_at is null or expires_at > $2)))";
    let reopened = facts.and_then(|facts| facts.reopened_at);
    for row in sql::all(write.conn(), text, vec![case_id.into(), write.now().0.into()]).await? {
        let state: String = row.try_get_by_index(1)?;
        let (rule, subject, anchor): (String, String, String) =
            (row.try_get_by_index(2)?, row.try_get_by_index(3)?, row.try_get_by_index(4)?);
        let reason: String = row.try_get_by_index(5)?;
        if !is_ours(&rule) {
            continue;
        }
        let (step, made): (String, Instant) = (row.try_get_by_index(6)?, row.try_get_by_index(7)?);
        let held = holds(chains, &rule, &subject, &anchor, &step);
        let now_about = held.as_ref().map_or(&*subject, |chain| &*chain.subject_id);
        let (to, why) = match (&held, state.as_str()) {
            (Err(stop), "queued") => ("suppressed", format!("{REASON_GONE}{}", stop.text)),
            (Ok(_), "queued") if now_about != subject => ("queued", reason),
            // What went with a case that was closed does not come back with it.
            (Ok(_), "suppressed") if reopened.is_some_and(|at| made <= at) => continue,
            (Ok(_), "suppressed") if reason.starts_with(REASON_GONE) => ("queued", String::new()),
            // Somebody else may hold the role by now, whose address is a good one.
            (Ok(_), "suppressed") if reason == refused::KNOWN => ("queued", String::new()),
            _ => continue,
        };
        sql::exec(
            write.conn(),
            "update outbound_message set state = $2, reason = $3, subject_id = $5 where id = $1 and state = $4",
            vec![row.try_get_by_index::<String>(0)?.into(), to.into(), why.into(), state.into(), now_about.into()],
        )
        .await?;
    }
    Ok(())
}

/// The chain that what has fired belongs to: about this subject or what replaced it, with this anchor. Otherwise what
/// stands against it, or against the step alone.
pub fn holds<'a>(
    chains: &'a [Chain],
    rule: &str,
    subject: &str,
    anchor: &str,
    step: &str,
) -> std::result::Result<&'a Chain, Because> {
    let mut near = None;
    for chain in chains.iter().filter(|chain| chain.rule.id == rule && chain.is_about(subject)) {
        match chain.stops.first() {
            None if chain.anchor == anchor => {
                return match chain.steps.iter().find(|planned| planned.step.id == step) {
                    Some(planned) => planned.against.clone().map_or(Ok(chain), Err),
                    None => Err(Because::of("fact", "it is told in other steps now")),
                };
            }
            None => near = Some(Because::of("fact", "what it counted from has moved")),
            Some(stop) => near = near.or_else(|| Some(stop.clone())),
        }
    }
    Err(near.unwrap_or_else(|| Because::of("fact", "what it was about is no longer there")))
}
