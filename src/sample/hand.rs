//! The shape of a hand-made case, and how it becomes rows. The cases themselves are in
//! `riverbend.rs` and `hillside.rs`.
//!
//! What happened up to two weeks ago is stored first, with the clock standing there, and what
//! happened since is stored afterwards. So the rules that look ahead find promises that they had
//! two weeks to arm, and the first mails go out as soon as a worker runs.

use entities::casework::{contact, goal, goal_rating, note};
use entities::clock::Instant;
use entities::doc::Doc;
use entities::partners::{referral, referral_event};
use entities::{Result, Store};
use serde_json::json;

use super::chance::Chance;
use super::draft::{Course, Draft, Part};
use super::scene::{Scene, Worker};
use super::texts;

/// Days before today at which the past ends and what is late begins.
pub(crate) const CUT: i64 = -15;

/// A case written by hand. Days count from today, so that the demo is never out of date.
#[derive(Debug)]
pub(crate) struct Hand {
    /// Which of the scene's workers has it.
    pub(crate) worker: usize,
    /// Days since it was opened.
    pub(crate) opened: i64,
    pub(crate) unit: &'static str,
    pub(crate) stage: &'static str,
    pub(crate) status: &'static str,
    /// Why it has that status, where that needs saying.
    pub(crate) reason: &'static str,
    pub(crate) intensity: &'static str,
    pub(crate) risk: &'static str,
    pub(crate) tags: &'static [&'static str],
    /// In a few sentences, strengths first.
    pub(crate) summary: &'static str,
    pub(crate) people: &'static [Part],
    pub(crate) goals: &'static [HandGoal],
    pub(crate) contacts: &'static [HandContact],
    pub(crate) referrals: &'static [HandReferral],
}

/// A goal: which text, whose, how it went.
#[derive(Debug)]
pub(crate) struct HandGoal {
    pub(crate) text: usize,
    pub(crate) level: &'static str,
    pub(crate) starts: i64,
    pub(crate) due: i64,
    pub(crate) state: State,
    /// Ratings: day and level.
    pub(crate) ratings: &'static [(i64, i64)],
}

/// Where a goal stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum State {
    Draft,
    Proposed,
    Agreed,
    Active,
    /// Completed on that day, achieved or not.
    Done(i64, bool),
    Withdrawn,
}

/// A contact, held or not or still to come.
#[derive(Debug)]
pub(crate) struct HandContact {
    pub(crate) on: i64,
    pub(crate) status: &'static str,
    /// Day by which the next one was promised.
    pub(crate) next: Option<i64>,
    pub(crate) note: Note,
}

/// What was written about a contact.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Note {
    None,
    /// A note made of stock sentences.
    Stock,
    Signed(&'static str),
    /// Only for the author and the supervisors.
    Restricted(&'static str),
    /// Not signed yet.
    Draft(&'static str),
}

/// A referral and its states with the days on which they came about.
#[derive(Debug)]
pub(crate) struct HandReferral {
    pub(crate) partner: usize,
    pub(crate) urgent: bool,
    pub(crate) reason: &'static str,
    /// `requested` first; empty for a draft.
    pub(crate) states: &'static [(&'static str, i64)],
    /// Why it was rejected, held, cancelled or failed.
    pub(crate) because: &'static str,
    /// What came of it, and who confirmed it.
    pub(crate) outcome: Option<(&'static str, &'static str)>,
}

impl Hand {
    /// Stores the case in two commits.
    pub(crate) async fn store(
        &self,
        store: &Store,
        scene: &Scene,
        staff: &[Worker],
        chance: Chance,
        number: i64,
    ) -> Result<()> {
        let worker = &staff[self.worker];
        let mut draft = Draft::open(scene, worker, chance, self.opened, self.unit);
        self.describe(&mut draft);
        draft.assign(self.opened, (self.status == "closed").then_some(20))?;
        for part in self.people {
            draft.person(*part, self.opened)?;
        }
        let goals = self.goals(&mut draft)?;
        self.contacts(&mut draft, &goals)?;
        for referral in self.referrals {
            referral.add(&mut draft)?;
        }
        draft.store(store, scene.at(CUT.max(-self.opened), 12, 0).plus_secs(number)).await?;
        draft.store_late(store, scene.now.plus_secs(number - 60)).await?;
        Ok(())
    }

    fn describe(&self, draft: &mut Draft<'_>) {
        let scene = draft.scene;
        let case = &mut draft.case;
        case.stage = self.stage.into();
        case.status = self.status.into();
        case.status_reason = (!self.reason.is_empty()).then(|| self.reason.into());
        case.intensity = self.intensity.into();
        case.risk = self.risk.into();
        case.difficulty_tags = Some(Doc(json!(self.tags)));
        case.summary = Some(self.summary.into());
        case.resume_on = (self.status == "on_hold").then(|| scene.day(21));
        case.closed_on = (self.status == "closed").then(|| scene.day(-20));
        case.next_review_on = (self.status == "active").then(|| scene.day(90 - self.opened % 90));
        case.group_kind = (self.unit == "group").then(|| "parents under stress".into());
    }

