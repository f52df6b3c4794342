//! What would be told from one day to another if nothing else happened. Writes nothing.
//!
//! It walks the same planner from one due instant to the next and keeps the outcomes in memory,
//! so for the same facts it says what a worker that never sleeps would do. What time alone changes, such as who covers
//! the case or whether an agreement has ended, is asked at each instant of the walk.

use std::collections::HashSet;

use sea_orm::ConnectionTrait;
use serde::Serialize;

use super::facts::{AgencyFacts, CaseFacts, Person};
use super::load;
use super::planner::{MIN_GAP_MS, Memory, Planned, Standing, plan};
use super::rule::Audience;
use super::rules::{self, digest};
use crate::clock::{Day, Instant};
use crate::error::Result;
use crate::sql;

/// One thing that would be told, or would not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Rule id.
    pub rule: String,
    /// Step of the rule.
    pub step: String,
    /// Kind of the subject.
    pub subject_kind: String,
    /// The subject.
    pub subject_id: String,
    /// The case, where there is one.
    pub case_id: Option<String>,
    /// As what the recipient is told.
    pub to_role: String,
    /// Who that is today; none for a partner organisation and where nobody can be told.
    pub to_user: Option<String>,
    /// `prompt` or `mail`.
    pub channel: &'static str,
    /// Wall time promised.
    pub nominal_local: String,
    /// Zone of the wall time.
    pub zone: String,
    /// The instant, RFC 3339 in UTC.
    pub due_at: String,
    /// `fires`, `superseded`, `deferred`, `suppressed`, `missed` or `coalesced`.
    pub outcome: &'static str,
    /// A sentence.
    pub why: String,
}

/// Walks the open cases of one agency, or of all, from the start of `from` to the end of `to`,
/// both in the agency's zone; lines come in order of time.
pub async fn simulate(
    conn: &impl ConnectionTrait,
    agency: Option<&str>,
    from: Day,
    to: Day,
    now: Instant,
) -> Result<Vec<Line>> {
    let text = "select id from agencies where $1 = '' or id = $1 order by id";
    let mut lines = Vec::new();
    for row in sql::all(conn, text, vec![agency.unwrap_or_default().into()]).await? {
        let id: String = row.try_get_by_index(0)?;
        let Some(facts) = load::agency(conn, &id).await? else { continue };
        let span = (facts.zone.start_of(from), facts.zone.start_of(to.plus_days(1)));
        let text = "select id from cases where agency_id = $1 and deleted_at is null \
                    and status in ('intake', 'active', 'on_hold', 'closing') order by id";
        let rows = sql::all(conn, text, vec![id.into()]).await?;
        let ids: Vec<String> = rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect::<Result<_>>()?;
        let cases = load::cases(conn, &ids, now).await?;
        for case in &cases {
            walk(case, load::memory(conn, &case.id).await?, now, span, &mut lines);
        }
        let text = "select key from wf_ledger where agency_id = $1 and case_id is null";
        let rows = sql::all(conn, text, vec![facts.id.as_str().into()]).await?;
        let told: HashSet<String> = rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect::<Result<_>>()?;
        // What is past is told, or will not be.
        let ahead = (span.0.max(now), span.1);
        for reader in load::readers(conn, &facts.id).await? {
            let seen: HashSet<String> = load::cases_read_by(conn, &reader.user_id).await?.into_iter().collect();
            let seen: Vec<&CaseFacts> = cases.iter().filter(|case| seen.contains(&case.id)).collect();
            if !seen.is_empty() {
                mornings(&facts, &reader, &seen, &told, ahead, &mut lines);
            }
        }
    }
    lines.sort_by(|a, b| (&a.due_at, &a.rule, &a.subject_id).cmp(&(&b.due_at, &b.rule, &b.subject_id)));
    Ok(lines)
}

/// One case, from each due instant to the next. What comes before the span is told in its own time and not shown.
fn walk(facts: &CaseFacts, mut memory: Memory, today: Instant, (from, to): (Instant, Instant), lines: &mut Vec<Line>) {
    let mut now = from.min(today);
    let mut unheard = HashSet::new();
    // A chain has a handful of steps, so the walk ends; the bound is for a rule that breaks that.
    for _ in 0..10_000 {
        let asked = now.max(today);
        let facts = &facts.as_of(asked);
        let mut soonest = facts.changes_after(asked);
        for chain in plan(rules::ALL, facts, &memory, now) {
            let key = (chain.rule.id.to_owned(), chain.subject_id.clone(), chain.watched.clone());
            memory.watches.insert(key, chain.watch);
            if !chain.stops.is_empty() {
                continue;
            }
            for planned in &chain.steps {
                let (word, outcome, why) = match &planned.standing {
                    Standing::Due => ("fired", "fires", moved(planned)),
                    Standing::Superseded(by) if planned.due_at <= now => {
                        let near = chain
                            .steps
                            .iter()
                            .any(|later| later.step.id == *by && later.due_at.0 - planned.due_at.0 < MIN_GAP_MS);
                        let outcome = if near { "coalesced" } else { "superseded" };
                        ("superseded", outcome, format!("{by} speaks for it"))
                    }
                    Standing::Missed(why) => ("missed", "missed", why.text.clone()),
                    Standing::Waiting | Standing::Superseded(_) => {
                        soonest = Some(soonest.map_or(planned.due_at, |at| at.min(planned.due_at)));
                        continue;
                    }
                    Standing::Unheard if unheard.insert(planned.key.clone()) => ("", "suppressed", moved(planned)),
                    Standing::Unheard | Standing::Ended(_) | Standing::Skipped(_) => continue,
                };
                if !word.is_empty() {
                    memory.outcomes.insert(planned.key.clone(), word.into());
                }
                if now < from {
                    continue;
                }
                let id = (chain.rule.id, chain.rule.subject_kind, chain.subject_id.as_str());
                tell(facts, id, planned, now, (outcome, &why), lines);
            }
        }
        match soonest {
            Some(at) if at < to => now = at.max(now.plus_ms(1)),
            _ => return,
        }
    }
}

