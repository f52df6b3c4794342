//! The two sample agencies of `fieldstone demo`, with the accounts that the documentation names.

use chrono::{Datelike, Timelike};
use entities::doc::Doc;
use entities::people::{agency, holiday};
use entities::{Error, Instant, Result, Role, Store};
use serde_json::json;

use super::chance::Chance;
use super::hand::CUT;
use super::riverbend;
use super::scene::{Scene, Worker};
use super::staff::{self, NewUser};

/// The password of every demo account.
pub(crate) const PASSWORD: &str = "fieldstone-demo";
/// The accounts, with what each of them is there for.
pub(crate) const ACCOUNTS: &[(&str, &str)] = &[
    ("ana@demo.example", "caseworker, team North, 8 cases"),
    ("ben@demo.example", "caseworker, team North, 6 cases"),
    ("sam@demo.example", "supervisor of team North"),
    ("cleo@demo.example", "caseworker, team South, 6 cases"),
    ("sol@demo.example", "supervisor of team South"),
    ("ada@demo.example", "administrator: manages, reads no case"),
    ("pat@partner.example", "partner, Harbor Food Bank"),
    ("omar@other.example", "caseworker of another agency, Hillside Outreach"),
];

/// Makes both agencies and their cases. The store's clock must be one that can be set; it is left
/// at `now`. `hash` is the password's.
pub(crate) async fn fill(store: &Store, now: Instant, hash: &str) -> Result<()> {
    let chance = Chance::new(1);
    riverbend_agency(store, now, chance.fork(1), hash).await?;
    hillside(store, now, chance.fork(2), hash).await?;
    store.clock().set(now);
    Ok(())
}

/// An agency as the demo has it: no quiet hours, so that mail can be read at any hour at which
/// somebody tries it, and today counts as a working day even when it is a Sunday.
fn open_today(name: &str, tz: &str, locale: &str, now: Instant) -> agency::Model {
    let model = agency::Model::new(name, tz, &entities::Clock::manual(now));
    let weekday =
        entities::workflow::zone::Zone::named(tz).map_or(1, |zone| zone.day(now).0.weekday().number_from_monday());
    let mut days = vec![1, 2, 3, 4, 5];
    if !days.contains(&weekday) {
        days.push(weekday);
    }
    agency::Model { locale: locale.into(), quiet_from: None, quiet_to: None, work_days: Doc(json!(days)), ..model }
}

/// The hour on the agency's walls: reminders of today come at it, so they have just come.
fn this_hour(scene: &Scene) -> i64 {
    i64::from(scene.zone.wall(scene.now).hour())
}

async fn riverbend_agency(store: &Store, now: Instant, mut chance: Chance, hash: &str) -> Result<()> {
    let agency = open_today("Riverbend Family Services", "America/New_York", "en-US", now);
    let mut scene = staff::agency(store, agency, now).await?;
    staff::partners(store, &mut scene, &mut chance, 9).await?;
    let hour = this_hour(&scene);
    let mut write = staff::operate(store, &scene).await?;
    let at = write.now();
    let north = staff::team(&mut write, chance.id(at), "North").await?;
    let south = staff::team(&mut write, chance.id(at), "South").await?;
    let person = |name: &str, address: &str, role, profession, team: Option<&str>| NewUser {
        name: name.into(),
        email: address.into(),
        role,
        profession,
        team_id: team.map(str::to_owned),
        partner_org_id: None,
        hour,
    };
    let (n, s) = (Some(north.id.as_str()), Some(south.id.as_str()));
    let new = [
        person("Ana Alder", "ana@demo.example", Role::Caseworker, "social worker", n),
        person("Ben Birch", "ben@demo.example", Role::Caseworker, "counsellor", n),
        person("Cleo Cypress", "cleo@demo.example", Role::Caseworker, "case manager", s),
        person("Sam Sorrel", "sam@demo.example", Role::Supervisor, "social worker", n),
        person("Sol Sycamore", "sol@demo.example", Role::Supervisor, "psychologist", s),
        person("Ada Aspen", "ada@demo.example", Role::Administrator, "other", None),
        NewUser {
            partner_org_id: scene.partners.first().map(|(id, _)| id.clone()),
            ..person("Pat Poplar", "pat@partner.example", Role::Partner, "other", None)
        },
    ];
    let mut staff: Vec<Worker> = Vec::new();
    for user in new {
        staff.push(staff::user(&mut write, chance.id(at), user, Some(hash)).await?);
    }
    staff::lead(&mut write, north, &staff[3]).await?;
    staff::lead(&mut write, south, &staff[4]).await?;
    holiday::create(&mut write, scene.day(9), "Founders' Day").await?;
    write.commit().await?;
    digests_begin(store, &scene).await?;
    cases(store, &scene, &staff, riverbend::CASES, &chance).await
}

