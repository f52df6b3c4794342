//! Counting failed attempts, in the database so that all processes count together.
//!
//! An attempt is counted before it is made and taken back when it succeeds, so that a burst in
//! parallel finds the door closed too.

use sea_orm::ConnectionTrait;

use crate::clock::Instant;
use crate::error::{Error, Result};
use crate::sql;

/// One counter: how often within a window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limit {
    /// What is counted, such as `account:…`; never a password in the clear.
    pub key: String,
    /// Attempts allowed.
    pub allowed: i64,
    /// Length of the window, which begins with the first attempt.
    pub window_secs: i64,
}

/// Counts an attempt against every limit. Answers the seconds to wait when one is exceeded.
pub async fn count(conn: &impl ConnectionTrait, limits: &[Limit], now: Instant) -> Result<Option<u64>> {
    sql::exec(conn, "delete from throttle where ends_at <= $1", vec![now.0.into()]).await?;
    // Always in the same order, or two processes could each hold what the other waits for.
    let mut limits = limits.to_vec();
    limits.sort();
    let mut wait = None;
    for limit in &limits {
        let row = sql::one(
            conn,
            "insert into throttle (key, count, ends_at) values ($1, 1, $2) \
             on conflict (key) do update set count = throttle.count + 1 returning count, ends_at",
            vec![limit.key.as_str().into(), now.plus_secs(limit.window_secs).0.into()],
        )
        .await?
        .ok_or_else(|| Error::Internal("a counter gave nothing back".into()))?;
        let count: i64 = row.try_get_by_index(0)?;
        let ends_at: i64 = row.try_get_by_index(1)?;
        if count > limit.allowed {
            let seconds = u64::try_from((ends_at - now.0).max(1000) / 1000).unwrap_or(1);
            wait = wait.max(Some(seconds));
        }
    }
    Ok(wait)
}

/// Takes an attempt back, since it succeeded. `forget` names counters to clear altogether.
pub async fn succeeded(conn: &impl ConnectionTrait, limits: &[Limit], forget: &[String]) -> Result<()> {
    let mut limits = limits.to_vec();
    limits.sort();
    for limit in &limits {
        let text = if forget.contains(&limit.key) {
            "delete from throttle where key = $1"
        } else {
            "update throttle set count = count - 1 where key = $1 and count > 0"
        };
        sql::exec(conn, text, vec![limit.key.as_str().into()]).await?;
    }
    Ok(())
}
