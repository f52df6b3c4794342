//! Facts in, promises out. No clock, no database, no chance: the same facts give the same plan,
//! so that what `simulate` and `explain` say is what will happen.
//!
//! For each occurrence of each rule the planner works out when every step is due and how it
//! stands at a given instant. `timers.rs` stores the next step of each chain as a timer; the
//! worker asks again when it comes due, and does what the plan says then.

use std::collections::{HashMap, HashSet};

use chrono::{NaiveDateTime, NaiveTime};

use super::facts::CaseFacts;
use super::rule::{Anchor, Audience, Because, CatchUp, Offset, Rule, Step};
use super::zone::Zone;
use crate::clock::{Day, Instant};

/// Steps of one chain for the same people that lie closer than this become one.
pub const MIN_GAP_MS: i64 = 60 * 60 * 1000;
/// A step after its anchor that could not fire for this long is let go.
pub const LATE_WINDOW_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// How late a step of a rule that skips what it missed may fire.
pub const SKIP_GRACE_MS: i64 = 15 * 60 * 1000;

/// When an occurrence was armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The first time ever.
    pub first_at: Instant,
    /// The last time it became active.
    pub since: Instant,
    /// It is active now.
    pub active: bool,
    /// How many times it became active.
    pub episode: i64,
}

/// What the engine remembers of a case.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// What a key came to: `fired`, `superseded`, `missed`.
    pub outcomes: HashMap<String, String>,
    /// Watches by rule, subject and anchor.
    pub watches: HashMap<(String, String, String), Watch>,
    /// Chains (rule, subject, anchor) in which somebody marked a prompt as done.
    pub done: HashSet<(String, String, String)>,
}

/// How a step stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has come to an end before; the word of the ledger.
    Ended(String),
    /// It will not fire, for a reason in the facts that needs no record.
    Skipped(Because),
    /// It is too late for it.
    Missed(Because),
    /// It is due, and nobody can be told of it: it waits for somebody.
    Unheard,
    /// A later step of the chain speaks for it.
    Superseded(&'static str),
    /// It is to fire now.
    Due,
    /// It is to fire later.
    Waiting,
}

/// One step of a chain with its time.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The step.
    pub step: &'static Step,
    /// Identity for ever: rule, subject, anchor, step.
    pub key: String,
    /// Wall time promised.
    pub nominal: NaiveDateTime,
    /// Zone of the wall time.
    pub zone: Zone,
    /// The instant it is due, after quiet hours and days off.
    pub due_at: Instant,
    /// Why that is not the nominal time.
    pub moved: Option<Because>,
    /// What stands against this step alone, whether it has fired or not.
    pub against: Option<Because>,
    /// How it stands at the instant asked for.
    pub standing: Standing,
}

/// One occurrence of a rule with all its steps.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The rule.
    pub rule: &'static Rule,
    /// Row id of the subject.
    pub subject_id: String,
    /// Row ids of what it stands in the place of, the newest first.
    pub replaces: Vec<String>,
    /// Name of what it counts from.
    pub anchor: String,
    /// The watch's key for the anchor; differs from `anchor` only for episodes.
    pub watched: String,
    /// The day it is about, for anchors that are dates.
    pub on: Option<Day>,
    /// When it happened, for anchors that are events.
    pub at: Option<Instant>,
    /// What stands against it; then `steps` says what would be.
    pub stops: Vec<Because>,
    /// The watch as it is to be stored.
    pub watch: Watch,
    /// Steps in order of time.
    pub steps: Vec<Planned>,
}

impl Chain {
    /// The step that the stored timer stands for: the first that has not come to an end. None while nobody could be
    /// told of it: whoever comes to be there has the case planned again.
    pub fn next(&self) -> Option<&Planned> {
        if !self.stops.is_empty() {
            return None;
        }
        let open = |planned: &&Planned| !matches!(planned.standing, Standing::Ended(_) | Standing::Skipped(_));
        self.steps.iter().find(open).filter(|planned| planned.standing != Standing::Unheard)
    }

    /// Whether a step of it is due, and nobody can be told.
    pub fn waits_for_somebody(&self) -> bool {
        self.stops.is_empty() && self.steps.iter().any(|planned| planned.standing == Standing::Unheard)
    }

    /// Whether it is about this row, or about one that its subject has replaced.
    pub fn is_about(&self, subject: &str) -> bool {
        self.subject_id == subject || self.replaces.iter().any(|replaced| replaced == subject)
    }

    /// Rule, subject and anchor.
    pub fn id(&self) -> (String, String, String) {
        (self.rule.id.to_owned(), self.subject_id.clone(), self.anchor.clone())
    }
}

/// The name of an episode, as it stands in keys.
pub fn episode_name(number: i64) -> String {
    format!("episode-{number}")
}