    fn goals(&self, draft: &mut Draft<'_>) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for (at, hand) in self.goals.iter().enumerate() {
            let late = matches!(hand.state, State::Done(on, _) if on > CUT);
            let (lifecycle, achievement) = match hand.state {
                State::Draft => ("draft", "in_progress"),
                State::Proposed => ("proposed", "in_progress"),
                State::Agreed => ("agreed", "in_progress"),
                State::Withdrawn => ("withdrawn", "in_progress"),
                State::Active => ("active", "in_progress"),
                State::Done(..) if late => ("active", "in_progress"),
                State::Done(_, true) => ("completed", "achieved"),
                State::Done(_, false) => ("completed", "not_achieved"),
            };
            let baseline = hand.ratings.first().map_or(-1, |(_, level)| (*level).min(-1));
            let course = Course { starts: hand.starts, due: hand.due, lifecycle, achievement, baseline };
            let id = draft.goal(&texts::GOALS[hand.text], hand.level, course)?;
            if let State::Done(on, achieved) = hand.state
                && late
            {
                let done = draft.scene.at(on, 16, 10).plus_secs(i64::try_from(at).unwrap_or(0) * 60);
                let outcome = if achieved { "achieved" } else { "not_achieved" };
                draft.bundle.change_late::<goal::Entity>(
                    &id,
                    vec![
                        ("lifecycle", "completed".into()),
                        ("achievement", outcome.into()),
                        ("completed_at", done.0.into()),
                    ],
                )?;
            }
            for (on, level) in hand.ratings {
                let rating = draft.rating(&id, *on, *level, None);
                keep::<goal_rating::Entity>(draft, *on, &rating)?;
            }
            ids.push(id);
        }
        Ok(ids)
    }

    fn contacts(&self, draft: &mut Draft<'_>, goals: &[String]) -> Result<()> {
        let mut in_a_row = 0;
        for hand in self.contacts {
            let mut row = draft.contact(hand.on, hand.status, goals);
            in_a_row = match hand.status {
                "no_show" => in_a_row + 1,
                "completed" => 0,
                _ => in_a_row,
            };
            row.no_show_seq = if hand.status == "no_show" { in_a_row } else { 0 };
            row.next_contact_on = hand.next.map(|day| draft.scene.day(day));
            let note = match hand.note {
                Note::None => None,
                Note::Stock => Some(draft.note(&row, "team", "signed")),
                Note::Signed(text) => {
                    Some(note::Model { body: Some(text.into()), ..draft.note(&row, "team", "signed") })
                }
                Note::Draft(text) => Some(note::Model { body: Some(text.into()), ..draft.note(&row, "team", "draft") }),
                Note::Restricted(text) => Some(note::Model {
                    body: Some(text.into()),
                    kind: "restricted".into(),
                    ..draft.note(&row, "author_supervisor", "signed")
                }),
            };
            keep::<contact::Entity>(draft, hand.on, &row)?;
            if let Some(note) = note {
                keep::<note::Entity>(draft, hand.on, &note)?;
            }
        }
        Ok(())
    }
}

impl HandReferral {
    fn add(&self, draft: &mut Draft<'_>) -> Result<()> {
        let sent = self.states.first().map_or(0, |(_, on)| *on);
        let states: Vec<(&'static str, Instant)> = self
            .states
            .iter()
            .map(|(state, on)| (*state, draft.scene.at(*on, 11, if *state == "requested" { 20 } else { 50 })))
            .collect();
        let mut row = draft.referral(self.partner, -sent, self.reason);
        if let Some((status, _)) = states.last() {
            row.status = (*status).into();
            row.ack_at = states.get(1).map(|(_, at)| *at);
            row.answered_via = row.ack_at.map(|_| "portal".into());
            if self.urgent {
                row.priority = "urgent".into();
                row.due_response_at = row.sent_at.map(|at| at.plus_secs(4 * 3600));
            }
        } else {
            row = referral::Model {
                sent_at: None,
                due_response_at: None,
                status: "draft".into(),
                client_consent: None,
                ..row
            };
        }
        if row.status == "rejected" {
            row.reason_code = Some("no_capacity".into());
            row.capacity = Some("no_capacity".into());
        }
        row.status_reason = (!self.because.is_empty()).then(|| self.because.into());
        row.result = (row.status == "completed").then(|| "Seen twice; the need is met for now.".into());
        if let Some((outcome, by)) = self.outcome {
            row.outcome = Some(outcome.into());
            row.outcome_confirmed_by = Some(by.into());
            row.loop_closed_at = states.last().map(|(_, at)| *at);
        }
        let events = draft.events(&row, &states);
        keep::<referral::Entity>(draft, sent, &row)?;
        for event in events {
            keep::<referral_event::Entity>(draft, sent, &event)?;
        }
        Ok(())
    }
}

/// Puts a row into the first commit or the second, by the day on which it came about.
fn keep<E: entities::registry::Synced>(draft: &mut Draft<'_>, on: i64, row: &E::Model) -> Result<()> {
    if on > CUT { draft.bundle.add_late::<E>(row) } else { draft.bundle.add::<E>(row) }
}
