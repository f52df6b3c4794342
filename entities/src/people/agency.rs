//! An agency: the tenant, and what its calendar and its mails go by.

use std::str::FromStr;

use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue::Set, ConnectionTrait, IntoActiveModel};
use serde_json::json;

use super::name::is_name;
use crate::access::Actor;
use crate::clock::{Clock, Instant};
use crate::doc::Doc;
use crate::error::{Error, Fault, Result};
use crate::store::Store;
use crate::workflow::timers;
use crate::write::{Write, refuse_leap};
use crate::{audit, sql};

/// Columns of an agency.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "agencies")]
pub struct Model {
    /// Row id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Name, as in the mails it sends.
    pub name: String,
    /// IANA zone that its dates and hours are in.
    pub tz: String,
    /// Language and region, such as `en-US`.
    pub locale: String,
    /// Working days: a list of numbers, 1 for Monday to 7 for Sunday.
    pub work_days: Doc,
    /// Local time `HH:MM` from which no mail goes out.
    pub quiet_from: Option<String>,
    /// Local time `HH:MM` until which no mail goes out.
    pub quiet_to: Option<String>,
    /// Intervals of rules and weights that the agency changed.
    pub settings: Doc,
    /// What a mail may say of a case: 0 counts only, 1 neutral references.
    pub email_policy: i64,
    /// Years that closed cases are kept.
    pub retention_years: i64,
    /// Rises with every change; the ETag.
    pub rev: i64,
    /// When it was made.
    pub created_at: Instant,
    /// When it was changed last.
    pub updated_at: Instant,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// A new agency with the usual settings. Its id is minted by the clock.
    pub fn new(name: &str, tz: &str, clock: &Clock) -> Model {
        let now = clock.now();
        Model {
            id: clock.mint(),
            name: name.into(),
            tz: tz.into(),
            locale: "en-US".into(),
            work_days: Doc(json!([1, 2, 3, 4, 5])),
            quiet_from: Some("20:00".into()),
            quiet_to: Some("07:00".into()),
            settings: Doc(json!({})),
            email_policy: 1,
            retention_years: 7,
            rev: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// What is wrong with it, each fault under its column's name.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if !is_name(&self.name) {
            faults.push(Fault::field("name", "wrong_value", "must be one line and not blank"));
        }
        if !is_zone(&self.tz) {
            faults.push(Fault::field("tz", "unknown_zone", "must be an IANA time zone such as Europe/London"));
        }
        let locale = self
            .locale
            .split('-')
            .all(|part| (2..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if !locale {
            faults.push(Fault::field("locale", "wrong_value", "must be a language tag such as en-US"));
        }
        let days = self.work_days.0.as_array().filter(|days| {
            let known = |(at, day): (usize, &serde_json::Value)| {
                matches!(day.as_u64(), Some(1..=7)) && !days[..at].contains(day)
            };
            !days.is_empty() && days.iter().enumerate().all(known)
        });
        if days.is_none() {
            faults.push(Fault::field(
                "work_days",
                "wrong_value",
                "must list numbers from 1, Monday, to 7, Sunday, each once",
            ));
        }
        for (name, time) in [("quiet_from", &self.quiet_from), ("quiet_to", &self.quiet_to)] {
            if time.as_deref().is_some_and(|time| !is_time(time)) {
                faults.push(Fault::field(name, "wrong_value", "must be a local time HH:MM"));
            }
        }
        if self.quiet_from.is_some() != self.quiet_to.is_some() {
            faults.push(Fault::field("quiet_to", "required", "quiet hours need both ends or none"));
        }
        if !self.settings.0.is_object() || self.settings.to_string().len() > 65_536 {
            faults.push(Fault::field("settings", "wrong_value", "must be an object of at most 64 KiB"));
        }
        faults
    }
}

/// True for the name of a time zone.
pub fn is_zone(name: &str) -> bool {
    name.contains('/') && jiff::tz::TimeZone::get(name).is_ok() || name == "UTC"
}

fn is_time(text: &str) -> bool {
    text.len() == 5 && chrono::NaiveTime::from_str(&format!("{text}:00")).is_ok()
}

/// Makes an agency and its clock. From then on its write door opens. Fails with `Busy` where the present has leapt.
pub async fn create(store: &Store, agency: Model) -> Result<Model> {
    let faults = agency.faults();
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    let side = store.side().await?;
    refuse_leap(&*side, side.now()).await?;
    agency.clone().into_active_model().insert(&*side).await?;
    sql::exec(
        &*side,
        "insert into sync_clock (agency_id, seq, purged_below, epoch) \
         select $1, 0, 0, coalesce(max(epoch), 1) from sync_epoch",
        vec![agency.id.as_str().into()],
    )
    .await?;
    // Its trail begins with its making, which stands before all commits: the clock has given out no number yet.
    let objects = audit::object("agencies", &agency.id);
    let made = audit::Event::of(&Actor::system(&agency.id), 0, side.now(), "agency_created", String::new(), objects);
    audit::append(&*side, "", made).await?;
    side.commit().await?;
    Ok(agency)
}

/// The agency with this id.
pub async fn by_id(conn: &impl ConnectionTrait, id: &str) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(conn).await?)
}

/// Every agency of the installation, by id.
pub async fn all(conn: &impl ConnectionTrait) -> Result<Vec<Model>> {
    use sea_orm::QueryOrder;
    Ok(Entity::find().order_by_asc(Column::Id).all(conn).await?)
}

/// Stores changed settings. The cases of the agency are planned again, since deadlines count in
/// its days and hours.
pub async fn change(write: &mut Write, before: &Model, after: Model) -> Result<Model> {
    let mut faults = after.faults();
    // What was stored under other rules is no reason to refuse another change.
    faults.retain(|fault| match fault.pointer.as_str() {
        "/work_days" => before.work_days != after.work_days,
        "/name" => before.name != after.name,
        _ => true,
    });
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    let after = Model { rev: after.rev + 1, updated_at: write.now(), ..after };
    let mut row = after.clone().into_active_model().reset_all();
    row.created_at = Set(after.created_at);
    row.update(write.conn()).await?;
    write.note("agency_changed", audit::object("agencies", &after.id));
    replan(write).await?;
    Ok(after)
}

/// More cases than this are left to a worker, so that nobody waits for the agency's lock meanwhile.
pub(super) const AT_ONCE: usize = 200;

/// Asks for every open case of the writer's agency to be planned again.
pub(crate) async fn replan(write: &mut Write) -> Result<()> {
    let agency = write.actor().agency_id.clone();
    let rows = sql::all(
        write.conn(),
        "select id from cases where agency_id = $1 and deleted_at is null and status not in ('closed', 'entered_in_error')",
        vec![agency.into()],
    )
    .await?;
    if rows.len() > AT_ONCE {
        return timers::mark_agency(write, "agency").await;
    }
    for row in rows {
        write.replan(&row.try_get_by_index::<String>(0)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agency_names_all_that_is_wrong_with_it() {
        let clock = Clock::manual(Instant(1_800_000_000_000));
        let good = Model::new("Riverbend", "America/New_York", &clock);
        assert_eq!(good.faults(), []);
        let bad = Model {
            name: "River\nbend".into(),
            tz: "Mars/Olympus".into(),
            work_days: Doc(json!([0, 8])),
            quiet_from: Some("25:00".into()),
            quiet_to: None,
            ..good
        };
        let named: Vec<_> = bad.faults().into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(named, ["/name", "/tz", "/work_days", "/quiet_from", "/quiet_to"]);
    }
}
