//! What the rules may look at: one case with its goals, contacts and referrals, the people to
//! tell, and the agency's calendar. `load.rs` reads it; everything else in this room is given it.

use std::sync::Arc;

use super::calendar::Calendar;
use super::rule::{Audience, Because};
use super::zone::Zone;
use crate::clock::{Day, Instant};

/// The agency's time.
#[derive(Clone, Debug)]
pub struct AgencyFacts {
    /// Row id.
    pub id: String,
    /// Its zone.
    pub zone: Zone,
    /// Its working days and quiet hours.
    pub calendar: Calendar,
    /// Its mails say how many and nothing more: no reference, and no link to one matter.
    pub counts_only: bool,
}

/// Somebody to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// User id.
    pub user_id: String,
    /// Their zone, where they have set one.
    pub zone: Option<Zone>,
    /// The hour of the day at which they want to be told, 0 to 23.
    pub hour: u32,
    /// First and last day of an absence.
    pub away: Option<(Day, Day)>,
}

impl Person {
    /// True on a day of their absence.
    pub fn is_away(&self, on: Day) -> bool {
        self.away.is_some_and(|(from, to)| from <= on && on <= to)
    }
}

/// A goal, as far as rules look at it.
#[derive(Clone, Debug)]
pub struct GoalFact {
    /// Row id.
    pub id: String,
    /// The goal that this one replaces.
    pub version_of: Option<String>,
    /// State.
    pub lifecycle: String,
    /// Day by which it is to be reached.
    pub due_on: Option<Day>,
    /// The days before its due day on which it is reminded, where not the usual ones.
    pub offsets: Option<Vec<i64>>,
    /// When it was completed.
    pub completed_at: Option<Instant>,
}

/// A contact, as far as rules look at it.
#[derive(Clone, Debug)]
pub struct ContactFact {
    /// Row id.
    pub id: String,
    /// State.
    pub status: String,
    /// When it was or is to be: the actual start, else the planned one, else when it was written.
    pub at: Instant,
    /// Day by which the next one was promised.
    pub next_contact_on: Option<Day>,
    /// How many no-shows in a row this one makes.
    pub no_show_seq: i64,
}

/// A referral, as far as rules look at it.
#[derive(Clone, Debug)]
pub struct ReferralFact {
    /// Row id.
    pub id: String,
    /// The random reference of this one referral, for the partner.
    pub reference: String,
    /// State.
    pub status: String,
    /// `routine` or `urgent`.
    pub priority: String,
    /// Whom it is addressed to.
    pub partner_org_id: Option<String>,
    /// When it was requested.
    pub requested_at: Instant,
    /// Mail can reach somebody at the partner.
    pub reachable: bool,
    /// The last day of the client's agreement to its being shared; none where it was never given or is withdrawn.
    pub agreed_until: Option<Day>,
    /// The client agrees to its being shared: the agreement has neither ended nor been withdrawn.
    pub agreed: bool,
}

impl ReferralFact {
    /// Whether the client agrees at an instant to its being shared.
    pub fn agreed_at(&self, at: Instant) -> bool {
        self.agreed_until.is_some_and(|until| Zone::utc().day(at) <= until)
    }
}

/// Somebody's part in a case, from an instant to another.
#[derive(Clone, Debug)]
pub struct Part {
    /// Whose.
    pub person: Person,
    /// They have the case; otherwise they cover it.
    pub primary: bool,
    /// Its first instant.
    pub from: Instant,
    /// The first instant after it.
    pub to: Option<Instant>,
}

/// One case with all that rules look at.
#[derive(Clone, Debug)]
pub struct CaseFacts {
    /// The agency's time.
    pub agency: Arc<AgencyFacts>,
    /// Row id.
    pub id: String,
    /// The random reference that may stand in a mail.
    pub reference: String,
    /// State.
    pub status: String,
    /// When it was closed and opened again last.
    pub reopened_at: Option<Instant>,
    /// The case's zone, where it has one of its own.
    pub zone: Option<Zone>,
    /// Who has and who covers the case now or later, by when they begin.
    pub parts: Vec<Part>,
    /// Who has the case.
    pub caseworker: Option<Person>,
    /// Who cover it, the latest last.
    pub covering: Vec<Person>,
    /// Who leads the case's team, or the nearest team above that has somebody.
    pub supervisor: Option<Person>,
    /// Its goals.
    pub goals: Vec<GoalFact>,
    /// Its contacts of the last year and all planned ones.
    pub contacts: Vec<ContactFact>,
    /// Its referrals.
    pub referrals: Vec<ReferralFact>,
}

