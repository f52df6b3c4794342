//! Every rule under every strain: once, with two workers, across a clock change, after an outage of three days, and not
//! at all once its reason is gone. One table says what happens and who is told when; each test walks all of it.
//!
//! Clocks in New York go forward on Sunday, 14 March 2027: eight in the morning is 13:00Z before and 12:00Z from then on.

use std::collections::BTreeSet;
use std::time::Duration;

use entities::casework::{contact, goal};
use entities::clock::{Clock, Instant};
use entities::partners::referral;
use worker::drain_once;

use super::office::{ANA, Office, PAT, SAM, at, day};
use crate::support::{Server, World, on_both};

on_both!(
    each_rule_speaks_once_at_its_instant_across_the_clock_change,
    each_rule_speaks_once_where_two_workers_work,
    each_rule_is_caught_up_once_after_three_days_without_a_worker,
    no_rule_speaks_once_its_reason_is_gone,
    two_worker_processes_tell_each_thing_once,
);

/// A fact of the rule's own case.
#[derive(Clone, Copy, Debug)]
enum Fact {
    /// A goal that is due on this day.
    Goal(&'static str),
    GoalIsWithdrawn,
    /// A visit after which the next contact is promised for this day.
    Visit(&'static str),
    ContactIsPlanned,
    NoShow,
    VisitIsHeld,
    Referral(&'static str),
    ReferralIs(&'static str),
    OnlyGoalIs(&'static str),
}

struct Rule {
    name: &'static str,
    /// Its reason: when what happens.
    happens: &'static [(&'static str, Fact)],
    /// Who is told what at which instant.
    told: &'static [(&'static str, &'static str, &'static str)],
    /// Who is told what when the worker comes back after `OUTAGE`.
    late: &'static [(&'static str, &'static str)],
    /// What takes the reason away.
    ends: Option<Fact>,
}

/// Friday afternoon to Monday afternoon.
const OUTAGE: (&str, &str) = ("2027-03-12T21:00:00Z", "2027-03-15T21:00:00Z");
/// When every reason goes: each rule has something to say yet.
const END: &str = "2027-03-14T06:00:00Z";
const DIGEST: &str = "Your team's deadlines";

const RULES: &[Rule] = &[
    Rule {
        name: "goal deadline",
        happens: &[("2027-03-01T15:00:00Z", Fact::Goal("2027-03-16"))],
        told: &[
            ("2027-03-02T13:00:00Z", ANA, "A goal is due in 14 days"),
            ("2027-03-09T13:00:00Z", ANA, "A goal is due in 7 days"),
            ("2027-03-15T12:00:00Z", ANA, "A goal is due tomorrow"),
            ("2027-03-16T12:00:00Z", ANA, "A goal is due today"),
            ("2027-03-19T12:00:00Z", SAM, "A goal is overdue"),
        ],
        late: &[(ANA, "A goal is due tomorrow")],
        ends: Some(Fact::GoalIsWithdrawn),
    },
    Rule {
        name: "follow-up",
        happens: &[("2027-03-08T15:00:00Z", Fact::Visit("2027-03-14"))],
        told: &[
            ("2027-03-13T13:00:00Z", ANA, "A follow-up is due tomorrow"),
            ("2027-03-14T12:00:00Z", ANA, "A follow-up is due today"),
        ],
        late: &[(ANA, "A follow-up was due")],
        ends: Some(Fact::ContactIsPlanned),
    },
    Rule {
        name: "no-show",
        happens: &[("2027-03-12T20:00:00Z", Fact::NoShow)],
        told: &[("2027-03-15T12:00:00Z", ANA, "A missed appointment to follow up")],
        late: &[(ANA, "A missed appointment to follow up")],
        ends: Some(Fact::VisitIsHeld),
    },
    Rule {
        name: "second no-show in a row",
        happens: &[("2027-03-05T20:00:00Z", Fact::NoShow), ("2027-03-12T20:00:00Z", Fact::NoShow)],
        told: &[
            ("2027-03-08T13:00:00Z", ANA, "A missed appointment to follow up"),
            ("2027-03-15T12:00:00Z", ANA, "A missed appointment to follow up"),
            ("2027-03-15T12:00:00Z", SAM, "A missed appointment to follow up"),
        ],
        late: &[(ANA, "A missed appointment to follow up"), (SAM, "A missed appointment to follow up")],
        ends: Some(Fact::VisitIsHeld),
    },
    Rule {
        name: "referral",
        happens: &[("2027-03-10T15:00:00Z", Fact::Referral("routine"))],
        told: &[
            ("2027-03-10T15:00:00Z", PAT, "A new referral for you"),
            ("2027-03-15T12:00:00Z", PAT, "A referral waits for your answer"),
            ("2027-03-19T12:00:00Z", PAT, "A referral waits for your answer"),
            ("2027-03-22T12:00:00Z", ANA, "A referral has no answer"),
            ("2027-03-24T12:00:00Z", SAM, "A referral has no answer"),
        ],
        late: &[(PAT, "A referral waits for your answer")],
        ends: Some(Fact::ReferralIs("accepted")),
    },
    // Hours are elapsed time: four hours after midnight (EST) it is five in the morning (EDT).
    Rule {
        name: "urgent referral",
        happens: &[("2027-03-14T05:00:00Z", Fact::Referral("urgent"))],
        told: &[
            ("2027-03-14T05:00:00Z", PAT, "A new referral for you"),
            ("2027-03-14T09:00:00Z", PAT, "A referral waits for your answer"),
            ("2027-03-15T12:00:00Z", PAT, "A referral waits for your answer"),
            ("2027-03-16T12:00:00Z", ANA, "A referral has no answer"),
            ("2027-03-17T12:00:00Z", SAM, "A referral has no answer"),
        ],
        // Nobody has told them of it yet.
        late: &[(PAT, "A new referral for you")],
        ends: Some(Fact::ReferralIs("rejected")),
    },
    // Fourteen days are days of the calendar: an hour less than 14 times 24.
    Rule {
        name: "closure",
        happens: &[
            ("2027-03-01T15:00:00Z", Fact::Goal("2027-08-31")),
            ("2027-03-01T16:00:00Z", Fact::OnlyGoalIs("completed")),
        ],
        told: &[
            ("2027-03-01T16:00:00Z", ANA, "A case may be ready to close"),
            ("2027-03-15T12:00:00Z", ANA, "A case may be ready to close"),
            ("2027-03-15T12:00:00Z", SAM, "A case may be ready to close"),
        ],
        late: &[(ANA, "A case may be ready to close"), (SAM, "A case may be ready to close")],
        ends: Some(Fact::OnlyGoalIs("active")),
    },
    // The case that is ready to close is in it each working morning; its reason goes with all the others.
    Rule {
        name: "digest",
        happens: &[],
        told: &[
            ("2027-03-02T13:00:00Z", SAM, DIGEST),
            ("2027-03-03T13:00:00Z", SAM, DIGEST),
            ("2027-03-04T13:00:00Z", SAM, DIGEST),
            ("2027-03-05T13:00:00Z", SAM, DIGEST),
            ("2027-03-08T13:00:00Z", SAM, DIGEST),
            ("2027-03-09T13:00:00Z", SAM, DIGEST),
            ("2027-03-10T13:00:00Z", SAM, DIGEST),
            ("2027-03-11T13:00:00Z", SAM, DIGEST),
            ("2027-03-12T13:00:00Z", SAM, DIGEST),
            ("2027-03-15T12:00:00Z", SAM, DIGEST),
            ("2027-03-16T12:00:00Z", SAM, DIGEST),
            ("2027-03-17T12:00:00Z", SAM, DIGEST),
            ("2027-03-18T12:00:00Z", SAM, DIGEST),
            ("2027-03-19T12:00:00Z", SAM, DIGEST),
            ("2027-03-22T12:00:00Z", SAM, DIGEST),
            ("2027-03-23T12:00:00Z", SAM, DIGEST),
            ("2027-03-24T12:00:00Z", SAM, DIGEST),
        ],
        late: &[(SAM, DIGEST)],
        ends: None,
    },
];

/// An office with so many cases for each rule.
struct Stage {
    office: Office,
    cases: Vec<(&'static Rule, String)>,
}

impl Stage {
    async fn open(world: World, each: usize) -> Stage {
        let office = Office::open(world).await;
        let mut cases = Vec::new();
        for rule in RULES.iter().flat_map(|rule| std::iter::repeat_n(rule, each)) {
            cases.push((rule, office.case_of(ANA).await));
        }
        Stage { office, cases }
    }

