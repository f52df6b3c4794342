//! The outbox's states: who has a message, until when, and how it ended.
//!
//! `queued` -> `sending` (leased, fence raised) -> `sent`, back to `queued` with a later time, or
//! `uncertain`, `held`, `dead`, `suppressed`. An attempt is finished only by whoever holds the
//! fence, so that a worker that was thought dead and wakes up cannot write over what another did.

use std::time::Duration;

use entities::sql;
use entities::workflow::gauges;
use entities::workflow::outbox::{self, NewMessage, Origin, Recipient, ResendPolicy};
use entities::workflow::refused::{KNOWN, MET};
use entities::workflow::rules::{self, digest};
use entities::workflow::timers::REASON_GONE;
use entities::{Error, Instant, Result, Store};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Value};
use tokio::time::Instant as Tick;

use super::bind::Letter;
use super::refused;
use super::smtp::{Attempt, Outcome};
use super::words::Words;

/// How long a message belongs to the worker that claimed it.
pub const LEASE_SECS: i64 = 60;
/// How long after an attempt without an answer the message is sent once more.
pub const RESEND_AFTER_SECS: i64 = 15 * 60;
/// Why a mail that the server put off waits.
const PUT_OFF: &str = "the mail server could not take it; tried again later";
const TOO_LATE: &str = "it could not be sent before it was too late";
/// Waits after the first, second, … attempt that a server put off; then it is dead.
const BACK_OFF_SECS: [i64; 5] = [60, 300, 1800, 7200, 21_600];

/// A message under lease.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    pub(super) id: String,
    pub(super) agency_id: String,
    pub(super) message_key: String,
    pub(super) message_id: String,
    pub(super) rule_id: Option<String>,
    pub(super) rule_version: i64,
    pub(super) step: Option<String>,
    pub(super) timer_key: Option<String>,
    pub(super) anchor: Option<String>,
    pub(super) subject_kind: Option<String>,
    pub(super) subject_id: Option<String>,
    pub(super) case_id: Option<String>,
    pub(super) to_role: String,
    pub(super) to_user: Option<String>,
    pub(super) to_org: Option<String>,
    pub(super) to_address: Option<String>,
    pub(super) template: String,
    /// Values for the template; none where what is stored is not JSON.
    pub(super) data: Option<serde_json::Value>,
    pub(super) at_once: bool,
    pub(super) expires_at: Option<Instant>,
    pub(super) attempts: i64,
    /// How often a server heard of it and put it off.
    pub(super) put_offs: i64,
    /// It was handed over before and nobody knows whether it arrived.
    pub(super) resent: bool,
    pub(super) fence: i64,
}

/// How a message's round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Taken, or caught.
    Sent,
    /// Nobody to send it to, or no reason any more.
    Suppressed,
    /// Not yet.
    Waits,
    /// Something else; it is written on the row.
    Troubled,
}

const COLUMNS: &str = "id, agency_id, message_key, message_id, rule_id, rule_version, step, timer_key, anchor, \
                       subject_kind, subject_id, case_id, to_role, to_user, to_org, to_address, template, data, \
                       resend_policy, expires_at, attempts, resent, fence, put_offs";

