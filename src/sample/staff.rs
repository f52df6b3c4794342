//! Making agencies, partners, teams and users for sample data, through the same doors as everyone.

use entities::clock::Instant;
use entities::partners::organization;
use entities::people::{agency, team, user};
use entities::workflow::zone::Zone;
use entities::{Actor, Error, Result, Role, Store, Write};

use super::chance::Chance;
use super::scene::{Scene, Worker};
use super::words;

/// The clock on which people and partners were entered: long before the first case.
const DAYS_AGO: i64 = 400;

/// Somebody to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewUser {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) role: Role,
    pub(crate) profession: &'static str,
    pub(crate) team_id: Option<String>,
    pub(crate) partner_org_id: Option<String>,
    /// Local hour at which reminders come.
    pub(crate) hour: i64,
}

/// Makes an agency and what its cases need to know of it. `now` is the present.
pub(crate) async fn agency(store: &Store, agency: agency::Model, now: Instant) -> Result<Scene> {
    let zone = Zone::named(&agency.tz).ok_or_else(|| Error::Internal(format!("no zone {}", agency.tz)))?;
    let today = zone.day(now);
    store.clock().set(now.plus_secs(-DAYS_AGO * 86_400));
    let agency = agency::create(store, agency).await?;
    Ok(Scene { agency_id: agency.id, zone, today, now, partners: Vec::new() })
}

/// Opens the door for the operator, with the clock standing before the first case.
pub(crate) async fn operate(store: &Store, scene: &Scene) -> Result<Write> {
    store.clock().set(scene.now.plus_secs(-DAYS_AGO * 86_400));
    store.write(&Actor::system(&scene.agency_id)).await
}

/// Enters partner organisations from the list of invented ones.
pub(crate) async fn partners(store: &Store, scene: &mut Scene, chance: &mut Chance, count: usize) -> Result<()> {
    let mut write = operate(store, scene).await?;
    for (name, description, needs) in words::PARTNERS.iter().take(count) {
        let (street, town) = words::street(chance);
        let first = name.split(' ').next().unwrap_or("partner").to_lowercase();
        let row = write
            .create::<organization::Entity>(organization::Model {
                id: chance.id(write.now()),
                name: (*name).into(),
                description: Some((*description).into()),
                email: Some(format!("referrals@{first}.example")),
                phone: Some(words::phone(chance)),
                address: Some(format!("{street}, {town}")),
                status: "active".into(),
                assured_on: Some(scene.day(-chance.int(20, 200))),
                ..Default::default()
            })
            .await?;
        scene.partners.push((row.id, needs.first().copied().unwrap_or("other").into()));
    }
    write.commit().await?;
    Ok(())
}

/// Makes a team, not led by anybody yet.
pub(crate) async fn team(write: &mut Write, id: String, name: &str) -> Result<team::Model> {
    team::create(write, team::Model { id, name: name.into(), ..Default::default() }).await
}

/// Puts a supervisor at the head of a team.
pub(crate) async fn lead(write: &mut Write, team: team::Model, supervisor: &Worker) -> Result<()> {
    let after = team::Model { supervisor_user_id: Some(supervisor.id.clone()), ..team.clone() };
    team::change(write, &team, after).await.map(|_| ())
}

/// Makes a user, with the given password hash or unable to sign in.
pub(crate) async fn user(write: &mut Write, id: String, new: NewUser, hash: Option<&str>) -> Result<Worker> {
    let now = write.now();
    let user = user::create(
        write,
        user::Model {
            id,
            profession: Some(new.profession.into()),
            team_id: new.team_id.clone(),
            partner_org_id: new.partner_org_id,
            digest_hour: new.hour,
            password_hash: hash.map(str::to_owned),
            password_set_at: hash.map(|_| now),
            ..user::Model::new(&new.name, &new.email, new.role)
        },
    )
    .await?;
    Ok(Worker { id: user.id, team_id: new.team_id, role: new.role })
}
