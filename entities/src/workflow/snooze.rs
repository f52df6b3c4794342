//! A snooze is a fact: a prompt that somebody put off comes back at the time they said.
//!
//! Its timer stands beside the one next step of its chain, under the prompt's own key and `~s` with
//! the instant. The supervisor's step is not put off by it. When a later step of the same chain has
//! fired meanwhile, that one speaks, and the prompt that was put off does not come back.

use std::collections::HashMap;

use sea_orm::ConnectionTrait;

use super::facts::CaseFacts;
use super::planner::{Chain, Standing};
use super::prompt;
use super::rule::{Audience, Because};
use crate::clock::Instant;
use crate::error::Result;
use crate::sql;
use crate::write::Write;

/// What parts a prompt's key from the instant it was put off to.
const MARK: &str = "~s";
/// A condition for timers of snoozes, which stand beside the next step of their chain.
pub(super) const OF_A_SNOOZE: &str = "step like '%~s%'";

fn key(prompt: &prompt::Model, until: Instant) -> String {
    format!("{}{MARK}{}", prompt.dedupe_key, until.0)
}

/// Brings the timers of a case's snoozes into line with its prompts.
pub(super) async fn plan(write: &mut Write, case_id: &str, facts: Option<&CaseFacts>, chains: &[Chain]) -> Result<()> {
    let stored = format!("select key from wf_timer where case_id = $1 and state = 'pending' and {OF_A_SNOOZE}");
    let mut held: Vec<String> = Vec::new();
    for row in sql::all(write.conn(), &stored, vec![case_id.into()]).await? {
        held.push(row.try_get_by_index(0)?);
    }
    let text = "select id from prompts where case_id = $1 and deleted_at is null and status = 'snoozed'";
    let snoozed = sql::all(write.conn(), text, vec![case_id.into()]).await?;
    if held.is_empty() && snoozed.is_empty() {
        return Ok(());
    }
    let mut wanted = HashMap::new();
    for row in snoozed {
        let Some(prompt) = write.load::<prompt::Entity>(&row.try_get_by_index::<String>(0)?).await? else { continue };
        if spoken_for(&prompt, chains) {
            let after = prompt::Model { status: "expired".into(), snooze_until: None, ..prompt.clone() };
            write.change::<prompt::Entity>(&prompt, after).await?;
        } else if let Some(until) = prompt.snooze_until {
            wanted.insert(key(&prompt, until), (prompt, until));
        } else {
            // Put off until no instant, as a phone may have it: asked again, or it would sleep for ever.
            let after = prompt::Model { status: "pending".into(), ..prompt.clone() };
            write.change::<prompt::Entity>(&prompt, after).await?;
        }
    }
    for gone in held.iter().filter(|key| !wanted.contains_key(*key)) {
        sql::exec(
            write.conn(),
            "update wf_timer set state = 'cancelled', reason = 'no longer put off', changed_at = $2 \
             where key = $1 and state = 'pending'",
            vec![gone.as_str().into(), write.now().0.into()],
        )
        .await?;
    }
    for (key, (prompt, until)) in wanted {
        if !held.contains(&key) && !arm(write, facts, &key, &prompt, until).await? {
            // Nothing would bring it back.
            let after = prompt::Model { status: "pending".into(), snooze_until: None, ..prompt.clone() };
            write.change::<prompt::Entity>(&prompt, after).await?;
        }
    }
    Ok(())
}

/// A later step of the prompt's chain has fired.
fn spoken_for(prompt: &prompt::Model, chains: &[Chain]) -> bool {
    let chain = chains.iter().find(|chain| {
        (chain.rule.id, &chain.subject_id, &chain.anchor) == (&*prompt.rule, &prompt.subject_id, &prompt.anchor)
    });
    let Some(chain) = chain else { return false };
    let role = Audience::parse(&prompt.recipient_role);
    let later = chain.steps.iter().skip_while(|planned| planned.step.id != prompt.step).skip(1);
    later
        .filter(|planned| role.is_none_or(|role| planned.step.to.contains(&role)))
        .any(|planned| matches!(&planned.standing, Standing::Ended(outcome) if outcome == "fired"))
}

