//! Addresses that a mail server has refused for good. Nothing more is sent to them until a person
//! lifts that, by saying so or by giving the user or organisation another address.
//!
//! Written by the worker when it happens; who is told is its business too (`worker/src/mail/refused.rs`).

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, QueryResult, Value};

use crate::clock::{Instant, mint_at};
use crate::error::Result;
use crate::sql;

use super::timers;

/// Why the mail died that met the refusal.
pub const MET: &str = "the mail server refuses the address";
/// Why mail is not even tried after that.
pub const KNOWN: &str = "the mail server has refused the address before; it is tried again when an administrator \
                         lifts that or the address is changed";

/// One address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Row id.
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// The address, in lower case.
    pub address: String,
    /// The mail server's code.
    pub code: Option<i64>,
    /// What it said.
    pub said: String,
    /// When.
    pub refused_at: Instant,
}

const COLUMNS: &str = "id, agency_id, address, code, said, refused_at";

fn read(row: &QueryResult) -> Result<Refused> {
    Ok(Refused {
        id: row.try_get_by_index(0)?,
        agency_id: row.try_get_by_index(1)?,
        address: row.try_get_by_index(2)?,
        code: row.try_get_by_index(3)?,
        said: row.try_get_by_index(4)?,
        refused_at: row.try_get_by_index(5)?,
    })
}

/// An address as it is compared: a mailbox that tells upper from lower case has not been met.
fn key(address: &str) -> String {
    address.trim().to_lowercase()
}

/// Writes a refusal down; false when the address stood there before.
pub async fn note(
    conn: &impl ConnectionTrait,
    now: Instant,
    agency_id: &str,
    address: &str,
    code: Option<u16>,
    said: &str,
) -> Result<bool> {
    let text = "insert into refused_addresses (id, agency_id, address, code, said, refused_at) \
                values ($1, $2, $3, $4, $5, $6) on conflict (agency_id, address) do nothing";
    let values: Vec<Value> = vec![
        mint_at(now).into(),
        agency_id.into(),
        key(address).into(),
        code.map(i64::from).into(),
        said.into(),
        now.0.into(),
    ];
    let new = sql::exec(conn, text, values).await? == 1;
    if new && is_a_partners(conn, agency_id, address).await? {
        // A partner may have had this address only: who asked them is to know.
        timers::mark_partners(conn, mint_at(now), agency_id, "address_refused").await?;
    }
    Ok(new)
}

async fn is_a_partners(conn: &impl ConnectionTrait, agency_id: &str, address: &str) -> Result<bool> {
    let text = "select 1 from users where agency_id = $1 and email = $2 and partner_org_id is not null union all \
                select 1 from organizations where agency_id = $1 and lower(email) = $2 limit 1";
    Ok(sql::one(conn, text, vec![agency_id.into(), key(address).into()]).await?.is_some())
}

/// Those of some addresses that are refused, as they were given.
pub async fn among(conn: &impl ConnectionTrait, agency_id: &str, addresses: &[String]) -> Result<HashSet<String>> {
    if addresses.is_empty() {
        return Ok(HashSet::new());
    }
    let text = format!(
        "select address from refused_addresses where agency_id = $1 and address in ({})",
        sql::marks(2, addresses.len())
    );
    let bound = std::iter::once(agency_id.into()).chain(addresses.iter().map(|address| key(address).into())).collect();
    let mut refused = HashSet::new();
    for row in sql::all(conn, &text, bound).await? {
        refused.insert(row.try_get_by_index::<String>(0)?);
    }
    Ok(addresses.iter().filter(|address| refused.contains(&key(address))).cloned().collect())
}

/// A page of the agency's refused addresses by id, beginning after an id.
pub async fn list(conn: &impl ConnectionTrait, agency_id: &str, after: &str, limit: u64) -> Result<Vec<Refused>> {
    let text =
        format!("select {COLUMNS} from refused_addresses where agency_id = $1 and id > $2 order by id limit {limit}");
    sql::all(conn, &text, vec![agency_id.into(), after.into()]).await?.iter().map(read).collect()
}

/// One of them, if it is this agency's.
pub async fn by_id(conn: &impl ConnectionTrait, agency_id: &str, id: &str) -> Result<Option<Refused>> {
    let text = format!("select {COLUMNS} from refused_addresses where agency_id = $1 and id = $2");
    sql::one(conn, &text, vec![agency_id.into(), id.into()]).await?.as_ref().map(read).transpose()
}

/// Every agency's refusals of one address.
pub async fn by_address(conn: &impl ConnectionTrait, address: &str) -> Result<Vec<Refused>> {
    let text = format!("select {COLUMNS} from refused_addresses where address = $1 order by id");
    sql::all(conn, &text, vec![key(address).into()]).await?.iter().map(read).collect()
}

/// Lets mail go to an address again, and with it the mail that was not sent for its sake and is not
/// too late: to the users and organisations that have the address now. False when it was not refused.
pub async fn lift(conn: &impl ConnectionTrait, now: Instant, agency_id: &str, address: &str) -> Result<bool> {
    let text = "delete from refused_addresses where agency_id = $1 and address = $2";
    let lifted = sql::exec(conn, text, vec![agency_id.into(), key(address).into()]).await? == 1;
    if lifted {
        if is_a_partners(conn, agency_id, address).await? {
            timers::mark_partners(conn, mint_at(now), agency_id, "address_lifted").await?;
        }
        revive(
            conn,
            now,
            agency_id,
            "to_address = $2 or to_user in (select id from users where email = $2) \
            or to_org in (select partner_org_id from users where email = $2 and partner_org_id is not null) \
            or to_org in (select id from organizations where agency_id = $1 and lower(email) = $2)",
            &key(address),
        )
        .await?;
    }
    Ok(lifted)
}

/// A user or an organisation has another address now: neither the old nor the new one stands
/// refused any longer, and mail that waited for it goes.
pub async fn moved(
    conn: &impl ConnectionTrait,
    now: Instant,
    agency_id: &str,
    who: &str,
    before: Option<&str>,
    after: Option<&str>,
) -> Result<()> {
    let mut lifted = false;
    if let Some(address) = before {
        lifted |= lift(conn, now, agency_id, address).await?;
    }
    if let Some(address) = after {
        lifted |= lift(conn, now, agency_id, address).await?;
    }
    if lifted {
        revive(
            conn,
            now,
            agency_id,
            "to_user = $2 or to_org = $2 \
            or to_org in (select partner_org_id from users where id = $2 and partner_org_id is not null)",
            who,
        )
        .await?;
    }
    Ok(())
}

async fn revive(conn: &impl ConnectionTrait, now: Instant, agency_id: &str, whose: &str, who: &str) -> Result<()> {
    let text = format!(
        "update outbound_message set state = 'queued', reason = 'the address is no longer refused', attempts = 0, put_offs = 0, \
         next_at = $3, finished_at = null where agency_id = $1 and ({whose}) \
         and ((state = 'dead' and reason = $4) or (state = 'suppressed' and reason = $5)) \
         and (expires_at is null or expires_at > $3)"
    );
    sql::exec(conn, &text, vec![agency_id.into(), who.into(), now.0.into(), MET.into(), KNOWN.into()]).await?;
    Ok(())
}
