//! How much waits, and for how long: what an operator's alarm looks at.

use sea_orm::ConnectionTrait;

use crate::clock::Instant;
use crate::error::Result;
use crate::sql;

/// Counting stops here: beyond it the number says nothing more, and counting would cost something.
const COUNTED: i64 = 10_000;

/// The queues at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Timers that are due and have not fired.
    pub timers_due: i64,
    /// Timers that failed too often and wait for a person.
    pub timers_dead: i64,
    /// Milliseconds for which the oldest of the due timers has been due.
    pub oldest_timer_ms: i64,
    /// Mail by state: `queued`, `uncertain`, `sending`, and `held` and `dead`, which wait for a person.
    pub mail: Vec<(&'static str, i64)>,
    /// Milliseconds for which the oldest mail that may go out has been due: since it was to go, however often it was
    /// tried since.
    pub oldest_mail_ms: i64,
    /// Addresses that a mail server refused for good.
    pub addresses_refused: i64,
}

/// Reads them; each count ends at 10,000.
pub async fn read(conn: &impl ConnectionTrait, now: Instant) -> Result<Gauges> {
    let mut mail = Vec::new();
    for (state, of) in [
        ("queued", "state in ('queued', 'uncertain') and state = 'queued'"),
        ("uncertain", "state in ('queued', 'uncertain') and state = 'uncertain'"),
        ("sending", "state = 'sending'"),
        ("held", "state in ('dead', 'held') and state = 'held'"),
        ("dead", "state in ('dead', 'held') and state = 'dead'"),
    ] {
        mail.push((state, count(conn, "outbound_message", of).await?));
    }
    Ok(Gauges {
        timers_due: count(conn, "wf_timer", &format!("state = 'pending' and try_at <= {}", now.0)).await?,
        timers_dead: count(conn, "wf_timer", "state = 'dead'").await?,
        oldest_timer_ms: age(conn, now, "select min(try_at) from wf_timer where state = 'pending'").await?,
        mail,
        oldest_mail_ms: age(
            conn,
            now,
            // Each try puts the next one off, which must not pass for there being nothing due.
            &format!(
                "select min(since) from (select case when attempts > 0 then not_before else next_at end as since \
                 from outbound_message where state in ('queued', 'uncertain') order by next_at limit {COUNTED}) waiting"
            ),
        )
        .await?,
        addresses_refused: count(conn, "refused_addresses", "true").await?,
    })
}

/// Why a mail waits that no mail server has heard of.
pub const UNREACHED: &str = "no mail server was reached, or it would not have us; tried again later";

/// Since when mail waits because no mail server is reached, and what was said at the last try of the oldest of it.
pub async fn unreached(conn: &impl ConnectionTrait) -> Result<Option<(Instant, String)>> {
    let text = "select not_before, coalesce(last_error, '') from outbound_message \
                where state in ('queued', 'uncertain') and state = 'queued' and reason = $1 order by not_before limit 1";
    let row = sql::one(conn, text, vec![UNREACHED.into()]).await?;
    row.map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).transpose()
}

async fn count(conn: &impl ConnectionTrait, table: &str, of: &str) -> Result<i64> {
    let text = format!("select count(*) from (select 1 from {table} where {of} limit {COUNTED}) counted");
    Ok(sql::one(conn, &text, vec![]).await?.map_or(Ok(0), |row| row.try_get_by_index(0))?)
}

async fn age(conn: &impl ConnectionTrait, now: Instant, text: &str) -> Result<i64> {
    let oldest = sql::one(conn, text, vec![]).await?.map_or(Ok(None), |row| row.try_get_by_index::<Option<i64>>(0))?;
    Ok(oldest.map_or(0, |at| (now.0 - at).max(0)))
}
