//! How often one address calls, counted by all processes together without asking for each request.
//!
//! A bucket that leaks at a steady rate is one number: the instant at which it will be empty. Each
//! process counts by itself and tells here, now and then, what it has let through; what it reads
//! back is what all of them have. `api/src/limit.rs` counts and decides when to tell.

use std::collections::BTreeMap;

use sea_orm::DbBackend;

use crate::error::{Error, Result};
use crate::sql;
use crate::store::Store;

/// Rows forgotten in one transaction.
const FORGET: u64 = 1000;

/// Adds to each address's bucket what this process has let through since it last told, and answers
/// how full the bucket is now. All in microseconds of leaking. A bucket is never taken to be fuller
/// than `room` before that, so that a clock which was set back shuts nobody out for long.
pub async fn tell(store: &Store, used: &BTreeMap<String, i64>, room: i64) -> Result<BTreeMap<String, i64>> {
    let side = store.side().await?;
    let now = side.now().0.saturating_mul(1000);
    let mut filled = BTreeMap::new();
    // In the map's order: two processes that tell of the same addresses must not wait for each other.
    for (address, used) in used {
        let row = sql::one(
            &*side,
            "insert into address_rates (address, empty_at) values ($1, $2 + $3) \
             on conflict (address) do update set empty_at = $3 + case \
             when address_rates.empty_at < $2 then $2 when address_rates.empty_at > $4 then $4 \
             else address_rates.empty_at end returning empty_at",
            vec![address.as_str().into(), now.into(), (*used).into(), now.saturating_add(room).into()],
        )
        .await?
        .ok_or_else(|| Error::Internal("a bucket gave nothing back".into()))?;
        let empty_at: i64 = row.try_get_by_index(0)?;
        filled.insert(address.clone(), empty_at.saturating_sub(now));
    }
    side.commit().await?;
    Ok(filled)
}

/// Forgets buckets that have run empty, some at a time.
pub async fn forget(store: &Store) -> Result<u64> {
    let side = store.side().await?;
    let skip = if store.backend() == DbBackend::Postgres { " for update skip locked" } else { "" };
    let text = format!(
        "delete from address_rates where address in (select address from address_rates where empty_at <= $1 \
         order by address limit {FORGET}{skip})"
    );
    let gone = sql::exec(&*side, &text, vec![side.now().0.saturating_mul(1000).into()]).await?;
    side.commit().await?;
    Ok(gone)
}
