//! When a mail server refuses an address for good: it is written down, and somebody who can reach
//! the person in another way is told once, without a word about any client.

use entities::people::{letters, user};
use entities::workflow::rule::Audience;
use entities::workflow::{load, refused};
use entities::{Result, Role, Side};
use serde_json::json;

use super::claim::Claimed;
use super::smtp::Refusal;

/// Writes down what the server refused while it was given this message, and tells of what is new.
pub(super) async fn note(side: &Side, row: &Claimed, refusals: &[Refusal], public_url: &str) -> Result<()> {
    for refusal in refusals {
        let Refusal { address, code, said } = refusal;
        if refused::note(&**side, side.now(), &row.agency_id, address, *code, said).await? {
            metrics::counter!("fieldstone_addresses_refused_total").increment(1);
            tell(side, row, address, public_url).await?;
        }
    }
    Ok(())
}

/// For somebody who works here, their supervisor; for a partner, the supervisor of the case; where
/// there is none, the administrators.
async fn tell(side: &Side, row: &Claimed, address: &str, public_url: &str) -> Result<()> {
    let (conn, agency) = (&**side, row.agency_id.as_str());
    let whose = user::by_email(conn, address).await?.filter(|user| user.agency_id == agency);
    let (readers, data) = match whose.filter(|user| user.role() != Role::Partner) {
        Some(user) => {
            let leader = user::supervisor_of(conn, &user).await?;
            let readers = match leader {
                Some(leader) => vec![leader.id],
                None => administrators(side, agency, &user.id).await?,
            };
            let data =
                json!({"name": user.display_name, "reference": null, "case_reference": null, "link": public_url});
            (readers, data)
        }
        None => of_a_partner(side, row, public_url).await?,
    };
    for reader in readers {
        letters::address_refused(conn, side.now(), agency, &reader, data.clone()).await?;
    }
    Ok(())
}

async fn of_a_partner(side: &Side, row: &Claimed, public_url: &str) -> Result<(Vec<String>, serde_json::Value)> {
    let facts = match &row.case_id {
        Some(case) => load::case(&**side, case, side.now()).await?,
        None => None,
    };
    let Some(facts) = facts else {
        let data = json!({"name": null, "reference": null, "case_reference": null, "link": public_url});
        return Ok((administrators(side, &row.agency_id, "").await?, data));
    };
    let holder = facts.holder(Audience::Supervisor, facts.case_zone().day(side.now())).0;
    let readers = match holder {
        Some(holder) => vec![holder.user_id.clone()],
        None => administrators(side, &row.agency_id, "").await?,
    };
    if facts.agency.counts_only {
        return Ok((readers, json!({"name": null, "reference": null, "case_reference": null, "link": public_url})));
    }
    let subject = row.subject_id.as_deref().unwrap_or_default();
    let referral = facts.referrals.iter().find(|referral| referral.id == subject);
    let reference = &facts.reference;
    let kind = row.subject_kind.as_deref().unwrap_or("case");
    let data = json!({
        "name": null,
        "reference": referral.map(|referral| &referral.reference),
        "case_reference": facts.reference,
        "link": format!("{public_url}/#/{kind}s/{subject}?reference={reference}"),
    });
    Ok((readers, data))
}

/// Everybody who manages the agency, but for the one whose own address it is.
async fn administrators(side: &Side, agency: &str, but: &str) -> Result<Vec<String>> {
    let text = "select id from users where agency_id = $1 and active and role = $2 and id <> $3 order by id limit 20";
    let bound = vec![agency.into(), Role::Administrator.as_str().into(), but.into()];
    entities::sql::all(&**side, text, bound).await?.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}