fn read(row: &QueryResult) -> Result<Claimed> {
    Ok(Claimed {
        id: row.try_get_by_index(0)?,
        agency_id: row.try_get_by_index(1)?,
        message_key: row.try_get_by_index(2)?,
        message_id: row.try_get_by_index(3)?,
        rule_id: row.try_get_by_index(4)?,
        rule_version: row.try_get_by_index(5)?,
        step: row.try_get_by_index(6)?,
        timer_key: row.try_get_by_index(7)?,
        anchor: row.try_get_by_index(8)?,
        subject_kind: row.try_get_by_index(9)?,
        subject_id: row.try_get_by_index(10)?,
        case_id: row.try_get_by_index(11)?,
        to_role: row.try_get_by_index(12)?,
        to_user: row.try_get_by_index(13)?,
        to_org: row.try_get_by_index(14)?,
        to_address: row.try_get_by_index(15)?,
        template: row.try_get_by_index(16)?,
        // One message that cannot be read must not keep the others of its lot from being sent.
        data: serde_json::from_str(&row.try_get_by_index::<String>(17)?).ok(),
        at_once: row.try_get_by_index::<String>(18)? == "at_once",
        expires_at: row.try_get_by_index(19)?,
        attempts: row.try_get_by_index(20)?,
        put_offs: row.try_get_by_index(23)?,
        resent: row.try_get_by_index(21)?,
        fence: row.try_get_by_index(22)?,
    })
}

/// Messages whose worker is gone: nobody knows how far it came, so they are uncertain. A lease
/// that lies further ahead than its length counts as run out: a clock that was set back must not
/// stall mail.
pub(super) async fn expire_leases(store: &Store) -> Result<()> {
    let now = store.now().await?;
    let text = "select 1 from outbound_message where state = 'sending' and (lease_until <= $1 or lease_until > $2) \
                limit 1";
    let far = now.plus_secs(LEASE_SECS + 5);
    if sql::one(store.connection(), text, vec![now.0.into(), far.0.into()]).await?.is_none() {
        return Ok(());
    }
    let side = store.side().await?;
    // Never given to the server under this fence: nothing was handed over, it simply goes back.
    sql::exec(
        &*side,
        "update outbound_message set \
         state = case when lease_owner like '%/handing over' then case when resent then 'held' else 'uncertain' end \
                 else 'queued' end, \
         next_at = case when lease_owner like '%/handing over' and resend_policy = 'once' then $3 else $1 end, \
         attempts = attempts + case when lease_owner like '%/handing over' then 1 else 0 end, \
         reason = 'the worker that had it is gone', fence = fence + 1, lease_owner = null, lease_until = null \
         where state = 'sending' and (lease_until <= $1 or lease_until > $2)",
        vec![now.0.into(), far.0.into(), now.plus_secs(RESEND_AFTER_SECS).0.into()],
    )
    .await?;
    side.commit().await
}

/// Takes up to `limit` due messages under a lease.
pub(super) async fn claim(store: &Store, worker: &str, due: Instant, limit: usize) -> Result<Vec<Claimed>> {
    let ours = rules::ours(&[digest::ID]);
    let look = format!(
        "select 1 from outbound_message where state in ('queued', 'uncertain') and next_at <= $1 and {ours} limit 1"
    );
    if sql::one(store.connection(), &look, vec![due.0.into()]).await?.is_none() {
        return Ok(Vec::new());
    }
    let side = store.side().await?;
    // On SQLite the transaction holds the only write lock, so nothing can be claimed twice.
    let skip = if store.backend() == DbBackend::Postgres { " for update skip locked" } else { "" };
    let text = format!(
        "update outbound_message set state = 'sending', resent = resent or state = 'uncertain', fence = fence + 1, \
         lease_owner = $1, lease_until = $2 where id in (select id from outbound_message \
         where state in ('queued', 'uncertain') and next_at <= $3 and {ours} order by next_at, id limit {limit}{skip}) \
         returning {COLUMNS}"
    );
    let until = side.now().plus_secs(LEASE_SECS);
    let rows = sql::all(&*side, &text, vec![worker.into(), until.0.into(), due.0.into()]).await?;
    let claimed = rows.iter().map(read).collect();
    side.commit().await?;
    claimed
}

