//! Why something fires, or why not: for every rule and one case, in the words of the facts.
//!
//! It asks the same planner as the engine does, so it cannot say anything else than what happens.

use sea_orm::ConnectionTrait;
use serde::Serialize;

use super::facts::CaseFacts;
use super::planner::{Chain, Memory, Standing, plan};
use super::rule::{Because, Rule};
use super::rules::{self, digest};
use super::{load, snooze, timers};
use crate::clock::Instant;
use crate::error::Result;
use crate::sql;

/// Everything the engine has to say about one case.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// The case.
    pub case_id: String,
    /// The instant it was asked for.
    pub as_of: String,
    /// Each rule and each thing it looks at.
    pub rules: Vec<RuleSays>,
    /// Mail about the case, oldest first.
    pub messages: Vec<MessageSays>,
}

/// What one rule says about one subject.
#[derive(Clone, Debug, Serialize)]
pub struct RuleSays {
    /// Rule id.
    pub rule: String,
    /// Rule version.
    pub version: i64,
    /// Kind of the subject.
    pub subject_kind: String,
    /// The subject; none where there is nothing the rule could look at.
    pub subject_id: Option<String>,
    /// `pending`, `fired`, `blocked` or `done`.
    pub state: &'static str,
    /// The next step, if there is one.
    pub next: Option<Next>,
    /// Why.
    pub because: Vec<Because>,
}

/// When a step fires.
#[derive(Clone, Debug, Serialize)]
pub struct Next {
    /// Name of the step.
    pub step: String,
    /// Wall time promised.
    pub nominal_local: String,
    /// Zone of the wall time.
    pub zone: String,
    /// The instant, RFC 3339 in UTC.
    pub due_at: String,
}

/// One message and why it went, or did not.
#[derive(Clone, Debug, Serialize)]
pub struct MessageSays {
    /// Row id of the message.
    pub message_id: String,
    /// Rule it comes from.
    pub rule: String,
    /// Version of the rule when it fired.
    pub version: i64,
    /// As what the recipient gets it.
    pub to_role: String,
    /// State in the outbox.
    pub state: String,
    /// A sentence.
    pub why: String,
}

/// Explains a case; `None` when there is none with this id. Whether the reader may see it is the
/// caller's to ask.
pub async fn explain(conn: &impl ConnectionTrait, case_id: &str, now: Instant) -> Result<Option<Explained>> {
    let Some(facts) = load::case(conn, case_id, now).await? else { return Ok(None) };
    let memory = load::memory(conn, case_id).await?;
    let chains = plan(rules::ALL, &facts, &memory, now);
    let mut said = Vec::new();
    for rule in rules::ALL {
        let mut any = false;
        for chain in chains.iter().filter(|chain| chain.rule.id == rule.id) {
            any = true;
            said.push(one(chain, &facts, &memory, now));
        }
        if !any {
            said.push(nothing(rule));
        }
    }
    for (chain, because) in snooze::told(conn, case_id).await? {
        let of_chain = |says: &&mut RuleSays| says.rule == chain.0 && says.subject_id.as_ref() == Some(&chain.1);
        if let Some(says) = said.iter_mut().find(of_chain) {
            says.because.push(because);
        }
    }
    said.extend(mornings(conn, &facts, now).await?);
    dead(conn, case_id, &mut said).await?;
    let messages = messages(conn, case_id).await?;
    Ok(Some(Explained { case_id: case_id.to_owned(), as_of: now.rfc3339(), rules: said, messages }))
}

