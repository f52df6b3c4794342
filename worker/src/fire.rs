//! Firing: a step that is due becomes a prompt and mail, in one transaction with its record.
//!
//! The transaction takes the agency's clock row, as every writer does, and then asks the planner
//! once more what is due: two workers that saw the same timer queue up there, and the second finds
//! nothing left. A case whose firing fails holds up no other.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use entities::access::Actor;
use entities::sql;
use entities::workflow::facts::CaseFacts;
use entities::workflow::outbox::{self, NewMessage, Origin, Recipient, ResendPolicy};
use entities::workflow::planner::{Chain, Memory, Planned, Standing, plan};
use entities::workflow::prompt;
use entities::workflow::rule::Audience;
use entities::workflow::{load, rules, snooze};
use entities::{Error, Instant, Result, Store, Write};
use futures_util::FutureExt;
use sea_orm::{DbBackend, Value};
use serde_json::json;
use tokio::time::Instant as Tick;

use crate::digest;

/// Timers looked at in one round.
const ROUND: u64 = 200;
/// Cases fired in one transaction.
const TOGETHER: usize = 25;
/// A round that has worked for this long lets others have their turn.
const LONG_ENOUGH: Duration = Duration::from_secs(2);
/// After this many failures a timer waits for a person.
const ATTEMPTS: i64 = 5;
/// A reminder that could not be sent for this long is not sent any more.
const STALE_AFTER_SECS: i64 = 7 * 86_400;

/// One thing to fire: a case with all that is due in it, or one person's digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Case(String),
    Digest(String),
}

/// What a round came to.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// Timers that were looked at, 0 when none is due.
    pub(crate) looked: usize,
    /// Why an agency did not get its turn.
    pub(crate) passed_over: Option<Error>,
}

/// Fires what is due at `due`, one round. An agency whose clock somebody holds is passed over, and
/// what is due in the others takes its place.
pub(crate) async fn round(store: &Store, due: Instant) -> Result<Round> {
    let mut round = Round::default();
    let mut busy: Vec<String> = Vec::new();
    let mut worked = Duration::ZERO;
    loop {
        let (agencies, mut passed) = (due_now(store, due, &busy).await?, false);
        for (agency, list) in agencies {
            for some in list.chunks(TOGETHER) {
                let begun = Tick::now();
                match fire(store, &agency, some, due).await {
                    Ok(()) => round.looked += some.len(),
                    // On SQLite there is one lock for all: whoever waits for it waits for all.
                    Err(why @ Error::Busy(_)) if store.backend() == DbBackend::Postgres => {
                        round.passed_over = Some(why);
                        busy.push(agency.clone());
                        passed = true;
                        break;
                    }
                    Err(why) => return Err(why),
                }
                worked += begun.elapsed();
                if worked > LONG_ENOUGH {
                    return Ok(round);
                }
            }
        }
        if !passed {
            return Ok(round);
        }
    }
}

/// What is due by agency, at most a round of it, and none of these agencies'.
async fn due_now(store: &Store, due: Instant, but: &[String]) -> Result<BTreeMap<String, Vec<Due>>> {
    let but_them =
        if but.is_empty() { String::new() } else { format!("and agency_id not in ({})", sql::marks(2, but.len())) };
    let text = format!(
        "select agency_id, case_id, subject_id from wf_timer where state = 'pending' and try_at <= $1 and {} {but_them} \
         order by try_at, id limit {ROUND}",
        rules::ours(&[rules::digest::ID])
    );
    let bound: Vec<Value> = std::iter::once(due.0.into()).chain(but.iter().map(|id| id.as_str().into())).collect();
    let mut agencies: BTreeMap<String, Vec<Due>> = BTreeMap::new();
    for row in sql::all(store.connection(), &text, bound).await? {
        let what = match row.try_get_by_index::<Option<String>>(1)? {
            Some(case) => Due::Case(case),
            None => Due::Digest(row.try_get_by_index(2)?),
        };
        let list = agencies.entry(row.try_get_by_index(0)?).or_default();
        if !list.contains(&what) {
            list.push(what);
        }
    }
    Ok(agencies)
}

/// Together, or after a failure each alone.
async fn fire(store: &Store, agency: &str, some: &[Due], due: Instant) -> Result<()> {
    match guarded(store, agency, some, due).await {
        Ok(()) => Ok(()),
        Err(why @ (Error::Busy(_) | Error::StorageFull)) => Err(why),
        Err(_) => one_by_one(store, agency, some, due).await,
    }
}