fn moved(planned: &Planned) -> String {
    planned.moved.as_ref().map_or_else(|| "it is due".into(), |why| why.text.clone())
}

fn tell(
    facts: &CaseFacts,
    (rule, subject_kind, subject_id): (&str, &str, &str),
    planned: &Planned,
    now: Instant,
    (outcome, why): (&'static str, &str),
    lines: &mut Vec<Line>,
) {
    let today = facts.case_zone().day(now);
    let mut told: Vec<&str> = Vec::new();
    for role in planned.step.to {
        let (holder, fallback) = facts.holder(*role, today);
        if let Some(holder) = holder {
            if told.contains(&holder.user_id.as_str()) {
                continue;
            }
            told.push(&holder.user_id);
        }
        let nobody = holder.is_none() && *role != Audience::Partner;
        let outcome = if nobody && outcome == "fires" { "suppressed" } else { outcome };
        let why = match (nobody, &fallback) {
            (true, _) => "nobody can be told".to_owned(),
            (false, Some(fallback)) => format!("{why}; {}", fallback.text),
            (false, None) => why.to_owned(),
        };
        let channels: &[&'static str] = if *role == Audience::Partner { &["mail"] } else { &["prompt", "mail"] };
        for channel in channels {
            lines.push(Line {
                rule: rule.to_owned(),
                step: planned.step.id.into(),
                subject_kind: subject_kind.to_owned(),
                subject_id: subject_id.to_owned(),
                case_id: Some(facts.id.clone()),
                to_role: role.as_str().into(),
                to_user: holder.map(|holder| holder.user_id.clone()),
                channel,
                nominal_local: planned.nominal.format("%Y-%m-%dT%H:%M").to_string(),
                zone: planned.zone.name().into(),
                due_at: planned.due_at.rfc3339(),
                outcome,
                why: why.clone(),
            });
        }
    }
}

/// The digests of somebody who reads these cases, but for those that have come to their end.
fn mornings(
    agency: &AgencyFacts,
    reader: &Person,
    cases: &[&CaseFacts],
    told: &HashSet<String>,
    (from, to): (Instant, Instant),
    lines: &mut Vec<Line>,
) {
    let user = reader.user_id.as_str();
    let zone = reader.zone.as_ref().unwrap_or(&agency.zone);
    let schedule = digest::schedule(reader.hour);
    // Quiet hours may put a morning off, past the instant from which is asked.
    let mut at = zone.wall(from.plus_secs(-86_400));
    while let Some(wall) = schedule.next_after(at) {
        at = wall;
        let due = zone.instant(digest::open_moment(&agency.calendar, wall));
        if due >= to {
            break;
        }
        let is_over = due < from || told.contains(&digest::key(user, &wall.date().to_string()));
        if is_over || !agency.calendar.is_working(Day(wall.date())) {
            continue;
        }
        let count = digest::sections(cases.iter().copied(), due).count();
        lines.push(Line {
            rule: digest::ID.into(),
            step: "digest".into(),
            subject_kind: "user".into(),
            subject_id: user.to_owned(),
            case_id: None,
            to_role: "supervisor".into(),
            to_user: Some(user.to_owned()),
            channel: "mail",
            nominal_local: wall.format("%Y-%m-%dT%H:%M").to_string(),
            zone: zone.name().into(),
            due_at: due.rfc3339(),
            outcome: if count > 0 { "fires" } else { "suppressed" },
            why: if count > 0 { format!("{count} lines") } else { "there is nothing to say".into() },
        });
    }
}

impl Line {
    /// For a person at a terminal.
    pub fn text(&self) -> String {
        let to = self.to_user.as_deref().unwrap_or("-");
        format!(
            "{} {:<20} {:<10} {:<6} {} {to}: {} ({})",
            self.due_at, self.rule, self.step, self.channel, self.to_role, self.outcome, self.why
        )
    }
}