/// Plans every occurrence of every rule as it stands at `now`.
pub fn plan(rules: &[&'static Rule], facts: &CaseFacts, memory: &Memory, now: Instant) -> Vec<Chain> {
    rules
        .iter()
        .flat_map(|rule| (rule.occurrences)(facts).into_iter().map(move |occurrence| (rule, occurrence)))
        .map(|(rule, occurrence)| {
            let holds = occurrence.stops.is_empty();
            let watched = match &occurrence.anchor {
                Anchor::Day(day) => day.to_string(),
                Anchor::Moment { id, .. } => id.clone(),
                Anchor::Episode => "episode".to_owned(),
            };
            let known = memory.watches.get(&(rule.id.to_owned(), occurrence.subject_id.clone(), watched.clone()));
            let watch = watch(known, holds, now);
            let (anchor, base) = match &occurrence.anchor {
                Anchor::Day(day) => (watched.clone(), Base::Day(*day)),
                Anchor::Moment { at, .. } => (watched.clone(), Base::At(*at)),
                Anchor::Episode => (episode_name(watch.episode), Base::At(watch.since)),
            };
            let mut chain = Chain {
                rule,
                replaces: occurrence.replaces,
                subject_id: occurrence.subject_id,
                watched,
                on: match occurrence.anchor {
                    Anchor::Day(day) => Some(day),
                    _ => None,
                },
                at: match &occurrence.anchor {
                    Anchor::Moment { at, .. } => Some(*at),
                    _ => None,
                },
                anchor,
                stops: occurrence.stops,
                watch,
                steps: Vec::new(),
            };
            chain.steps = times(&chain, occurrence.steps, base, facts);
            let heard = |step: &Step| facts.reaches(step.to, now);
            stand(&mut chain, base, memory, now, &occurrence.left_out, heard);
            chain
        })
        .collect()
}

fn watch(known: Option<&Watch>, holds: bool, now: Instant) -> Watch {
    match known {
        Some(watch) if watch.active == holds => *watch,
        Some(watch) if holds => {
            let first_at = if watch.episode == 0 { now } else { watch.first_at };
            Watch { first_at, since: now, active: true, episode: watch.episode + 1 }
        }
        Some(watch) => Watch { active: false, ..*watch },
        None => Watch { first_at: now, since: now, active: holds, episode: i64::from(holds) },
    }
}

#[derive(Clone, Copy)]
enum Base {
    Day(Day),
    At(Instant),
}

impl Base {
    fn day(self, zone: &Zone) -> Day {
        match self {
            Base::Day(day) => day,
            Base::At(at) => zone.day(at),
        }
    }
}

fn times(chain: &Chain, steps: &'static [Step], base: Base, facts: &CaseFacts) -> Vec<Planned> {
    let calendar = &facts.agency.calendar;
    let mut planned: Vec<Planned> = Vec::with_capacity(steps.len());
    for step in steps {
        // On the clock of whoever has the role on the day the step is about to come.
        let near = base.day(facts.case_zone());
        let near = match step.offset {
            Offset::Days(n) => near.plus_days(n),
            Offset::WorkingDays(n) => calendar.working_day(near, n),
            Offset::Hours(_) => near,
        };
        let told = |role: &Audience| facts.told_at(*role, near);
        let (zone, hour) = step.to.first().map_or_else(|| (facts.agency.zone.clone(), 8), told);
        let (hour, minute) = chain.rule.at.unwrap_or((hour, 0));
        let time = NaiveTime::from_hms_opt(hour, minute, 0).unwrap_or_default();
        let day = base.day(&zone);
        let nominal = match (step.offset, base) {
            (Offset::Days(n), _) => day.plus_days(n).0.and_time(time),
            (Offset::WorkingDays(n), _) => calendar.working_day(day, n).0.and_time(time),
            (Offset::Hours(n), Base::At(at)) => zone.wall(at.plus_secs(n * 3600)),
            (Offset::Hours(_), Base::Day(day)) => day.0.and_time(time),
        };
        let promised = match (step.offset, base) {
            // Elapsed time: going through wall time would lose the second pass of an autumn hour.
            (Offset::Hours(n), Base::At(at)) => at.plus_secs(n * 3600),
            _ => zone.instant(nominal),
        };
        let moved = if step.is_at_once() { nominal } else { open_moment(nominal, step.offset, base, &zone, facts) };
        let mut due_at = if moved == nominal { promised } else { zone.instant(moved) };
        if let Some(before) = planned.last() {
            due_at = due_at.max(before.due_at);
        }
        let because = (moved != nominal).then(|| {
            Because::of("quiet", format!("quiet hours or a day off: moved from {} to {}", wall(nominal), wall(moved)))
        });
        planned.push(Planned {
            step,
            key: key(chain.rule, &chain.subject_id, &chain.anchor, step),
            nominal,
            zone,
            due_at,
            moved: because,
            against: None,
            standing: Standing::Waiting,
        });
    }
    planned
}

/// Out of quiet hours and days off: the next open moment. A step that leads up to a day comes at the last open moment
/// before it rather than after it; that of the day itself may come after it where the day is a day off.
fn open_moment(nominal: NaiveDateTime, offset: Offset, base: Base, zone: &Zone, facts: &CaseFacts) -> NaiveDateTime {
    let calendar = &facts.agency.calendar;
    let next = calendar.next_open(nominal);
    let anchor = base.day(zone);
    let of_the_day = matches!(offset, Offset::Days(0) | Offset::WorkingDays(0)) && calendar.is_working(anchor);
    let is_date = matches!(base, Base::Day(_));
    if is_date && (offset.counts_down() || of_the_day) && next.date() > anchor.0 {
        return calendar.last_open(nominal);
    }
    next
}

/// Identity for ever of a step of one subject.
fn key(rule: &Rule, subject: &str, anchor: &str, step: &Step) -> String {
    format!("{}|{subject}|{anchor}|{}", rule.id, step.id)
}

/// `2027-03-14 08:00`, for sentences.
pub fn wall(at: NaiveDateTime) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}