impl CaseFacts {
    /// The same facts at another instant, if nothing else happens: what time alone changes is worked out here.
    pub fn as_of(&self, at: Instant) -> CaseFacts {
        let mut then = self.clone();
        let parts = self.parts.iter().filter(|part| part.from <= at && part.to.is_none_or(|to| to > at));
        let (have, cover): (Vec<&Part>, Vec<&Part>) = parts.partition(|part| part.primary);
        then.caseworker = have.last().map(|part| part.person.clone());
        then.covering = cover.into_iter().map(|part| part.person.clone()).collect();
        for referral in &mut then.referrals {
            referral.agreed = referral.agreed_at(at);
        }
        then
    }

    /// The next instant at which time alone changes something of it: a part in the case or an absence begins or ends, or
    /// an agreement does.
    pub fn changes_after(&self, at: Instant) -> Option<Instant> {
        if !self.is_open() {
            return None;
        }
        let days = |zone: &Zone, first: Day, after: Day| [zone.start_of(first), zone.start_of(after)];
        let parts = self.parts.iter().flat_map(|part| [Some(part.from), part.to]).flatten();
        let away = self.parts.iter().filter_map(|part| part.person.away);
        // Who is away is asked by the day where the case is.
        let away = away.flat_map(|(from, to)| days(self.case_zone(), from, to.plus_days(1)));
        let asked = self.referrals.iter().filter(|referral| referral.status == "requested");
        let agreed = asked.filter_map(|referral| Some(Zone::utc().start_of(referral.agreed_until?.plus_days(1))));
        parts.chain(away).chain(agreed).filter(|change| *change > at).min()
    }

    /// True while somebody works on the case, a pause included.
    pub fn is_open(&self) -> bool {
        ["intake", "active", "on_hold", "closing"].contains(&self.status.as_str())
    }

    /// The case's own zone, else the agency's.
    pub fn case_zone(&self) -> &Zone {
        self.zone.as_ref().unwrap_or(&self.agency.zone)
    }

    /// Who holds this role for the case on a day, and why it is not the one you would expect.
    /// `None` where nobody can be told, and for partners, who are an organisation.
    pub fn holder(&self, role: Audience, on: Day) -> (Option<&Person>, Option<Because>) {
        let said = |person: &Option<Person>, why| person.is_some().then(|| Because::of("fallback", why));
        match role {
            Audience::Partner => (None, None),
            Audience::Caseworker => match self.carrier(on) {
                (None, _) => {
                    let why = "nobody has the case: the supervisor is told";
                    (self.supervisor.as_ref(), said(&self.supervisor, why))
                }
                carried => carried,
            },
            Audience::Supervisor if self.supervisor.is_some() => (self.supervisor.as_ref(), None),
            Audience::Supervisor => {
                let (person, away) = self.carrier(on);
                let said = away.map_or_else(String::new, |away| format!("; {}", away.text));
                let why =
                    || Because::of("fallback", format!("the team has no supervisor: the caseworker is told{said}"));
                (person, person.map(|_| why()))
            }
        }
    }

    /// Who carries the case on a day: its caseworker, or while they are away the latest of those who cover it and are
    /// there.
    fn carrier(&self, on: Day) -> (Option<&Person>, Option<Because>) {
        let own = self.caseworker.as_ref();
        if own.is_some_and(|person| !person.is_away(on)) {
            return (own, None);
        }
        match (self.covering.iter().rev().find(|person| !person.is_away(on)), own) {
            (Some(cover), Some(_)) => {
                (Some(cover), Some(Because::of("fallback", "the caseworker is away: who covers is told")))
            }
            (Some(cover), None) => {
                (Some(cover), Some(Because::of("fallback", "the case has no caseworker: who covers is told")))
            }
            (None, own) => (own, None),
        }
    }

    /// Whether any of these roles can be told at an instant. Whether a partner can, its own steps say.
    pub fn reaches(&self, roles: &[Audience], at: Instant) -> bool {
        let today = self.case_zone().day(at);
        roles.iter().any(|role| *role == Audience::Partner || self.holder(*role, today).0.is_some())
    }

    /// Zone and hour at which whoever has this role on a day is told: recipient, then case, then agency. A partner
    /// organisation is told in the agency's time.
    pub fn told_at(&self, role: Audience, on: Day) -> (Zone, u32) {
        if role == Audience::Partner {
            return (self.agency.zone.clone(), DEFAULT_HOUR);
        }
        let person = self.holder(role, on).0;
        let zone = person.and_then(|person| person.zone.clone()).unwrap_or_else(|| self.case_zone().clone());
        (zone, person.map_or(DEFAULT_HOUR, |person| person.hour))
    }
}

/// The hour of the day at which people are told who have not chosen another.
pub const DEFAULT_HOUR: u32 = 8;
