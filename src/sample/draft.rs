//! A sample case in the making: every row that hand-made and generated cases have in common.

use entities::casework::{case, case_assignment, case_party, contact, goal, goal_rating, note, person};
use entities::clock::{Day, Instant};
use entities::doc::Doc;
use entities::partners::{referral, referral_event};
use entities::{Result, Store};
use serde_json::json;

use super::bundle::Bundle;
use super::chance::Chance;
use super::scene::{Scene, Worker};
use super::texts::{self, GoalText};
use super::words;

/// A case in the making.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    /// Where.
    pub(crate) scene: &'a Scene,
    /// Who has it.
    pub(crate) worker: &'a Worker,
    /// Its own stream.
    pub(crate) chance: Chance,
    /// The case row, stored last of all preparations.
    pub(crate) case: case::Model,
    /// Ids of its persons, the client first.
    pub(crate) persons: Vec<String>,
    pub(crate) bundle: Bundle,
}

/// Who a person is to a case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) role: &'static str,
    pub(crate) relation: Option<&'static str>,
    pub(crate) given: &'static str,
    pub(crate) pronouns: &'static str,
    pub(crate) family: &'static str,
    /// Years of age.
    pub(crate) age: i64,
}

/// Where a goal stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    /// First day, counted from today.
    pub(crate) starts: i64,
    /// Day it is due, counted from today.
    pub(crate) due: i64,
    pub(crate) lifecycle: &'static str,
    pub(crate) achievement: &'static str,
    /// Attainment level at the start.
    pub(crate) baseline: i64,
}

