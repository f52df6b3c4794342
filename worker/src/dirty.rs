//! Changes that touch many cases: planned again by lots, so that a new holiday does not hold the
//! agency's lock for as long as it takes to look at every case.

use entities::access::Actor;
use entities::{Result, Store, sql};

/// Cases planned in one transaction.
const LOT: usize = 100;

/// Plans one lot of one mark; says how many cases it was, `None` when there is no mark.
pub(crate) async fn step(store: &Store) -> Result<Option<usize>> {
    let text = "select id, agency_id from wf_dirty order by id limit 1";
    let Some(mark) = sql::one(store.connection(), text, vec![]).await? else { return Ok(None) };
    let (id, agency): (String, String) = (mark.try_get_by_index(0)?, mark.try_get_by_index(1)?);
    let mut write = store.write(&Actor::system(&agency)).await?;
    // Read again under the lock: another worker may have moved on.
    let text = "select after_case from wf_dirty where id = $1";
    let Some(row) = sql::one(write.conn(), text, vec![id.as_str().into()]).await? else { return Ok(Some(0)) };
    let after: String = row.try_get_by_index(0)?;
    let text = format!(
        "select id from cases where agency_id = $1 and id > $2 and deleted_at is null \
         and status in ('intake', 'active', 'on_hold', 'closing') order by id limit {LOT}"
    );
    let cases = sql::all(write.conn(), &text, vec![agency.into(), after.into()]).await?;
    let mut last = None;
    for row in &cases {
        let case: String = row.try_get_by_index(0)?;
        write.replan(&case);
        last = Some(case);
    }
    match last.filter(|_| cases.len() == LOT) {
        Some(last) => {
            let text = "update wf_dirty set after_case = $2 where id = $1";
            sql::exec(write.conn(), text, vec![id.into(), last.into()]).await?;
        }
        None => {
            sql::exec(write.conn(), "delete from wf_dirty where id = $1", vec![id.into()]).await?;
        }
    }
    write.commit().await?;
    Ok(Some(cases.len()))
}