fn one(chain: &Chain, facts: &CaseFacts, memory: &Memory, now: Instant) -> RuleSays {
    let mut because = Vec::new();
    if let Some(on) = chain.on {
        because.push(Because::of("fact", format!("counts from {on}")));
    } else if let Some(at) = chain.at {
        because.push(Because::of("fact", format!("counts from {}", at.rfc3339())));
    }
    let mut fired = false;
    for planned in &chain.steps {
        let step = planned.step.id;
        match &planned.standing {
            Standing::Ended(outcome) => {
                fired |= outcome == "fired";
                because.push(Because::of("ledger", format!("{step} has come to its end: {outcome}")));
            }
            Standing::Skipped(why) | Standing::Missed(why) => {
                because.push(Because { text: format!("{step}: {}", why.text), ..why.clone() });
            }
            Standing::Superseded(by) => {
                because.push(Because::of("condition", format!("{step} gives way to {by}, which comes with it")));
            }
            Standing::Unheard => {
                because.push(Because::of("fallback", format!("{step} is due, and nobody can be told")))
            }
            Standing::Due | Standing::Waiting => (),
        }
    }
    let coming = chain
        .steps
        .iter()
        .find(|planned| matches!(planned.standing, Standing::Due | Standing::Waiting))
        .filter(|_| chain.stops.is_empty() && !chain.waits_for_somebody());
    let mut stops = chain.stops.clone();
    if let Some(next) = coming {
        // Until then, time alone may change who is told, or whether anybody is.
        let at = next.due_at.max(now);
        let then = facts.as_of(at);
        let day = then.case_zone().day(at);
        because.extend(next.moved.clone());
        because.extend(next.step.to.iter().filter_map(|role| then.holder(*role, day).1));
        let chains = plan(&[chain.rule], &then, memory, at);
        stops = chains.into_iter().find(|later| later.id() == chain.id()).map_or_else(Vec::new, |later| later.stops);
        if !stops.is_empty() {
            because.push(Because::of("fact", format!("{} would come at {}", next.step.id, next.due_at.rfc3339())));
        }
    }
    let coming = coming.filter(|_| stops.is_empty());
    let state = match coming {
        _ if chain.waits_for_somebody() => "blocked",
        Some(_) => "pending",
        None if !stops.is_empty() => {
            because.extend(stops);
            "blocked"
        }
        None if fired => "fired",
        None => "done",
    };
    RuleSays {
        rule: chain.rule.id.into(),
        version: chain.rule.version,
        subject_kind: chain.rule.subject_kind.into(),
        subject_id: Some(chain.subject_id.clone()),
        state,
        next: coming.map(|next| Next {
            step: next.step.id.into(),
            nominal_local: next.nominal.format("%Y-%m-%dT%H:%M").to_string(),
            zone: next.zone.name().into(),
            due_at: next.due_at.rfc3339(),
        }),
        because,
    }
}

fn nothing(rule: &Rule) -> RuleSays {
    RuleSays {
        rule: rule.id.into(),
        version: rule.version,
        subject_kind: rule.subject_kind.into(),
        subject_id: None,
        state: "blocked",
        next: None,
        because: vec![Because::of(
            "condition",
            format!("the case has no {} that this rule could count from", rule.subject_kind),
        )],
    }
}

/// The digests that the case stands in: one for each supervisor who sees it.
async fn mornings(conn: &impl ConnectionTrait, facts: &CaseFacts, now: Instant) -> Result<Vec<RuleSays>> {
    let text = "select u.id, t.step, t.nominal_local, t.zone, t.due_at from users u \
                join sync_access a on a.user_id = u.id and a.scope = $2 and a.visible \
                left join wf_timer t on t.rule_id = $1 and t.subject_id = u.id and t.state = 'pending' \
                where u.active and u.role = 'supervisor' order by u.id";
    let bound = vec![digest::ID.into(), format!("case:{}", facts.id).into()];
    let says = |user: Option<String>, next: Option<Next>, because: Because| RuleSays {
        rule: digest::ID.into(),
        version: digest::VERSION,
        subject_kind: "user".into(),
        subject_id: user,
        state: if next.is_some() { "pending" } else { "blocked" },
        next,
        because: vec![because],
    };
    let lines = digest::sections([facts], now).count();
    let mut said = Vec::new();
    for row in sql::all(conn, text, bound).await? {
        let next = match row.try_get_by_index::<Option<String>>(1)? {
            Some(step) => Some(Next {
                step,
                nominal_local: row.try_get_by_index(2)?,
                zone: row.try_get_by_index(3)?,
                due_at: row.try_get_by_index::<Instant>(4)?.rfc3339(),
            }),
            None => None,
        };
        let because = Because::of("fact", format!("{lines} lines of this case would stand in it now"));
        said.push(says(Some(row.try_get_by_index(0)?), next, because));
    }
    if said.is_empty() {
        let why = "no supervisor sees the case: nobody reads a digest";
        said.push(says(None, None, Because::of("fallback", why)));
    }
    Ok(said)
}

