//! What waits for a person: mail that could not be sent, and timers that could not fire.

use sea_orm::ConnectionTrait;
use serde::Serialize;

use crate::clock::Instant;
use crate::error::Result;
use crate::sql;
use crate::workflow::rules::digest::ID as DIGEST;

/// One thing that waits. Says nothing of what a message is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// Row id, for `retry` and `drop`.
    pub id: String,
    /// `mail` or `timer`.
    pub kind: String,
    /// `dead` or `held`.
    pub state: String,
    /// Rule it comes from; empty for mail about accounts.
    pub rule: String,
    /// As what the recipient was to get it.
    pub to_role: String,
    /// Attempts made.
    pub attempts: i64,
    /// Why it waits.
    pub reason: String,
    /// What the mail server said, if it said anything.
    pub last_error: String,
}

const MAIL: &str = "state in ('dead', 'held')";

/// Everything that waits, oldest first, at most 1,000.
pub async fn list(conn: &impl ConnectionTrait) -> Result<Vec<Waiting>> {
    let text = format!(
        "select id, 'mail', state, coalesce(rule_id, ''), to_role, attempts, reason, coalesce(last_error, '') \
         from outbound_message where {MAIL} union all \
         select id, 'timer', state, rule_id, '', attempts, reason, '' from wf_timer where state = 'dead' \
         order by 1 limit 1000"
    );
    let rows = sql::all(conn, &text, vec![]).await?;
    rows.iter()
        .map(|row| {
            Ok(Waiting {
                id: row.try_get_by_index(0)?,
                kind: row.try_get_by_index(1)?,
                state: row.try_get_by_index(2)?,
                rule: row.try_get_by_index(3)?,
                to_role: row.try_get_by_index(4)?,
                attempts: row.try_get_by_index(5)?,
                reason: row.try_get_by_index(6)?,
                last_error: row.try_get_by_index(7)?,
            })
        })
        .collect()
}

/// What trying again came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retried {
    /// How many are tried again.
    pub again: u64,
    /// How many were too late for that, and are given up.
    pub too_late: u64,
}

/// Tries one of them again, or all when no id is given; says how many. However late, but for a digest: that of a morning
/// that is over would say what stands now under another day.
pub async fn retry(conn: &impl ConnectionTrait, id: Option<&str>, now: Instant) -> Result<Retried> {
    let all = id.is_none();
    let id = id.unwrap_or_default();
    let over = format!(
        "update outbound_message set state = 'dropped', reason = 'too late: its morning is over', finished_at = $2 \
         where {MAIL} and ($3 or id = $1) and rule_id = '{DIGEST}' and expires_at <= $2"
    );
    let mail = format!(
        "update outbound_message set state = 'queued', reason = 'tried again by hand', attempts = 0, put_offs = 0, resent = false, \
         next_at = $2, finished_at = null, expires_at = case when rule_id = '{DIGEST}' then expires_at end \
         where {MAIL} and ($3 or id = $1)"
    );
    let timers = "update wf_timer set state = 'pending', reason = '', attempts = 0, try_at = due_at, changed_at = $2 \
                  where state = 'dead' and ($3 or id = $1)";
    let bound = || vec![id.into(), now.0.into(), all.into()];
    let too_late = sql::exec(conn, &over, bound()).await?;
    let again = sql::exec(conn, &mail, bound()).await? + sql::exec(conn, timers, bound()).await?;
    Ok(Retried { again, too_late })
}

/// The agency and case of a timer that waits: what comes after it is planned when it is given up.
pub async fn case_of(conn: &impl ConnectionTrait, id: &str) -> Result<Option<(String, String)>> {
    let of = "select agency_id, case_id from wf_timer where state = 'dead' and id = $1 and case_id is not null";
    let row = sql::one(conn, of, vec![id.into()]).await?;
    row.map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).transpose()
}

/// Gives one of them up for good; says how many that were.
pub async fn drop(conn: &impl ConnectionTrait, id: &str, now: Instant) -> Result<u64> {
    let ended = "insert into wf_ledger (key, agency_id, case_id, at, rule_version, outcome, reason) \
                 select key, agency_id, case_id, $2, rule_version, 'dropped', 'given up by hand' \
                 from wf_timer where state = 'dead' and id = $1 on conflict (key) do nothing";
    sql::exec(conn, ended, vec![id.into(), now.0.into()]).await?;
    let mail = format!(
        "update outbound_message set state = 'dropped', reason = 'given up by hand', finished_at = $2 \
         where {MAIL} and id = $1"
    );
    let timers = "update wf_timer set state = 'dropped', reason = 'given up by hand', changed_at = $2 \
                  where state = 'dead' and id = $1";
    let mut count = 0;
    for text in [mail.as_str(), timers] {
        count += sql::exec(conn, text, vec![id.into(), now.0.into()]).await?;
    }
    Ok(count)
}