/// Everything in one transaction; a panic is a failure like any other.
async fn guarded(store: &Store, agency: &str, some: &[Due], due: Instant) -> Result<()> {
    match AssertUnwindSafe(together(store, agency, some, due)).catch_unwind().await {
        Ok(ended) => ended,
        Err(_) => Err(Error::Internal("firing broke".into())),
    }
}

async fn together(store: &Store, agency: &str, some: &[Due], due: Instant) -> Result<()> {
    let mut write = store.write(&Actor::system(agency)).await?;
    write.note("workflow_fired", "");
    for what in some {
        match what {
            Due::Case(case) => fire_case(&mut write, case, due).await?,
            Due::Digest(user) => digest::fire(&write, user, due).await?,
        }
    }
    write.commit().await?;
    Ok(())
}

/// After a failure: each alone, so that only the one that fails is put off.
async fn one_by_one(store: &Store, agency: &str, some: &[Due], due: Instant) -> Result<()> {
    for what in some {
        match guarded(store, agency, std::slice::from_ref(what), due).await {
            Ok(()) => (),
            // Nothing is wrong with the timer: the database is busy or gone.
            Err(why @ (Error::Busy(_) | Error::StorageFull)) => return Err(why),
            Err(why) => put_off(store, what, due, &why.to_string()).await?,
        }
    }
    Ok(())
}

async fn put_off(store: &Store, what: &Due, due: Instant, why: &str) -> Result<()> {
    let (column, id) = match what {
        Due::Case(id) => ("case_id", id),
        Due::Digest(id) => ("case_id is null and subject_id", id),
    };
    tracing::error!(error = why, "a timer could not fire");
    let side = store.side().await?;
    let text = format!(
        "update wf_timer set attempts = attempts + 1, try_at = $1 + 60000 * (attempts + 1) * (attempts + 1), \
         state = case when attempts + 1 >= {ATTEMPTS} then 'dead' else state end, \
         reason = 'firing failed; see the log', changed_at = $2 \
         where {column} = $3 and state = 'pending' and try_at <= $1"
    );
    sql::exec(&*side, &text, vec![due.0.into(), side.now().0.into(), id.as_str().into()]).await?;
    side.commit().await
}

async fn fire_case(write: &mut Write, case_id: &str, due: Instant) -> Result<()> {
    let text = "select 1 from wf_timer where case_id = $1 and state = 'pending' and try_at <= $2 limit 1";
    if sql::one(write.conn(), text, vec![case_id.into(), due.0.into()]).await?.is_none() {
        return Ok(());
    }
    write.replan(case_id);
    let Some(facts) = load::case(write.conn(), case_id, due).await? else { return Ok(()) };
    let memory: Memory = load::memory(write.conn(), case_id).await?;
    for chain in plan(rules::ALL, &facts, &memory, due) {
        if !chain.stops.is_empty() {
            continue;
        }
        for planned in &chain.steps {
            match &planned.standing {
                Standing::Due => {
                    let first = record(write, &chain, planned, case_id, "fired", "").await?;
                    if first {
                        tell(write, &facts, &chain, planned, due).await?;
                    }
                }
                Standing::Superseded(by) if planned.due_at <= due => {
                    record(write, &chain, planned, case_id, "superseded", &format!("{by} speaks for it")).await?;
                }
                Standing::Missed(why) => {
                    record(write, &chain, planned, case_id, "missed", &why.text).await?;
                }
                _ => (),
            }
        }
    }
    wake(write, &facts, case_id, due).await
}

/// Prompts that were put off until now. What has fired just above is known by asking again.
async fn wake(write: &mut Write, facts: &CaseFacts, case_id: &str, due: Instant) -> Result<()> {
    let keys = snooze::due(write.conn(), case_id, due).await?;
    if keys.is_empty() {
        return Ok(());
    }
    let memory: Memory = load::memory(write.conn(), case_id).await?;
    let chains = plan(rules::ALL, facts, &memory, due);
    snooze::wake(write, keys, &chains).await
}