/// Timers that failed too often and wait for a person.
async fn dead(conn: &impl ConnectionTrait, case_id: &str, said: &mut [RuleSays]) -> Result<()> {
    let text = "select rule_id, subject_id, step, reason from wf_timer where case_id = $1 and state = 'dead'";
    for row in sql::all(conn, text, vec![case_id.into()]).await? {
        let (rule, subject): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let (step, reason): (String, String) = (row.try_get_by_index(2)?, row.try_get_by_index(3)?);
        for says in said.iter_mut().filter(|says| says.rule == rule && says.subject_id.as_ref() == Some(&subject)) {
            says.because.push(Because::of("ledger", format!("{step} could not fire: {reason}")));
        }
    }
    Ok(())
}

async fn messages(conn: &impl ConnectionTrait, case_id: &str) -> Result<Vec<MessageSays>> {
    let text = "select id, coalesce(rule_id, ''), rule_version, to_role, state, coalesce(step, ''), reason, \
                coalesce(last_error, ''), next_at from outbound_message where case_id = $1 order by created_at, id";
    let mut found = Vec::new();
    for row in sql::all(conn, text, vec![case_id.into()]).await? {
        let (rule, to_role, state): (String, String, String) =
            (row.try_get_by_index(1)?, row.try_get_by_index(3)?, row.try_get_by_index(4)?);
        let (step, reason, error): (String, String, String) =
            (row.try_get_by_index(5)?, row.try_get_by_index(6)?, row.try_get_by_index(7)?);
        let reason = reason.strip_prefix(timers::REASON_GONE).unwrap_or(&reason);
        let mut why = format!("{step} of {rule} fired");
        for more in [reason, error.as_str()] {
            if !more.is_empty() {
                why = format!("{why}; {more}");
            }
        }
        if ["queued", "uncertain"].contains(&state.as_str()) {
            why = format!("{why}; sent from {}", row.try_get_by_index::<Instant>(8)?.rfc3339());
        }
        found.push(MessageSays {
            message_id: row.try_get_by_index(0)?,
            rule,
            version: row.try_get_by_index(2)?,
            to_role,
            state,
            why,
        });
    }
    Ok(found)
}

impl Explained {
    /// For a person at a terminal.
    pub fn text(&self) -> String {
        let mut lines = vec![format!("case {} as of {}", self.case_id, self.as_of)];
        for says in &self.rules {
            let subject = says.subject_id.as_deref().unwrap_or("-");
            lines.push(format!("\n{} {} {subject}: {}", says.rule, says.subject_kind, says.state));
            if let Some(next) = &says.next {
                lines.push(format!("  next: {} at {} {} ({})", next.step, next.nominal_local, next.zone, next.due_at));
            }
            for because in &says.because {
                let fact = because.fact.as_ref().map(|fact| format!(" [{fact}]")).unwrap_or_default();
                lines.push(format!("  {}: {}{fact}", because.kind, because.text));
            }
        }
        if !self.messages.is_empty() {
            lines.push("\nmessages".into());
        }
        for message in &self.messages {
            lines.push(format!("  {} to {}: {}: {}", message.message_id, message.to_role, message.state, message.why));
        }
        lines.join("\n")
    }
}