fn stand(
    chain: &mut Chain,
    base: Base,
    memory: &Memory,
    now: Instant,
    left_out: &[(&'static str, Because)],
    heard: impl Fn(&Step) -> bool,
) {
    let subjects: Vec<String> = std::iter::once(&chain.subject_id).chain(&chain.replaces).cloned().collect();
    let of = |subject: &String| (chain.rule.id.to_owned(), subject.clone(), chain.anchor.clone());
    let done = subjects.iter().any(|subject| memory.done.contains(&of(subject)));
    let since = chain.watch.since;
    // Each episode is armed for the first time.
    let first = if chain.anchor == chain.watched { chain.watch.first_at } else { since };
    let policy = chain.rule.catch_up;
    // A step that was moved out of days off may lie after the day it leads up to; it is told all the same.
    let ends = |zone: &Zone| zone.start_of(base.day(zone).plus_days(1));
    for planned in &mut chain.steps {
        let down = planned.step.offset.counts_down();
        let before = planned.due_at < since;
        planned.against = match left_out.iter().find(|(step, _)| *step == planned.step.id) {
            Some((_, because)) => Some(because.clone()),
            None if planned.step.unless_done && done => {
                Some(Because::of("condition", "somebody has marked it as done"))
            }
            None => None,
        };
        // What was said of a version that this one replaces is not said again (L6: a goal's versions are one subject).
        let said = |subject: &String| memory.outcomes.get(&key(chain.rule, subject, &chain.anchor, planned.step));
        let ended = subjects.iter().find_map(said);
        planned.standing = if let Some(outcome) = ended {
            Standing::Ended(outcome.clone())
        } else if let Some(because) = &planned.against {
            Standing::Skipped(because.clone())
        } else if down && before {
            Standing::Skipped(Because::of("fact", "its time was over before there was anything to remind of"))
        } else if before && since != first {
            Standing::Skipped(Because::of("fact", "its time was over before the reason came back"))
        } else if planned.due_at > now {
            Standing::Waiting
        } else if policy == CatchUp::Skip && planned.due_at.plus_ms(SKIP_GRACE_MS) < now {
            Standing::Missed(Because::of("condition", "the rule does not make up for what it missed"))
        } else if down && planned.due_at < ends(&planned.zone) && ends(&planned.zone) <= now {
            Standing::Missed(Because::of("condition", "the day it leads up to is over"))
        } else if planned.due_at.plus_ms(LATE_WINDOW_MS) < now {
            Standing::Missed(Because::of("condition", "more than 30 days late"))
        } else if !heard(planned.step) {
            Standing::Unheard
        } else {
            Standing::Due
        };
    }
    supersede(&mut chain.steps, policy);
}

/// A step gives way to a later one that reaches all its people and is due as well, or so soon
/// after it that the two would arrive together. What comes with the event itself says all that a reminder of it does, and
/// gives way to none: they do to it.
fn supersede(steps: &mut [Planned], policy: CatchUp) {
    for at in 0..steps.len() {
        let (head, tail) = steps.split_at_mut(at + 1);
        let Some(this) = head.last_mut() else { continue };
        let late = matches!(this.standing, Standing::Missed(_)) && policy == CatchUp::Latest;
        if this.step.is_at_once() && this.standing == Standing::Due {
            for later in tail.iter_mut().filter(|_| policy == CatchUp::Latest) {
                let said = later.step.to.iter().all(|role| this.step.to.contains(role));
                if said && later.standing == Standing::Due {
                    later.standing = Standing::Superseded(this.step.id);
                }
            }
            continue;
        }
        if !late && !matches!(this.standing, Standing::Due | Standing::Waiting) {
            continue;
        }
        let speaks = |later: &&Planned| {
            let reaches = this.step.to.iter().all(|role| later.step.to.contains(role));
            let together = later.due_at.0 - this.due_at.0 < MIN_GAP_MS;
            let both_due = (late || this.standing == Standing::Due) && later.standing == Standing::Due;
            let alive = matches!(later.standing, Standing::Due | Standing::Waiting);
            reaches && alive && (together || (both_due && policy == CatchUp::Latest))
        };
        if let Some(later) = tail.iter().rev().find(speaks) {
            this.standing = Standing::Superseded(later.step.id);
        }
    }
}

#[cfg(test)]
#[path = "planner_tests.rs"]
mod tests;