impl<'a> Draft<'a> {
    /// A case opened so many days before today.
    pub(crate) fn open(scene: &'a Scene, worker: &'a Worker, mut chance: Chance, opened: i64, unit: &str) -> Draft<'a> {
        let case = case::Model {
            id: chance.id(scene.at(-opened, 9, 0)),
            reference: chance.reference(),
            unit: unit.into(),
            practice_model: Some("solution_based".into()),
            setting: Some("social_work_agency".into()),
            stage: "engagement_assessment".into(),
            status: "active".into(),
            episode_no: 1,
            intensity: "medium".into(),
            risk: "none".into(),
            opened_on: Some(scene.day(-opened)),
            team_id: worker.team_id.clone(),
            ..Default::default()
        };
        Draft { scene, worker, chance, case, persons: Vec::new(), bundle: Bundle::default() }
    }

    /// Assigns the case to its worker, from the day it was opened; `until` ends it.
    pub(crate) fn assign(&mut self, opened: i64, until: Option<i64>) -> Result<()> {
        let id = self.chance.id(self.scene.at(-opened, 9, 1));
        self.bundle.add::<case_assignment::Entity>(&case_assignment::Model {
            id,
            case_id: self.case.id.clone(),
            user_id: self.worker.id.clone(),
            role: "primary".into(),
            from_ts: self.scene.at(-opened, 9, 0),
            to_ts: until.map(|day| self.scene.at(-day, 17, 0)),
            reason: Some("Took the first call".into()),
            ..Default::default()
        })
    }

    /// Adds a person with a part in the case, and answers the person's id.
    pub(crate) fn person(&mut self, part: Part, joined: i64) -> Result<String> {
        let at = self.scene.at(-joined, 9, 2);
        let id = self.chance.id(at);
        let year = chrono::Datelike::year(&self.scene.today.0) - i32::try_from(part.age).unwrap_or(30);
        let birth = match self.chance.int(0, 9) {
            0 => year.to_string(),
            1 => format!("{year}-{:02}", self.chance.int(1, 12)),
            _ => format!("{year}-{:02}-{:02}", self.chance.int(1, 12), self.chance.int(1, 28)),
        };
        let (street, town) = words::street(&mut self.chance);
        let grown = part.age >= 16;
        let reach = json!([{"kind": "phone", "value": words::phone(&mut self.chance), "ok_voicemail": self.chance.yes(0.6),
            "ok_text": true, "primary": true, "shared_device": self.chance.yes(0.1)}]);
        self.bundle.add::<person::Entity>(&person::Model {
            id: id.clone(),
            given_name: Some(part.given.into()),
            family_name: Some(part.family.into()),
            pronouns: Some(part.pronouns.into()),
            birth_estimated: birth.len() == 4,
            birth: Some(birth),
            language: Some("en".into()),
            contact_points: grown.then_some(Doc(reach)),
            addresses: Some(Doc(json!([{"street": street, "town": town, "kind": "home"}]))),
            ..Default::default()
        })?;
        let party = self.chance.id(at);
        self.bundle.add::<case_party::Entity>(&case_party::Model {
            id: party,
            case_id: self.case.id.clone(),
            person_id: id.clone(),
            role: part.role.into(),
            relation: part.relation.map(str::to_owned),
            joined_on: Some(self.scene.day(-joined)),
            may_attend_sessions: grown,
            ..Default::default()
        })?;
        self.persons.push(id.clone());
        Ok(id)
    }

    /// A goal as it stands at the end of the first commit.
    pub(crate) fn goal(&mut self, text: &GoalText, level: &str, course: Course) -> Result<String> {
        let agreed = course.lifecycle != "draft" && course.lifecycle != "proposed";
        let (scene, starts) = (self.scene, course.starts);
        let id = self.chance.id(scene.at(starts, 10, 0));
        let day = scene.day(starts);
        self.bundle.add::<goal::Entity>(&goal::Model {
            id: id.clone(),
            case_id: self.case.id.clone(),
            person_id: if level == "individual" { self.persons.first().cloned() } else { None },
            level: level.into(),
            statement: Some(text.statement.into()),
            measure: Some(text.measure.into()),
            why_it_matters: Some(text.why.into()),
            confidence: Some(self.chance.int(4, 9)),
            life_area: Some(text.life_area.into()),
            strengths: Some(Doc(json!([text.strength]))),
            weight_importance: Some(self.chance.int(1, 4)),
            weight_difficulty: Some(self.chance.int(1, 3)),
            gas_text: Some(Doc(text.gas())),
            gas_baseline: Some(course.baseline),
            starts_on: Some(day),
            due_on: Some(scene.day(course.due)),
            lifecycle: course.lifecycle.into(),
            achievement: course.achievement.into(),
            outcome_reason: (course.achievement == "not_achieved")
                .then(|| "Not this time. I know what got in the way.".into()),
            client_agreement: agreed
                .then(|| Doc(json!({"by": "client", "on": day.to_string(), "how": "spoken", "words": text.words}))),
            locked_at: agreed.then(|| scene.at(starts, 11, 0)),
            completed_at: (course.lifecycle == "completed").then(|| scene.at(course.due.min(-1), 15, 0)),
            ..Default::default()
        })?;
        Ok(id)
    }

    /// A rating of a goal.
    pub(crate) fn rating(
        &mut self,
        goal_id: &str,
        on: i64,
        level: i64,
        contact_id: Option<String>,
    ) -> goal_rating::Model {
        let id = self.chance.id(self.scene.at(on, 12, 0));
        goal_rating::Model {
            id,
            case_id: self.case.id.clone(),
            goal_id: goal_id.into(),
            rated_on: self.scene.day(on),
            level: Some(level as f64),
            rater: self.chance.weighted(&[(0.6, "joint"), (0.25, "client"), (0.15, "worker")]).into(),
            evidence: Some(texts::evidence(level).into()),
            contact_id,
            ..Default::default()
        }
    }

    /// A contact that is over, or, with a status of those still to come, one that is planned.
    pub(crate) fn contact(&mut self, on: i64, status: &str, goals: &[String]) -> contact::Model {
        let (kind, method, place) = self.chance.weighted(&[
            (35.0, ("visit", "in_person", "home")),
            (30.0, ("call", "phone", "remote")),
            (13.0, ("session", "in_person", "office")),
            (10.0, ("visit", "in_person", "school")),
            (5.0, ("video", "video", "remote")),
            (7.0, ("text", "text", "remote")),
        ]);
        let hour = u32::try_from(self.chance.int(9, 17)).unwrap_or(9);
        let start = self.scene.at(on, hour, self.chance.pick(&[0, 15, 30, 45]));
        let minutes = self.chance.pick(&[20, 30, 45, 60, 90]);
        let held = status == "completed";
        contact::Model {
            id: self.chance.id(start),
            case_id: self.case.id.clone(),
            kind: kind.into(),
            method: Some(method.into()),
            purposes: Some(Doc(json!([self.chance.pick(&[
                "counselling",
                "coordination",
                "skill_building",
                "review"
            ])]))),
            planned_start: Some(start),
            planned_minutes: Some(minutes),
            status: status.into(),
            started_at: held.then_some(start),
            ended_at: held.then(|| start.plus_secs(minutes * 60)),
            occurred_at: (status == "no_show" || status == "attempted").then_some(start),
            place: Some(place.into()),
            conducted_by: Some(Doc(json!([self.worker.id]))),
            parties_present: held.then(|| {
                Doc(json!(
                    self.persons
                        .iter()
                        .take(3)
                        .map(|id| json!({"person_id": id, "attended": true}))
                        .collect::<Vec<_>>()
                ))
            }),
            goals_worked: held.then(|| Doc(json!(goals))),
            travel_minutes: (place != "remote" && held).then(|| self.chance.int(5, 45)),
            no_show_seq: i64::from(status == "no_show"),
            ..Default::default()
        }
    }

    /// A note of a contact, signed unless told otherwise.
    pub(crate) fn note(&mut self, contact: &contact::Model, visibility: &str, status: &str) -> note::Model {
        let happened = contact.ended_at.or(contact.occurred_at).or(contact.planned_start);
        let wait = self.chance.weighted(&[(60.0, 2), (25.0, 24), (10.0, 60), (5.0, 120)]);
        let typed = happened.map(|at| at.plus_secs(wait * 3600).min(self.scene.now));
        let mut row = self.plain_note("progress", happened.unwrap_or(self.scene.now), visibility, status);
        row.contact_id = Some(contact.id.clone());
        row.recorded_at = typed;
        row.signed_at = typed.filter(|_| status == "signed");
        row.body = Some(texts::note(&mut self.chance));
        row.client_words = texts::client_words(&mut self.chance);
        row
    }

    /// A note without a contact.
    pub(crate) fn plain_note(&mut self, kind: &str, at: Instant, visibility: &str, status: &str) -> note::Model {
        note::Model {
            id: self.chance.id(at),
            case_id: self.case.id.clone(),
            kind: kind.into(),
            occurred_at: Some(at),
            recorded_at: Some(at),
            author_id: Some(self.worker.id.clone()),
            visibility: visibility.into(),
            status: status.into(),
            signed_at: (status == "signed").then_some(at),
            ..Default::default()
        }
    }

    /// A referral that was requested so many days before today, and its first event.
    pub(crate) fn referral(&mut self, partner: usize, sent: i64, reason: &str) -> referral::Model {
        let (org, need) = self.scene.partners[partner % self.scene.partners.len()].clone();
        let sent_at = self.scene.at(-sent, 11, 20);
        let on: Day = self.scene.day(-sent);
        referral::Model {
            id: self.chance.id(sent_at),
            case_id: self.case.id.clone(),
            person_id: self.persons.first().cloned(),
            partner_org_id: Some(org),
            reference: self.chance.reference(),
            need_category: Some(need),
            priority: "routine".into(),
            reason: Some(reason.into()),
            packet_fields: Some(Doc(json!(["need_category", "reason"]))),
            client_choice: Some("Looked at three places together; this one is on my bus line.".into()),
            client_consent: Some(Doc(json!({
                "by": "client", "on": on.to_string(), "how": "signed", "until": on.plus_days(180).to_string()
            }))),
            status: "requested".into(),
            sent_at: Some(sent_at),
            due_response_at: Some(self.scene.at(7 - sent, 17, 0)),
            ..Default::default()
        }
    }

    /// What happened to a referral: states with their instants, in order.
    pub(crate) fn events(
        &mut self,
        referral: &referral::Model,
        states: &[(&'static str, Instant)],
    ) -> Vec<referral_event::Model> {
        let mut from = Some("draft".to_owned());
        let mut events = Vec::with_capacity(states.len());
        for (to, at) in states {
            let by_partner = !matches!(*to, "requested" | "cancelled");
            events.push(referral_event::Model {
                id: self.chance.id(*at),
                case_id: self.case.id.clone(),
                referral_id: referral.id.clone(),
                from_status: from.replace((*to).to_owned()),
                to_status: (*to).into(),
                at: *at,
                by_user_id: (!by_partner).then(|| self.worker.id.clone()),
                by_role: if by_partner { "partner" } else { "caseworker" }.into(),
                via: by_partner.then(|| "portal".into()),
                ..Default::default()
            });
        }
        events
    }

    /// Puts the case row in and stores all that is not late.
    pub(crate) async fn store(&mut self, store: &Store, at: Instant) -> Result<usize> {
        self.case.last_contact_at = self.bundle.last_end();
        self.bundle.add::<case::Entity>(&self.case)?;
        self.bundle.store(store, &self.worker.actor(self.scene), at).await
    }

    /// Stores what happened lately.
    pub(crate) async fn store_late(self, store: &Store, at: Instant) -> Result<usize> {
        let actor = self.worker.actor(self.scene);
        self.bundle.store_late(store, &actor, at).await
    }
}