    /// Every instant at which something happens or is told.
    fn instants(&self) -> BTreeSet<&'static str> {
        let happens = RULES.iter().flat_map(|rule| rule.happens.iter().map(|(when, _)| *when));
        let told = RULES.iter().flat_map(|rule| rule.told.iter().map(|(when, ..)| *when));
        happens.chain(told).collect()
    }

    async fn happens_at(&self, instant: &str) {
        self.office.world.set_clock(instant);
        for (rule, case) in &self.cases {
            for (_, fact) in rule.happens.iter().filter(|(when, _)| *when == instant) {
                self.happens(case, *fact).await;
            }
        }
    }

    async fn happens(&self, case: &str, fact: Fact) {
        let office = &self.office;
        let now = office.world.clock.now();
        let visit = |status: &str| contact::Model {
            case_id: case.into(),
            kind: "visit".into(),
            status: status.into(),
            occurred_at: (status != "planned").then_some(now),
            planned_start: (status == "planned").then_some(now.plus_ms(2 * 86_400_000)),
            ..contact::Model::default()
        };
        let only = async |table: &str| {
            let text = format!("select id from {table} where case_id = $1");
            office.asks(&text, vec![case.into()]).await.remove(0)
        };
        let goal_is = async |lifecycle: &str| {
            office.change::<goal::Entity>(&only("goals").await, |goal| goal.lifecycle = lifecycle.into()).await;
        };
        match fact {
            Fact::Goal(due) => drop(office.goal(case, due).await),
            Fact::GoalIsWithdrawn => goal_is("withdrawn").await,
            Fact::OnlyGoalIs(lifecycle) => goal_is(lifecycle).await,
            Fact::Visit(next) => {
                let next_contact_on = Some(day(next));
                drop(office.contact(contact::Model { next_contact_on, ..visit("completed") }).await);
            }
            Fact::ContactIsPlanned => drop(office.contact(visit("planned")).await),
            Fact::NoShow => drop(office.contact(visit("no_show")).await),
            Fact::VisitIsHeld => drop(office.contact(visit("completed")).await),
            Fact::Referral(priority) => drop(office.referral_of(case, priority).await),
            Fact::ReferralIs(status) => {
                let id = only("referrals").await;
                office.change::<referral::Entity>(&id, |referral| referral.status = status.into()).await;
            }
        }
    }