/// Writes down whom the message is for, just before the first byte of it is given to the server:
/// whoever finds this mark after a crash cannot know whether it arrived. False when the lease is lost.
pub(super) async fn hand_over(store: &Store, row: &Claimed, letter: &Letter) -> Result<bool> {
    let side = store.side().await?;
    let touched = sql::exec(
        &*side,
        "update outbound_message set to_user = $3, sent_to = $4, reason = $5, \
         lease_owner = lease_owner || '/handing over', lease_until = $6 where id = $1 and fence = $2 and state = 'sending'",
        vec![
            row.id.as_str().into(),
            row.fence.into(),
            letter.user_id.clone().into(),
            letter.addresses.join(", ").into(),
            letter.why.as_str().into(),
            side.now().plus_secs(LEASE_SECS).0.into(),
        ],
    )
    .await?;
    side.commit().await?;
    Ok(touched == 1)
}

#[derive(Clone)]
struct End<'a> {
    state: &'a str,
    reason: String,
    code: Option<u16>,
    error: Option<String>,
    next_at: Option<Instant>,
    words: Option<&'a Words>,
    /// A server heard of it and put it off.
    put_off: bool,
}

async fn end(store: &Store, row: &Claimed, end: End<'_>) -> Result<()> {
    let side = store.side().await?;
    end_in(&*side, side.now(), row, end).await?;
    side.commit().await
}

async fn end_in(conn: &impl ConnectionTrait, now: Instant, row: &Claimed, end: End<'_>) -> Result<()> {
    let over = !["queued", "uncertain"].contains(&end.state);
    // What the server said is known, even where the message has passed for uncertain since: it must not go out again.
    let known = ["sent", "dead"].contains(&end.state);
    let words = |part: fn(&Words) -> &str| Value::from(end.words.map(|words| part(words).to_owned()));
    let touched = sql::exec(
        conn,
        "update outbound_message set state = $3, reason = case when $4 = '' then reason else $4 end, \
         last_code = $5, last_error = $6, next_at = coalesce($7, next_at), finished_at = $8, \
         subject = $9, body_text = $10, body_html = $11, attempts = attempts + $12, put_offs = put_offs + $14, \
         lease_owner = null, lease_until = null \
         where id = $1 and (fence = $2 and state = 'sending' \
         or $13 and fence = $2 + 1 and state in ('uncertain', 'held'))",
        vec![
            row.id.as_str().into(),
            row.fence.into(),
            end.state.into(),
            end.reason.into(),
            end.code.map(i64::from).into(),
            end.error.into(),
            end.next_at.map(|at| at.0).into(),
            over.then_some(now.0).into(),
            words(|words| &words.subject),
            words(|words| &words.text),
            words(|words| &words.html),
            i64::from(end.state != "suppressed").into(),
            known.into(),
            i64::from(end.put_off).into(),
        ],
    )
    .await?;
    if touched == 0 {
        tracing::warn!(message = row.id, "a message was finished by somebody else meanwhile");
    }
    Ok(())
}