/// A worker ran two weeks ago and not since: so this morning's digest is due as soon as one runs.
async fn digests_begin(store: &Store, scene: &Scene) -> Result<()> {
    store.clock().set(scene.at(CUT, 12, 0));
    let nowhere = worker::Mailer::new(worker::Route::None, "Fieldstone <fieldstone@demo.example>", "http://localhost")
        .map_err(|error| Error::Internal(error.to_string()))?;
    worker::drain_once(store, &nowhere, None).await.map(drop)
}

async fn hillside(store: &Store, now: Instant, mut chance: Chance, hash: &str) -> Result<()> {
    let agency = open_today("Hillside Outreach", "Europe/London", "en-GB", now);
    let mut scene = staff::agency(store, agency, now).await?;
    staff::partners(store, &mut scene, &mut chance, 2).await?;
    let mut write = staff::operate(store, &scene).await?;
    let at = write.now();
    let team = staff::team(&mut write, chance.id(at), "Street").await?;
    let omar = NewUser {
        name: "Omar Oak".into(),
        email: "omar@other.example".into(),
        role: Role::Caseworker,
        profession: "social worker",
        team_id: Some(team.id),
        partner_org_id: None,
        hour: this_hour(&scene),
    };
    let omar = staff::user(&mut write, chance.id(at), omar, Some(hash)).await?;
    write.commit().await?;
    cases(store, &scene, &[omar], riverbend::HILLSIDE, &chance).await
}

async fn cases(
    store: &Store,
    scene: &Scene,
    staff: &[Worker],
    cases: &[super::hand::Hand],
    chance: &Chance,
) -> Result<()> {
    for (number, case) in (0..).zip(cases) {
        case.store(store, scene, staff, chance.fork(100 + u64::try_from(number).unwrap_or(0)), number).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use entities::{Clock, Pool, sql};

    #[tokio::test]
    async fn the_sample_agencies_hold_every_stage_and_one_case_ready_to_close() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/demo.db", folder.path().display());
        let now = Instant::parse("2027-03-14T03:10:00Z").unwrap();
        let store = Store::open(&url, Pool::default(), Clock::manual(now)).await.unwrap();
        migrations::up(store.writer()).await.unwrap();
        fill(&store, now, "no hash").await.unwrap();
        let count = async |text: &str| -> i64 {
            sql::one(store.connection(), text, vec![]).await.unwrap().unwrap().try_get_by_index(0).unwrap()
        };
        assert_eq!(count("select count(*) from cases").await, 25);
        assert_eq!(count("select count(distinct stage) from cases").await, 6);
        assert_eq!(count("select count(*) from users").await, 8);
        assert_eq!(ACCOUNTS.len(), 8);
        let ready = "select count(*) from cases c where status = 'active' \
                     and exists (select 1 from goals g where g.case_id = c.id and g.lifecycle = 'completed') \
                     and not exists (select 1 from goals g where g.case_id = c.id \
                     and g.lifecycle not in ('completed', 'withdrawn', 'superseded'))";
        assert_eq!(count(ready).await, 1);
        assert!(count("select count(*) from referrals where status = 'requested'").await >= 6);
        let day = "'2027-03-13'";
        assert!(count(&format!("select count(*) from goals where lifecycle = 'active' and due_on < {day}")).await >= 4);
    }
}