    /// Walks from one instant to the next: a second before each, at it, and twenty minutes after it. What was told, as
    /// `instant address: subject`.
    async fn walks(
        &self,
        instants: impl IntoIterator<Item = &'static str>,
        works: impl AsyncFn(&Office),
    ) -> Vec<String> {
        let mut told = Vec::new();
        for instant in instants {
            let exact = at(instant);
            self.office.world.clock.set(exact.plus_ms(-1000));
            told.extend(self.told_by(&works).await);
            self.happens_at(instant).await;
            told.extend(self.told_by(&works).await);
            self.office.world.clock.set(exact.plus_ms(20 * 60_000));
            told.extend(self.told_by(&works).await);
        }
        told.sort();
        told
    }

    async fn told_by(&self, works: &impl AsyncFn(&Office)) -> Vec<String> {
        let before: BTreeSet<String> = self.office.post.mails().into_iter().map(|mail| mail.message_id).collect();
        let many = self.office.post.mails().len();
        works(&self.office).await;
        let mails = self.office.post.mails();
        let now = self.office.world.clock.now();
        let new: Vec<_> = mails.iter().filter(|mail| !before.contains(&mail.message_id)).collect();
        assert_eq!(many + new.len(), mails.len(), "a message came twice");
        new.iter().map(|mail| line(now, &mail.to, &mail.subject)).collect()
    }
}

fn line(now: Instant, to: &str, subject: &str) -> String {
    let subject = if subject.starts_with(DIGEST) { DIGEST } else { subject };
    format!("{} {to}: {subject}", now.rfc3339())
}

/// The lines of the table that hold, as often as there are cases for each rule; a digest is one for all of them.
fn expected(each: usize, holds: impl Fn(&str) -> bool) -> Vec<String> {
    let many = |line: &&(_, _, &str)| if line.2 == DIGEST { 1 } else { each };
    let lines = RULES.iter().flat_map(|rule| rule.told).flat_map(|line| std::iter::repeat_n(line, many(&line)));
    let mut told: Vec<_> =
        lines.filter(|(when, ..)| holds(when)).map(|(when, to, subject)| line(at(when), to, subject)).collect();
    told.sort();
    told
}

async fn one_worker(office: &Office) {
    office.works().await;
}

async fn each_rule_speaks_once_at_its_instant_across_the_clock_change(world: World) {
    let stage = Stage::open(world, 1).await;
    assert_eq!(stage.walks(stage.instants(), one_worker).await, expected(1, |_| true));
}

async fn each_rule_speaks_once_where_two_workers_work(world: World) {
    // Enough for both to have something in hand at every instant.
    const EACH: usize = 6;
    let stage = Stage::open(world, EACH).await;
    let other = stage.office.world.db.store(stage.office.world.clock.clone()).await;
    let nowhere = worker::Mailer::to_server(None, "desk@riverbend.example", "https://desk.riverbend.example");
    let nowhere = nowhere.expect("a mailer");
    let both = async |office: &Office| {
        // First both fire, then both send: neither is a step behind the other.
        for mailer in [&nowhere, &office.mailer] {
            let (one, two) = tokio::join!(drain_once(office.store(), mailer, None), drain_once(&other, mailer, None));
            one.expect("one works");
            two.expect("the other works");
        }
    };
    assert_eq!(stage.walks(stage.instants(), both).await, expected(EACH, |_| true));
}

async fn each_rule_is_caught_up_once_after_three_days_without_a_worker(world: World) {
    let stage = Stage::open(world, 1).await;
    let (from, to) = OUTAGE;
    assert_eq!(at(to).0 - at(from).0, 3 * 86_400_000);
    let before = stage.walks(stage.instants().into_iter().filter(|when| *when < from), one_worker).await;
    assert_eq!(before, expected(1, |when| when < from));
    for instant in stage.instants().into_iter().filter(|when| (from..to).contains(when)) {
        stage.happens_at(instant).await;
    }
    stage.office.world.set_clock(to);
    let mut late = stage.told_by(&one_worker).await;
    late.sort();
    for rule in RULES {
        assert!(!rule.late.is_empty(), "the outage has to fall on something of the rule {}", rule.name);
    }
    let all = RULES.iter().flat_map(|rule| rule.late);
    let mut wanted: Vec<_> = all.map(|(address, subject)| line(at(to), address, subject)).collect();
    wanted.sort();
    assert_eq!(late, wanted);
    let after = stage.walks(stage.instants().into_iter().filter(|when| *when > to), one_worker).await;
    assert_eq!(after, expected(1, |when| when > to), "and goes on as if nothing had been");
}

async fn no_rule_speaks_once_its_reason_is_gone(world: World) {
    let stage = Stage::open(world, 1).await;
    for rule in RULES {
        assert!(rule.told.iter().any(|(when, ..)| *when > END), "{} has nothing more to say", rule.name);
    }
    let before = stage.walks(stage.instants().into_iter().filter(|when| *when < END), one_worker).await;
    assert_eq!(before, expected(1, |when| when < END));
    stage.office.world.set_clock(END);
    for (rule, case) in &stage.cases {
        if let Some(fact) = rule.ends {
            stage.happens(case, fact).await;
        }
        assert_eq!(stage.office.pending_before(case, "2027-04").await, [""; 0], "{}", rule.name);
    }
    let after = stage.walks(stage.instants().into_iter().filter(|when| *when > END), one_worker).await;
    assert_eq!(after, [""; 0]);
}

/// Two of `fieldstone worker`, on the machine's clock, whatever it says: a referral is told at the moment it is sent. By
/// either of them, and by one.
async fn two_worker_processes_tell_each_thing_once(world: World) {
    const MANY: usize = 40;
    world.clock.set(Clock::System.now());
    let office = Office::open(world).await;
    let settings = [
        ("FIELDSTONE_DATABASE_URL", office.world.db.url.clone()),
        ("FIELDSTONE_SMTP_URL", office.post.url()),
        ("FIELDSTONE_MAIL_FROM", "Fieldstone <desk@riverbend.example>".to_owned()),
    ];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut workers = [Server::launch(&["worker"], &settings), Server::launch(&["worker"], &settings)];
    for worker in &workers {
        worker.says("the worker").await;
    }
    for _ in 0..MANY {
        let case = office.case_of(ANA).await;
        office.referral(&case).await;
    }
    for tries in 0.. {
        if office.mails_to(PAT).len() >= MANY {
            break;
        }
        assert!(tries < 3000, "{}\n{}", workers[0].log(), workers[1].log());
        // Waiting for other processes: there is nothing here to be told by.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for worker in &mut workers {
        worker.is_asked_to_stop();
        worker.ends().await;
    }
    office.works().await;
    let mails = office.post.mails();
    assert!(mails.iter().all(|mail| (mail.to.as_str(), mail.subject.as_str()) == (PAT, "A new referral for you")));
    let ids: BTreeSet<_> = mails.iter().map(|mail| mail.message_id.clone()).collect();
    assert_eq!((mails.len(), ids.len()), (MANY, MANY));
}
