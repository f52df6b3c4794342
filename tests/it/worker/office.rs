//! Riverbend at work: cases, goals, contacts and referrals made through the write door, a worker
//! that does what is due, and the postbox it sends to.

use entities::Doc;
use entities::access::{Actor, Role};
use entities::casework::{case, case_assignment, contact, goal};
use entities::clock::{Day, Instant};
use entities::partners::{organization, referral};
use entities::people::{agency, user};
use entities::registry::Synced;
use entities::store::Store;
use entities::write::Write;
use worker::{Done, Mailer};

use crate::support::{Mail, Postbox, World};

pub const ANA: &str = "ana@demo.example";
pub const BEN: &str = "ben@demo.example";
pub const SAM: &str = "sam@demo.example";
pub const PAT: &str = "pat@partner.example";

pub struct Office {
    pub world: World,
    pub post: Postbox,
    pub mailer: Mailer,
}

pub fn day(text: &str) -> Day {
    text.parse().expect("a day")
}

pub fn at(text: &str) -> Instant {
    Instant::parse(text).expect("an instant")
}

/// A client's agreement to share, good for a year.
pub fn consent() -> Doc {
    Doc(serde_json::json!({"by": "client", "on": "2027-03-01", "how": "signed", "until": "2028-03-01"}))
}

pub fn mailer(url: &str) -> Mailer {
    Mailer::to_server(Some(url), "Fieldstone <desk@riverbend.example>", "https://desk.riverbend.example")
        .expect("a mailer")
}

impl Office {
    /// Opens with no quiet hours, so that instants in tests are those of the rules alone.
    pub async fn open(world: World) -> Office {
        let post = Postbox::open().await;
        let mailer = mailer(&post.url());
        let office = Office { world, post, mailer };
        let mut write = office.write().await;
        let riverbend = agency::by_id(write.conn(), &office.world.riverbend).await.expect("agencies");
        let riverbend = riverbend.expect("Riverbend");
        let loud = agency::Model { quiet_from: None, quiet_to: None, ..riverbend.clone() };
        agency::change(&mut write, &riverbend, loud).await.expect("no quiet hours");
        write.commit().await.expect("a commit");
        office
    }

    pub fn store(&self) -> &Store {
        &self.world.store
    }

    pub async fn write(&self) -> Write {
        self.store().write(&Actor::system(&self.world.riverbend)).await.expect("the door")
    }

    /// An active case of the caseworker with this address.
    pub async fn case_of(&self, email: &str) -> String {
        let user_id = self.world.id_of(email).await;
        let mut write = self.write().await;
        let owner = user::by_id(write.conn(), &self.world.riverbend, &user_id).await.expect("users").expect("a user");
        let row = case::Model {
            unit: "individual".into(),
            stage: "goal_setting".into(),
            status: "active".into(),
            intensity: "medium".into(),
            risk: "none".into(),
            episode_no: 1,
            team_id: owner.team_id,
            summary: Some("CANARY-SUMMARY".into()),
            ..case::Model::default()
        };
        let case = write.create::<case::Entity>(row).await.expect("a case").id;
        assign(&mut write, &case, &user_id).await;
        write.commit().await.expect("a commit");
        case
    }

    /// Ends the open primary assignment and starts one for the other.
    pub async fn reassign(&self, case: &str, email: &str) {
        let user_id = self.world.id_of(email).await;
        let mut write = self.write().await;
        let text = "select id from case_assignments where case_id = $1 and to_ts is null";
        for row in entities::sql::all(write.conn(), text, vec![case.into()]).await.expect("assignments") {
            let id: String = row.try_get_by_index(0).expect("an id");
            let before = write.load::<case_assignment::Entity>(&id).await.expect("a row").expect("it is there");
            let after = case_assignment::Model { to_ts: Some(write.now()), ..before.clone() };
            write.change::<case_assignment::Entity>(&before, after).await.expect("it ends");
        }
        assign(&mut write, case, &user_id).await;
        write.commit().await.expect("a commit");
    }

    /// Lets the other cover the case from now on.
    pub async fn covers(&self, case: &str, email: &str) {
        let user_id = self.world.id_of(email).await;
        let mut write = self.write().await;
        has(&mut write, case, &user_id, "covering").await;
        write.commit().await.expect("a commit");
    }

    /// An active goal with a due day, and a secret in every text.
    pub async fn goal(&self, case: &str, due: &str) -> String {
        let row = goal::Model {
            case_id: case.into(),
            level: "individual".into(),
            statement: Some("CANARY-STATEMENT to be found in no mail".into()),
            why_it_matters: Some("CANARY-WHY".into()),
            need_category: Some("CANARY-NEED".into()),
            lifecycle: "active".into(),
            achievement: "in_progress".into(),
            due_on: Some(day(due)),
            ..goal::Model::default()
        };
        self.create::<goal::Entity>(row, |row| &row.id).await
    }

