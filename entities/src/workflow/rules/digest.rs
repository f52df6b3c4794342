//! The supervisor's digest: one mail each working morning with counts and references, none when
//! there is nothing to say. What it says is asked of the facts at the moment of sending.

use chrono::NaiveDateTime;
use serde::Serialize;

use super::closure_ready;
use crate::clock::{Day, Instant};
use crate::workflow::calendar::Calendar;
use crate::workflow::cron::Cron;
use crate::workflow::facts::{CaseFacts, ReferralFact};

/// Stable name of the digest, as other rules have one.
pub const ID: &str = "supervisor.digest";
/// Rises when sections change.
pub const VERSION: i64 = 1;
/// A digest missed for longer than this is not sent any more that day.
pub const WINDOW_HOURS: i64 = 12;

/// One line: a reference and the day it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Line {
    /// The day, where there is one.
    pub on: Option<Day>,
    /// The case's reference.
    pub reference: String,
}

/// The sections of one digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sections {
    /// Goals past their day.
    pub overdue: Vec<Line>,
    /// Goals due today or within seven days.
    pub due_soon: Vec<Line>,
    /// Referrals without an answer for three working days or longer.
    pub unanswered: Vec<Line>,
    /// No-shows that nobody has followed up for a working day or longer.
    pub no_shows: Vec<Line>,
    /// Cases ready to close.
    pub ready_to_close: Vec<Line>,
}

impl Sections {
    /// True when there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Lines in all sections together.
    pub fn count(&self) -> usize {
        [&self.overdue, &self.due_soon, &self.unanswered, &self.no_shows, &self.ready_to_close]
            .iter()
            .map(|section| section.len())
            .sum()
    }
}

/// Each day at this hour; days off are left out by the agency's calendar.
pub fn schedule(hour: u32) -> Cron {
    Cron::daily(chrono::NaiveTime::from_hms_opt(hour.min(23), 0, 0).unwrap_or_default())
}

/// When a digest of this wall time is told: out of quiet hours, and on its own day.
pub fn open_moment(calendar: &Calendar, wall: NaiveDateTime) -> NaiveDateTime {
    let next = calendar.next_open(wall);
    if next.date() == wall.date() { next } else { calendar.last_open(wall) }
}

/// Identity for ever of one morning's digest: `anchor` is its day.
pub fn key(user: &str, anchor: &str) -> String {
    format!("{ID}|{user}|{anchor}|digest")
}

/// What there is to say about these cases at an instant.
pub fn sections<'a>(cases: impl IntoIterator<Item = &'a CaseFacts>, now: Instant) -> Sections {
    let mut found = Sections::default();
    for case in cases.into_iter().filter(|case| case.is_open()) {
        let today = case.case_zone().day(now);
        let calendar = &case.agency.calendar;
        let line = |on| Line { on, reference: case.reference.clone() };
        if case.status != "on_hold" {
            for goal in case.goals.iter().filter(|goal| ["agreed", "active"].contains(&goal.lifecycle.as_str())) {
                match goal.due_on {
                    Some(due) if due < today => found.overdue.push(line(Some(due))),
                    Some(due) if due <= today.plus_days(7) => found.due_soon.push(line(Some(due))),
                    _ => (),
                }
            }
        }
        let asked = |referral: &&ReferralFact| referral.status == "requested" && referral.agreed_at(now);
        for referral in case.referrals.iter().filter(asked) {
            let asked = case.agency.zone.day(referral.requested_at);
            if calendar.working_day(asked, 3) <= today {
                found.unanswered.push(line(Some(asked)));
            }
        }
        for contact in case.contacts.iter().filter(|contact| contact.status == "no_show") {
            let missed = case.case_zone().day(contact.at);
            let later = |other: &&crate::workflow::facts::ContactFact| {
                (other.status == "completed" && other.at >= contact.at)
                    || (other.status == "no_show" && other.at > contact.at)
            };
            if calendar.working_day(missed, 1) < today && !case.contacts.iter().any(|other| later(&other)) {
                found.no_shows.push(line(Some(missed)));
            }
        }
        if closure_ready::stops(case).is_empty() {
            found.ready_to_close.push(line(None));
        }
    }
    for section in
        [&mut found.overdue, &mut found.due_soon, &mut found.unanswered, &mut found.no_shows, &mut found.ready_to_close]
    {
        section.sort();
    }
    found
}