/// Writes down what a key came to; false when it had come to an end before.
async fn record(
    write: &Write,
    chain: &Chain,
    planned: &Planned,
    case_id: &str,
    outcome: &str,
    why: &str,
) -> Result<bool> {
    let fresh = ledger(write, &planned.key, Some(case_id), chain.rule.version, outcome, why).await?;
    metrics::counter!("fieldstone_timers_total", "outcome" => outcome.to_owned()).increment(1);
    Ok(fresh)
}

/// The ledger row and the timer's own state, together.
pub(crate) async fn ledger(
    write: &Write,
    key: &str,
    case_id: Option<&str>,
    version: i64,
    outcome: &str,
    why: &str,
) -> Result<bool> {
    let agency = write.actor().agency_id.clone();
    let fresh = sql::exec(
        write.conn(),
        "insert into wf_ledger (key, agency_id, case_id, at, rule_version, outcome, reason) \
         values ($1, $2, $3, $4, $5, $6, $7) on conflict (key) do nothing",
        vec![
            key.into(),
            agency.into(),
            case_id.map(str::to_owned).into(),
            write.now().0.into(),
            version.into(),
            outcome.into(),
            why.into(),
        ],
    )
    .await?;
    sql::exec(
        write.conn(),
        "update wf_timer set state = $2, reason = $3, changed_at = $4 where key = $1 and state = 'pending'",
        vec![key.into(), outcome.into(), why.into(), write.now().0.into()],
    )
    .await?;
    Ok(fresh == 1)
}

/// Prompts and mail for everybody the step is for; a person with two roles is told once.
async fn tell(write: &mut Write, facts: &CaseFacts, chain: &Chain, planned: &Planned, due: Instant) -> Result<()> {
    let today = facts.case_zone().day(due);
    let about = chain.on.or_else(|| chain.at.map(|at| facts.case_zone().day(at)));
    let origin = Origin {
        rule_id: chain.rule.id.into(),
        rule_version: chain.rule.version,
        step: planned.step.id.into(),
        timer_key: planned.key.clone(),
        anchor: chain.anchor.clone(),
        subject_kind: chain.rule.subject_kind.into(),
        subject_id: chain.subject_id.clone(),
        case_id: Some(facts.id.clone()),
    };
    let mut told: Vec<String> = Vec::new();
    for role in planned.step.to {
        let (to, user) = match role {
            Audience::Partner => {
                let referral = facts.referrals.iter().find(|referral| referral.id == chain.subject_id);
                match referral.and_then(|referral| referral.partner_org_id.clone()) {
                    Some(org) => (Recipient::Organization(org), None),
                    None => continue,
                }
            }
            Audience::Caseworker | Audience::Supervisor => {
                let Some(holder) = facts.holder(*role, today).0 else { continue };
                if told.contains(&holder.user_id) {
                    continue;
                }
                told.push(holder.user_id.clone());
                (Recipient::Role(role.as_str()), Some(holder.user_id.clone()))
            }
        };
        if let Some(user) = &user {
            let model = prompt::Model {
                case_id: facts.id.clone(),
                rule: chain.rule.id.into(),
                step: planned.step.id.into(),
                subject_kind: chain.rule.subject_kind.into(),
                subject_id: chain.subject_id.clone(),
                anchor: chain.anchor.clone(),
                recipient_user_id: user.clone(),
                recipient_role: role.as_str().into(),
                due_at: planned.due_at,
                due_on: about,
                status: "pending".into(),
                dedupe_key: format!("{}|{}", planned.key, role.as_str()),
                ..prompt::Model::default()
            };
            write.create::<prompt::Entity>(model).await?;
        }
        let message = NewMessage {
            agency_id: write.actor().agency_id.clone(),
            message_key: format!("{}|mail|{}", planned.key, role.as_str()),
            template: planned.step.template.into(),
            to,
            data: json!({ "on": about.map(|day| day.to_string()) }),
            not_before: None,
            expires_at: Some(due.max(write.now()).plus_secs(STALE_AFTER_SECS)),
            resend_policy: ResendPolicy::Once,
        };
        outbox::queue_from(write.conn(), write.now(), message, Some(&origin)).await?;
        if let Some(user) = user {
            // Whom it was meant for when it was queued; the person is bound when it is sent.
            sql::exec(
                write.conn(),
                "update outbound_message set to_user = $2 where message_key = $1 and state = 'queued'",
                vec![format!("{}|mail|{}", planned.key, role.as_str()).into(), user.into()],
            )
            .await?;
        }
    }
    Ok(())
}