/// Stores its timer; false where one of that key was given up by hand.
async fn arm(
    write: &Write,
    facts: Option<&CaseFacts>,
    key: &str,
    prompt: &prompt::Model,
    until: Instant,
) -> Result<bool> {
    let Some(facts) = facts else { return Ok(true) };
    let role = Audience::parse(&prompt.recipient_role).unwrap_or(Audience::Caseworker);
    let zone = facts.told_at(role, facts.case_zone().day(until)).0;
    let (_, rest) = key.rsplit_once(MARK).unwrap_or((key, ""));
    let stored = sql::exec(
        write.conn(),
        "insert into wf_timer (id, agency_id, case_id, rule_id, rule_version, subject_kind, subject_id, anchor, step, \
         key, nominal_local, zone, due_at, try_at, state, reason, attempts, changed_at) \
         values ($1, $2, $3, $4, 0, $5, $6, $7, $8, $9, $10, $11, $12, $12, 'pending', '', 0, $13) \
         on conflict (key) do update set state = 'pending', reason = '', attempts = 0, try_at = excluded.try_at, \
         changed_at = excluded.changed_at where wf_timer.state <> 'dropped'",
        vec![
            write.mint().into(),
            write.actor().agency_id.as_str().into(),
            prompt.case_id.as_str().into(),
            prompt.rule.as_str().into(),
            prompt.subject_kind.as_str().into(),
            prompt.subject_id.as_str().into(),
            prompt.anchor.as_str().into(),
            format!("{}{MARK}{rest}", prompt.step).into(),
            key.into(),
            zone.wall(until).format("%Y-%m-%dT%H:%M").to_string().into(),
            zone.name().into(),
            until.0.into(),
            write.now().0.into(),
        ],
    )
    .await?;
    Ok(stored > 0)
}

/// The timers of a case's snoozes whose time has come.
pub async fn due(conn: &impl ConnectionTrait, case_id: &str, due: Instant) -> Result<Vec<String>> {
    let text = format!(
        "select key from wf_timer where case_id = $1 and state = 'pending' and try_at <= $2 and {OF_A_SNOOZE} \
         order by due_at, key"
    );
    let rows = sql::all(conn, &text, vec![case_id.into(), due.0.into()]).await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

/// Brings back the prompts of these timers, unless a later step speaks for them by now. The ledger
/// does not hear of it: a prompt that is not put off any more cannot come back again.
pub async fn wake(write: &mut Write, keys: Vec<String>, chains: &[Chain]) -> Result<()> {
    for key in keys {
        let (own, _) = key.rsplit_once(MARK).unwrap_or((&key, ""));
        let text = "select id from prompts where dedupe_key = $1 and deleted_at is null and status = 'snoozed'";
        if let Some(row) = sql::one(write.conn(), text, vec![own.into()]).await?
            && let Some(before) = write.load::<prompt::Entity>(&row.try_get_by_index::<String>(0)?).await?
        {
            let status = if spoken_for(&before, chains) { "expired" } else { "pending" };
            let after = prompt::Model { status: status.into(), snooze_until: None, ..before.clone() };
            write.change::<prompt::Entity>(&before, after).await?;
        }
        let text = "update wf_timer set state = 'fired', reason = '', changed_at = $2 where key = $1";
        sql::exec(write.conn(), text, vec![key.into(), write.now().0.into()]).await?;
    }
    Ok(())
}

/// What `explain` says of the prompts of each chain that somebody put off: rule, subject and anchor,
/// and the sentence.
pub(super) async fn told(
    conn: &impl ConnectionTrait,
    case_id: &str,
) -> Result<Vec<((String, String, String), Because)>> {
    let text = "select rule, subject_id, anchor, step, recipient_role, snooze_until from prompts \
                where case_id = $1 and deleted_at is null and status = 'snoozed' and snooze_until is not null \
                order by id";
    let mut told = Vec::new();
    for row in sql::all(conn, text, vec![case_id.into()]).await? {
        let (step, role): (String, String) = (row.try_get_by_index(3)?, row.try_get_by_index(4)?);
        let until: Instant = row.try_get_by_index(5)?;
        let chain = (row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?);
        told.push((chain, Because::of("snooze", format!("the {role} put {step} off until {}", until.rfc3339()))));
    }
    Ok(told)
}