    pub async fn contact(&self, row: contact::Model) -> String {
        self.create::<contact::Entity>(row, |row| &row.id).await
    }

    /// A requested referral to Harbor Food Bank, whose user is Pat.
    pub async fn referral(&self, case: &str) -> String {
        self.referral_of(case, "routine").await
    }

    /// The same of another priority.
    pub async fn referral_of(&self, case: &str, priority: &str) -> String {
        let org = self.harbor().await;
        self.referral_to(case, org, priority).await
    }

    /// The same to a partner organisation of the test's own.
    pub async fn referral_to(&self, case: &str, org: String, priority: &str) -> String {
        let row = referral::Model {
            case_id: case.into(),
            partner_org_id: Some(org),
            priority: priority.into(),
            status: "requested".into(),
            reason: Some("CANARY-REASON".into()),
            need_category: Some("CANARY-NEED".into()),
            client_consent: Some(consent()),
            sent_at: Some(self.world.clock.now()),
            ..referral::Model::default()
        };
        self.create::<referral::Entity>(row, |row| &row.id).await
    }

    async fn harbor(&self) -> String {
        let known = "select id from organizations where name = 'Harbor Food Bank'";
        if let Some(org) = self.asks(known, vec![]).await.pop() {
            return org;
        }
        let row = organization::Model {
            name: "Harbor Food Bank".into(),
            email: Some("office@harbor.example".into()),
            status: "active".into(),
            ..organization::Model::default()
        };
        let org = self.create::<organization::Entity>(row, |row| &row.id).await;
        let mut write = self.write().await;
        let pat = user::Model { partner_org_id: Some(org.clone()), ..user::Model::new("Pat Park", PAT, Role::Partner) };
        user::create(&mut write, pat).await.expect("Pat");
        write.commit().await.expect("a commit");
        org
    }

    pub async fn create<E: Synced>(&self, row: E::Model, id: fn(&E::Model) -> &String) -> String {
        let mut write = self.write().await;
        let row = write.create::<E>(row).await.expect("a row");
        write.commit().await.expect("a commit");
        id(&row).clone()
    }

    pub async fn change<E: Synced>(&self, id: &str, alter: impl FnOnce(&mut E::Model)) {
        let mut write = self.write().await;
        let before = write.load::<E>(id).await.expect("a row").expect("it is there");
        let mut after = before.clone();
        alter(&mut after);
        write.change::<E>(&before, after).await.expect("a change");
        write.commit().await.expect("a commit");
    }

    /// Sets the clock and lets the worker do what is due then.
    pub async fn works_at(&self, instant: &str) -> Done {
        self.world.set_clock(instant);
        self.works().await
    }

    pub async fn works(&self) -> Done {
        worker::drain_once(self.store(), &self.mailer, None).await.expect("the worker works")
    }

    /// Sets the clock to each instant in turn and tells who got what since: `address: subject`.
    pub async fn told_at(&self, instants: &[&str]) -> Vec<String> {
        let mut told = Vec::new();
        for instant in instants {
            let before = self.post.mails().len();
            self.works_at(instant).await;
            for mail in self.post.mails().into_iter().skip(before) {
                told.push(format!("{} {}: {}", &instant[..10], mail.to, mail.subject));
            }
        }
        told
    }

    pub fn mails_to(&self, address: &str) -> Vec<Mail> {
        self.post.mails_to(address)
    }

    /// One text column of the first row of a query.
    pub async fn asks(&self, text: &str, values: Vec<sea_orm::Value>) -> Vec<String> {
        let rows = entities::sql::all(self.store().connection(), text, values).await.expect("an answer");
        rows.iter().map(|row| row.try_get_by_index::<String>(0).expect("text")).collect()
    }

    /// What of a case is due before a day or month, written as such.
    pub async fn pending_before(&self, case: &str, day: &str) -> Vec<String> {
        let text = "select step from wf_timer where case_id = $1 and state = 'pending' and nominal_local < $2";
        self.asks(text, vec![case.into(), day.into()]).await
    }

    /// When and where the next step of a case is due: `step due nominal zone`.
    pub async fn pending(&self, case: &str) -> Vec<String> {
        let text = "select step || ' ' || nominal_local || ' ' || zone from wf_timer \
                    where case_id = $1 and state = 'pending' order by due_at, step";
        self.asks(text, vec![case.into()]).await
    }
}

async fn assign(write: &mut Write, case: &str, user_id: &str) {
    has(write, case, user_id, "primary").await;
}

async fn has(write: &mut Write, case: &str, user_id: &str, role: &str) {
    let row = case_assignment::Model {
        case_id: case.into(),
        user_id: user_id.into(),
        role: role.into(),
        from_ts: write.now(),
        handover_note: Some("CANARY-HANDOVER".into()),
        ..case_assignment::Model::default()
    };
    write.create::<case_assignment::Entity>(row).await.expect("an assignment");
}