/// Writes down how an attempt ended. `due` is what counts as now for the next attempt.
pub(super) async fn finish(
    store: &Store,
    row: &Claimed,
    attempt: &Attempt,
    keep: Option<&Words>,
    due: Instant,
    public_url: &str,
) -> Result<Verdict> {
    let mut said = End {
        state: "sent",
        reason: String::new(),
        code: None,
        error: None,
        next_at: None,
        words: keep,
        put_off: false,
    };
    match &attempt.outcome {
        Outcome::Sent if attempt.put_off.is_empty() => (),
        Outcome::Sent => said.reason = "left out those of the addresses that could take nothing at the time".into(),
        Outcome::Refused { code, said: text } => {
            (said.state, said.code, said.error) = ("dead", *code, Some(text.clone()));
            said.reason = if attempt.refused.is_empty() { "the mail server refuses it" } else { MET }.into();
        }
        Outcome::Later { code, said: text } | Outcome::Unreached { code, said: text } => {
            (said.code, said.error) = (*code, Some(text.clone()));
            said.put_off = matches!(attempt.outcome, Outcome::Later { .. });
            if !said.put_off {
                // What was said is about us and holds no address.
                tracing::warn!(said = text, code, "no mail server was reached, or it would not have us");
            }
            let tried = if said.put_off { row.put_offs } else { row.attempts };
            let tried = usize::try_from(tried).unwrap_or(usize::MAX);
            // What is wrong with the server or with our settings is no fault of the message: it waits on, and however
            // long it did, the server's own word is counted anew.
            let last = BACK_OFF_SECS.last().filter(|_| !said.put_off);
            match BACK_OFF_SECS.get(tried).or(last) {
                Some(wait) => {
                    said.state = "queued";
                    said.reason = if said.put_off { PUT_OFF } else { gauges::UNREACHED }.into();
                    said.next_at = Some(due.plus_secs(jitter(*wait, row)));
                }
                None => {
                    said.state = "dead";
                    said.reason = "the mail server could not take it, six times".into();
                }
            }
        }
        Outcome::Uncertain { said: text } => {
            said.error = Some(text.clone());
            // Somebody waits for it and two are better than none: again at once, a few times.
            let again = if row.at_once { row.attempts < 3 } else { !row.resent };
            (said.state, said.reason) = if again {
                ("uncertain", "handed over, and no answer: it may have arrived; sent once more".into())
            } else {
                ("held", "handed over twice without an answer: it may have arrived; waits for a person".into())
            };
            said.next_at = again.then(|| due.plus_secs(if row.at_once { 0 } else { RESEND_AFTER_SECS }));
        }
    }
    let verdict = if said.state == "sent" { Verdict::Sent } else { Verdict::Troubled };
    if verdict == Verdict::Troubled {
        tracing::warn!(message = row.id, state = said.state, code = said.code, "a mail was not sent");
    }
    metrics::counter!("fieldstone_mail_total", "state" => said.state.to_owned()).increment(1);
    // The server has answered: what it said is worth waiting for the database, or the message goes
    // out once more. As long as the lease lasts it is nobody else's.
    let until = Tick::now() + Duration::from_secs(LEASE_SECS.unsigned_abs());
    loop {
        match finished(store, row, &said, attempt, public_url).await {
            Err(Error::Busy(_) | Error::StorageFull) if Tick::now() < until => {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            ended => return ended.map(|()| verdict),
        }
    }
}

async fn finished(store: &Store, row: &Claimed, said: &End<'_>, attempt: &Attempt, public_url: &str) -> Result<()> {
    let side = store.side().await?;
    end_in(&*side, side.now(), row, said.clone()).await?;
    refused::note(&side, row, &attempt.refused, public_url).await?;
    side.commit().await
}

/// The reason is gone, or there is nobody to send it to.
pub(super) async fn suppress(store: &Store, row: &Claimed, why: &str) -> Result<Verdict> {
    let reason = if row.rule_id.is_some() { format!("{REASON_GONE}{why}") } else { why.to_owned() };
    withhold(store, row, reason).await
}

/// It is not sent; by the reason a later plan knows whether to bring it back.
pub(super) async fn withhold(store: &Store, row: &Claimed, reason: String) -> Result<Verdict> {
    end(
        store,
        row,
        End { state: "suppressed", reason, code: None, error: None, next_at: None, words: None, put_off: false },
    )
    .await?;
    metrics::counter!("fieldstone_mail_total", "state" => "suppressed").increment(1);
    Ok(Verdict::Suppressed)
}

/// Its address was refused for good before: it waits until a person lifts that.
pub(super) async fn spare(store: &Store, row: &Claimed) -> Result<Verdict> {
    withhold(store, row, KNOWN.to_owned()).await
}

/// Its time is over. Where it was tried, a person is to hear that it never went; a digest, or a link that somebody asked
/// for, is of no use to anybody then.
pub(super) async fn too_late(store: &Store, row: &Claimed) -> Result<Verdict> {
    if row.attempts == 0 || row.at_once || row.rule_id.as_deref() == Some(digest::ID) {
        return suppress(store, row, TOO_LATE).await;
    }
    let side = store.side().await?;
    // What the server said last stays: it is why.
    sql::exec(
        &*side,
        "update outbound_message set state = 'dead', reason = $3, finished_at = $4, lease_owner = null, \
         lease_until = null where id = $1 and fence = $2 and state = 'sending'",
        vec![row.id.as_str().into(), row.fence.into(), TOO_LATE.into(), side.now().0.into()],
    )
    .await?;
    side.commit().await?;
    tracing::warn!(message = row.id, attempts = row.attempts, "a mail could not be sent before it was too late");
    metrics::counter!("fieldstone_mail_total", "state" => "dead").increment(1);
    Ok(Verdict::Troubled)
}

/// It has to wait, as where it is night for its reader: it goes back, as if it had not been looked at.
pub(super) async fn put_back(store: &Store, row: &Claimed, until: Instant, why: &str) -> Result<Verdict> {
    let side = store.side().await?;
    sql::exec(
        &*side,
        "update outbound_message set state = 'queued', next_at = $3, not_before = $3, reason = $4, \
         expires_at = case when expires_at <= $3 + 86400000 then $3 + 86400000 else expires_at end, \
         lease_owner = null, lease_until = null where id = $1 and fence = $2 and state = 'sending'",
        vec![row.id.as_str().into(), row.fence.into(), until.0.into(), why.into()],
    )
    .await?;
    side.commit().await?;
    Ok(Verdict::Waits)
}

/// It may have reached somebody who no longer holds the role: that copy ends here, and the new
/// holder gets one of their own.
pub(super) async fn pass_on(store: &Store, row: &Claimed, to: &str) -> Result<Verdict> {
    let side = store.side().await?;
    let now = side.now();
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let origin = Origin {
        rule_id: text(&row.rule_id),
        rule_version: row.rule_version,
        step: text(&row.step),
        timer_key: text(&row.timer_key),
        anchor: text(&row.anchor),
        subject_kind: text(&row.subject_kind),
        subject_id: text(&row.subject_id),
        case_id: row.case_id.clone(),
    };
    let message = NewMessage {
        agency_id: row.agency_id.clone(),
        message_key: format!("{}|{to}", row.message_key),
        template: row.template.clone(),
        to: match row.to_role.as_str() {
            "supervisor" => Recipient::Role("supervisor"),
            _ => Recipient::Role("caseworker"),
        },
        data: row.data.clone().unwrap_or_default(),
        not_before: None,
        expires_at: row.expires_at,
        resend_policy: ResendPolicy::Once,
    };
    outbox::queue_from(&*side, now, message, Some(&origin)).await?;
    let reason = "it may have reached the one before; the case has passed on, and the new one gets their own".into();
    end_in(
        &*side,
        now,
        row,
        End { state: "suppressed", reason, code: None, error: None, next_at: None, words: None, put_off: false },
    )
    .await?;
    side.commit().await?;
    Ok(Verdict::Suppressed)
}

/// The message itself is broken: it alone is given up.
pub(super) async fn poison(store: &Store, row: &Claimed, why: &str) -> Result<Verdict> {
    tracing::error!(message = row.id, "a message could not be made");
    let reason = "the message could not be made".into();
    let error = Some(why.chars().filter(|letter| !letter.is_control()).take(300).collect());
    end(store, row, End { state: "dead", reason, code: None, error, next_at: None, words: None, put_off: false })
        .await?;
    metrics::counter!("fieldstone_mail_total", "state" => "dead").increment(1);
    Ok(Verdict::Troubled)
}

/// 20 % more or less, different for each message and attempt and the same when asked again.
fn jitter(wait: i64, row: &Claimed) -> i64 {
    let sum = row.id.bytes().fold(row.attempts, |sum, byte| (sum * 31 + i64::from(byte)) % 401);
    wait * (800 + sum) / 1000
}
