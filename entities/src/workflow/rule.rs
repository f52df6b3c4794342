//! What a rule is: a value that says what it counts from and who is told when.
//!
//! A rule looks at facts and at nothing else: no clock, no database. Elapsed time is always an
//! anchor ("three days after"), never a condition ("older than three days"), so that the same
//! facts give the same plan whenever they are looked at. Adding a rule is one file under `rules/`
//! and one line in its list. Read `planner.rs` for what is made of it.

use serde::Serialize;

use super::facts::CaseFacts;
use crate::clock::{Day, Instant};

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Who has the case; the supervisor where nobody has.
    Caseworker,
    /// Who leads the case's team; the caseworker where nobody does.
    Supervisor,
    /// The partner organisation that a referral is addressed to. Gets mail and no prompt.
    Partner,
}

impl Audience {
    /// The word in the database and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Audience::Caseworker => "caseworker",
            Audience::Supervisor => "supervisor",
            Audience::Partner => "partner",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Audience> {
        [Audience::Caseworker, Audience::Supervisor, Audience::Partner].into_iter().find(|who| who.as_str() == word)
    }
}

/// How far from the anchor a step lies. Days are days of the calendar, never multiples of 24 h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offset {
    /// Calendar days; negative counts down to the anchor.
    Days(i64),
    /// Working days of the agency; the anchor's own day is day 0.
    WorkingDays(i64),
    /// Elapsed hours after an anchor that is an instant; 0 is at once, whatever the hour.
    Hours(i64),
}

impl Offset {
    /// True for a step that leads up to its anchor and is pointless after it.
    pub fn counts_down(self) -> bool {
        matches!(self, Offset::Days(n) | Offset::WorkingDays(n) | Offset::Hours(n) if n < 0)
    }
}

/// One step of a rule.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Name, unique within the rule and never reused for something else.
    pub id: &'static str,
    /// When.
    pub offset: Offset,
    /// Who is told.
    pub to: &'static [Audience],
    /// Name of the mail template.
    pub template: &'static str,
    /// Left out once somebody has marked an earlier prompt of the chain as done.
    pub unless_done: bool,
}

impl Step {
    /// A step that is not stopped by an acknowledgement.
    pub const fn new(id: &'static str, offset: Offset, to: &'static [Audience], template: &'static str) -> Step {
        Step { id, offset, to, template, unless_done: false }
    }

    /// Whether it comes with the event itself, at whatever hour that is.
    pub fn is_at_once(&self) -> bool {
        self.offset == Offset::Hours(0)
    }

    /// The same step, left out once an earlier prompt of the chain is marked as done.
    pub const fn unless_done(self) -> Step {
        Step { unless_done: true, ..self }
    }
}

/// What happens to steps that fell due while no worker ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// Only the latest for each audience; earlier ones are recorded as superseded.
    Latest,
    /// All of them, in order.
    All,
    /// None of them; each is recorded as missed.
    Skip,
}

/// What the steps of an occurrence are counted from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// A date. Moving the date makes another occurrence; moving it back makes the first again.
    Day(Day),
    /// An event with a name of its own and an instant.
    Moment {
        /// Name of the event, unique for the subject.
        id: String,
        /// When it happened.
        at: Instant,
    },
    /// The rule's condition becoming true: each time it does is an event of its own.
    Episode,
}

/// Why something fires, or does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Because {
    /// `condition`, `fact`, `calendar`, `snooze`, `ledger`, `quiet` or `fallback`.
    pub kind: &'static str,
    /// A sentence for a person. Holds no client's name and no free text.
    pub text: String,
    /// The fact it rests on, as `table.column = value`.
    pub fact: Option<String>,
}

impl Because {
    /// A condition of the rule that does not hold, and the fact it looks at.
    pub fn condition(text: impl Into<String>, fact: impl Into<String>) -> Because {
        Because { kind: "condition", text: text.into(), fact: Some(fact.into()) }
    }

    /// Any other reason.
    pub fn of(kind: &'static str, text: impl Into<String>) -> Because {
        Because { kind, text: text.into(), fact: None }
    }
}

/// One thing a rule may count from: a goal with its due date, a referral with its request.
#[derive(Clone, Debug)]
pub struct Occurrence {
    /// Row id of the subject.
    pub subject_id: String,
    /// Row ids of what it stands in the place of, the newest first: of a goal its earlier versions.
    pub replaces: Vec<String>,
    /// What the steps are counted from.
    pub anchor: Anchor,
    /// The steps, in order of time.
    pub steps: &'static [Step],
    /// Steps that are left out of this one, by name, each with the reason.
    pub left_out: Vec<(&'static str, Because)>,
    /// What stands against it; nothing when the rule holds.
    pub stops: Vec<Because>,
}

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Stable name such as `goal.deadline`.
    pub id: &'static str,
    /// Rises when steps or conditions change; kept with each firing.
    pub version: i64,
    /// Kind of the subject, in the singular.
    pub subject_kind: &'static str,
    /// Wall time of its steps; `None` for the hour the recipient has chosen (08:00 by default).
    pub at: Option<(u32, u32)>,
    /// See [`CatchUp`].
    pub catch_up: CatchUp,
    /// Everything it may count from in a case, with what stands against each.
    pub occurrences: fn(&CaseFacts) -> Vec<Occurrence>,
}
