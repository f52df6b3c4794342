//! Changes that touch many cases: planned again by lots, so that a new holiday does not hold the
//! agency's lock for as long as it takes to look at every case. A case that cannot be planned is
//! passed over and told in the log; it holds up no other.

use std::panic::AssertUnwindSafe;

use entities::access::Actor;
use entities::workflow::rules;
use entities::{Error, Result, Store, sql};
use futures_util::FutureExt;

/// Cases planned in one transaction.
const LOT: usize = 100;

/// The open cases of an agency after one of them.
const CASES: &str = "select id from cases where agency_id = $1 and id > $2 and deleted_at is null \
                     and status in ('intake', 'active', 'on_hold', 'closing') order by id";

/// Plans one lot of one mark; says how many cases it was, `None` when there is no mark. An agency
/// whose clock somebody holds keeps its marks, and another has its turn.
pub(crate) async fn step(store: &Store) -> Result<Option<usize>> {
    // What a program with other rules or zone data is to plan, while both are running, is left to it.
    let text = "select min(id), agency_id from wf_dirty where cause not like 'version %' or cause = $1 \
                group by agency_id order by 1";
    let mut ended = Ok(None);
    for mark in sql::all(store.connection(), text, vec![rules::cause().into()]).await? {
        let (id, agency): (String, String) = (mark.try_get_by_index(0)?, mark.try_get_by_index(1)?);
        ended = match guarded(store, &id, &agency, LOT).await {
            // Nothing is wrong with the cases: the database is busy or gone.
            Err(why @ Error::Busy(_)) => Err(why),
            Err(why @ Error::StorageFull) => return Err(why),
            Err(_) => return alone(store, &id, &agency).await.map(Some),
            Ok(planned) => return Ok(Some(planned)),
        };
    }
    ended
}

/// After a failure: one case, so that only the one that fails is passed over.
async fn alone(store: &Store, id: &str, agency: &str) -> Result<usize> {
    let text = "select after_case from wf_dirty where id = $1";
    let Some(row) = sql::one(store.connection(), text, vec![id.into()]).await? else { return Ok(0) };
    let after: String = row.try_get_by_index(0)?;
    match guarded(store, id, agency, 1).await {
        Err(why @ (Error::Busy(_) | Error::StorageFull)) => Err(why),
        Err(why) => {
            tracing::error!(error = %why, "a case could not be planned and is passed over");
            pass_over(store, id, agency, &after).await.map(|()| 1)
        }
        Ok(planned) => Ok(planned),
    }
}

/// A panic is a failure like any other.
async fn guarded(store: &Store, id: &str, agency: &str, limit: usize) -> Result<usize> {
    match AssertUnwindSafe(lot(store, id, agency, limit)).catch_unwind().await {
        Ok(ended) => ended,
        Err(_) => Err(Error::Internal("planning broke".into())),
    }
}

async fn lot(store: &Store, id: &str, agency: &str, limit: usize) -> Result<usize> {
    let mut write = store.write(&Actor::system(agency)).await?;
    // Read again under the lock: another worker may have moved on.
    let text = "select after_case from wf_dirty where id = $1";
    let Some(row) = sql::one(write.conn(), text, vec![id.into()]).await? else { return Ok(0) };
    let after: String = row.try_get_by_index(0)?;
    if after.is_empty() {
        // Others that have not begun either ask for the same, and what they were made for is stored.
        let others =
            "delete from wf_dirty where agency_id = $1 and id <> $2 and after_case = '' and cause not like 'version %'";
        sql::exec(write.conn(), others, vec![agency.into(), id.into()]).await?;
    }
    let cases = sql::all(write.conn(), &format!("{CASES} limit {limit}"), vec![agency.into(), after.into()]).await?;
    let mut last = None;
    for row in &cases {
        let case: String = row.try_get_by_index(0)?;
        write.replan(&case);
        last = Some(case);
    }
    match last.filter(|_| cases.len() == limit) {
        Some(last) => {
            let text = "update wf_dirty set after_case = $2 where id = $1";
            sql::exec(write.conn(), text, vec![id.into(), last.into()]).await?;
        }
        None => {
            sql::exec(write.conn(), "delete from wf_dirty where id = $1", vec![id.into()]).await?;
        }
    }
    write.commit().await?;
    Ok(cases.len())
}

/// Goes on after the case that comes next without planning it, unless another worker has gone on.
async fn pass_over(store: &Store, id: &str, agency: &str, after: &str) -> Result<()> {
    let side = store.side().await?;
    let next = sql::one(&*side, &format!("{CASES} limit 1"), vec![agency.into(), after.into()]).await?;
    if let Some(next) = next {
        let next: String = next.try_get_by_index(0)?;
        let text = "update wf_dirty set after_case = $2 where id = $1 and after_case = $3";
        sql::exec(&*side, text, vec![id.into(), next.into(), after.into()]).await?;
    }
    side.commit().await
}
