use std::sync::Arc;

use super::*;
use crate::workflow::calendar::{Calendar, Quiet};
use crate::workflow::facts::{AgencyFacts, ContactFact, GoalFact, Person, ReferralFact};
use crate::workflow::rule::{Audience, Occurrence};
use crate::workflow::rules;

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

fn person(id: &str) -> Option<Person> {
    Some(Person { user_id: id.into(), zone: None, hour: 8, away: None })
}

fn case(zone: &str) -> CaseFacts {
    CaseFacts {
        agency: Arc::new(AgencyFacts {
            id: "agency-1".into(),
            zone: Zone::named(zone).unwrap(),
            calendar: Calendar::default(),
            counts_only: false,
        }),
        id: "case-0001".into(),
        reference: "QX7-ZP2".into(),
        status: "active".into(),
        reopened_at: None,
        zone: None,
        parts: Vec::new(),
        caseworker: person("ana"),
        covering: Vec::new(),
        supervisor: person("sam"),
        goals: vec![],
        contacts: vec![],
        referrals: vec![],
    }
}

fn goal(due: &str) -> GoalFact {
    GoalFact {
        id: "goal-0001".into(),
        version_of: None,
        lifecycle: "active".into(),
        due_on: Some(day(due)),
        offsets: None,
        completed_at: None,
    }
}

fn referral(status: &str, requested: &str) -> ReferralFact {
    ReferralFact {
        id: "referral-1".into(),
        reference: "RF".into(),
        status: status.into(),
        priority: "routine".into(),
        partner_org_id: Some("org-1".into()),
        requested_at: at(requested),
        reachable: true,
        agreed_until: Some(day("2099-12-31")),
        agreed: true,
    }
}

fn contact(id: &str, status: &str, when: &str, next: Option<&str>) -> ContactFact {
    ContactFact { id: id.into(), status: status.into(), at: at(when), next_contact_on: next.map(day), no_show_seq: 1 }
}

/// The engine in small: plans at each of the given instants in turn, remembers what the plan says
/// to do, and tells what fired.
#[derive(Default)]
struct Walk {
    memory: Memory,
    fired: Vec<String>,
}

impl Walk {
    fn tick(&mut self, rules: &[&'static Rule], facts: &CaseFacts, now: &str) -> &mut Walk {
        let now = at(now);
        for chain in plan(rules, facts, &self.memory, now) {
            let key = (chain.rule.id.to_owned(), chain.subject_id.clone(), chain.watched.clone());
            self.memory.watches.insert(key, chain.watch);
            for planned in chain.steps.iter().filter(|_| chain.stops.is_empty()) {
                let outcome = match planned.standing {
                    Standing::Due => "fired",
                    Standing::Superseded(_) if planned.due_at <= now => "superseded",
                    Standing::Missed(_) => "missed",
                    _ => continue,
                };
                if outcome == "fired" {
                    self.fired.push(format!("{} {}", planned.step.id, short(planned.due_at)));
                }
                self.memory.outcomes.insert(planned.key.clone(), outcome.into());
            }
        }
        self
    }

    fn outcome(&self, step: &str) -> Option<&str> {
        self.memory.outcomes.iter().find(|(key, _)| key.ends_with(&format!("|{step}"))).map(|(_, said)| said.as_str())
    }
}

fn short(at: Instant) -> String {
    at.rfc3339().replace(":00.000Z", "Z")
}

fn due(facts: &CaseFacts, rule: &'static Rule) -> Vec<String> {
    let chains = plan(&[rule], facts, &Memory::default(), at("2027-01-01T00:00:00Z"));
    chains.iter().flat_map(|c| &c.steps).map(|p| format!("{} {}", p.step.id, short(p.due_at))).collect()
}

const GOAL: &[&Rule] = &[&rules::goal_deadline::RULE];
const REFERRAL: &[&Rule] = &[&rules::referral_answer::RULE];
const CLOSURE: &[&Rule] = &[&rules::closure_ready::RULE];

#[test]
fn a_week_before_is_a_week_of_days_even_when_the_clock_changes_in_between() {
    let mut facts = case("America/New_York");
    facts.goals = vec![goal("2027-03-20")];
    assert!(due(&facts, GOAL[0]).contains(&"d7 2027-03-13T13:00Z".to_owned()));
    facts.goals = vec![goal("2027-03-14")];
    assert_eq!(
        due(&facts, GOAL[0]),
        [
            "d14 2027-02-28T13:00Z",
            "d7 2027-03-07T13:00Z",
            "d1 2027-03-13T13:00Z",
            "d0 2027-03-14T12:00Z",
            "late 2027-03-17T12:00Z"
        ]
    );
    let mut london = case("Europe/London");
    london.goals = vec![goal("2027-03-28")];
    let times = due(&london, GOAL[0]);
    assert!(times.contains(&"d1 2027-03-27T08:00Z".to_owned()));
    assert!(times.contains(&"d0 2027-03-28T07:00Z".to_owned()));
    let mut auckland = case("Pacific/Auckland");
    auckland.goals = vec![goal("2027-01-31")];
    assert!(due(&auckland, GOAL[0]).contains(&"d1 2027-01-29T19:00Z".to_owned()));
}

#[test]
fn a_time_inside_the_spring_gap_fires_once_after_it() {
    static HALF_PAST_TWO: Rule = Rule {
        id: "test.gap",
        version: 1,
        subject_kind: "goal",
        at: Some((2, 30)),
        catch_up: CatchUp::Latest,
        occurrences: |facts| (rules::goal_deadline::RULE.occurrences)(facts),
    };
    let mut facts = case("America/New_York");
    facts.goals = vec![goal("2027-03-21")];
    let chains = plan(&[&HALF_PAST_TWO], &facts, &Memory::default(), at("2027-03-01T00:00:00Z"));
    let d7 = chains[0].steps.iter().find(|planned| planned.step.id == "d7").unwrap();
    assert_eq!(wall(d7.nominal), "2027-03-14 02:30");
    assert_eq!(d7.due_at, at("2027-03-14T07:30:00Z"));
    let mut walk = Walk::default();
    for now in ["2027-03-01T00:00:00Z", "2027-03-14T07:30:00Z", "2027-03-14T08:30:00Z"] {
        walk.tick(&[&HALF_PAST_TWO], &facts, now);
    }
    assert_eq!(walk.fired, ["d7 2027-03-14T07:30Z"]);
}

#[test]
fn a_moved_date_is_reminded_anew_and_the_old_one_no_more() {
    let mut facts = case("America/New_York");
    facts.goals = vec![goal("2027-06-30")];
    let mut walk = Walk::default();
    walk.tick(GOAL, &facts, "2027-06-01T00:00:00Z").tick(GOAL, &facts, "2027-06-16T12:00:00Z");
    facts.goals = vec![goal("2027-07-30")];
    for now in ["2027-06-20T15:00:00Z", "2027-06-23T12:00:00Z", "2027-07-16T12:00:00Z", "2027-07-23T12:00:00Z"] {
        walk.tick(GOAL, &facts, now);
    }
    assert_eq!(walk.fired, ["d14 2027-06-16T12:00Z", "d14 2027-07-16T12:00Z", "d7 2027-07-23T12:00Z"]);
}

#[test]
fn a_date_moved_away_and_back_loses_no_step_and_repeats_none() {
    let mut facts = case("America/New_York");
    facts.goals = vec![goal("2027-06-30")];
    let mut walk = Walk::default();
    walk.tick(GOAL, &facts, "2027-06-01T00:00:00Z").tick(GOAL, &facts, "2027-06-16T12:00:00Z");
    facts.goals = vec![goal("2027-07-30")];
    walk.tick(GOAL, &facts, "2027-06-18T00:00:00Z");
    facts.goals = vec![goal("2027-06-30")];
    walk.tick(GOAL, &facts, "2027-06-19T00:00:00Z").tick(GOAL, &facts, "2027-06-23T12:00:00Z");
    assert_eq!(walk.fired, ["d14 2027-06-16T12:00Z", "d7 2027-06-23T12:00Z"]);
}

fn policy(catch_up: CatchUp) -> &'static Rule {
    const fn with(catch_up: CatchUp) -> Rule {
        Rule {
            id: "test.policy",
            version: 1,
            subject_kind: "goal",
            at: None,
            catch_up,
            occurrences: |facts| (rules::goal_deadline::RULE.occurrences)(facts),
        }
    }
    static LATEST: Rule = with(CatchUp::Latest);
    static ALL: Rule = with(CatchUp::All);
    static SKIP: Rule = with(CatchUp::Skip);
    match catch_up {
        CatchUp::Latest => &LATEST,
        CatchUp::All => &ALL,
        CatchUp::Skip => &SKIP,
    }
}

#[test]
fn after_an_outage_only_the_latest_step_speaks_unless_the_rule_says_otherwise() {
    for (catch_up, fired, d7) in [
        (CatchUp::Latest, vec!["d1 2027-04-10T12:00Z"], "superseded"),
        (CatchUp::All, vec!["d7 2027-04-04T12:00Z", "d1 2027-04-10T12:00Z"], "fired"),
        (CatchUp::Skip, vec![], "missed"),
    ] {
        let mut facts = case("America/New_York");
        facts.goals = vec![goal("2027-04-11")];
        let mut walk = Walk::default();
        walk.tick(&[policy(catch_up)], &facts, "2027-04-01T00:00:00Z");
        walk.tick(&[policy(catch_up)], &facts, "2027-04-10T15:00:00Z");
        assert_eq!(walk.fired, fired, "{catch_up:?}");
        assert_eq!(walk.outcome("d7"), Some(d7), "{catch_up:?}");
        assert_eq!(walk.outcome("d1"), Some(if catch_up == CatchUp::Skip { "missed" } else { "fired" }));
        walk.tick(&[policy(catch_up)], &facts, "2027-04-10T16:00:00Z");
        assert_eq!(walk.fired, fired, "{catch_up:?} again");
    }
}

#[test]
fn the_supervisor_is_never_told_before_the_caseworker() {
    let mut facts = case("America/New_York");
    facts.goals = vec![goal("2027-04-09")];
    let mut walk = Walk::default();
    walk.tick(GOAL, &facts, "2027-03-20T00:00:00Z").tick(GOAL, &facts, "2027-04-16T00:00:00Z");
    assert_eq!(walk.fired, ["d0 2027-04-09T12:00Z", "late 2027-04-14T12:00Z"]);
    assert_eq!(walk.outcome("d1"), Some("superseded"));
}

#[test]
fn what_was_due_before_there_was_anything_to_remind_of_is_not_made_up_for() {
    let mut facts = case("America/New_York");
    facts.goals = vec![goal("2027-04-11")];
    let mut walk = Walk::default();
    walk.tick(GOAL, &facts, "2027-04-06T15:00:00Z");
    assert!(walk.fired.is_empty());
    walk.tick(GOAL, &facts, "2027-04-10T12:00:00Z");
    assert_eq!(walk.fired, ["d1 2027-04-10T12:00Z"]);
}

#[test]
fn a_goal_that_is_agreed_late_is_told_of_at_once() {
    let mut facts = case("America/New_York");
    facts.goals = vec![goal("2027-04-09")];
    let mut walk = Walk::default();
    walk.tick(GOAL, &facts, "2027-04-12T15:00:00Z");
    assert_eq!(walk.fired, ["d0 2027-04-09T12:00Z"]);
}

#[test]
fn reopening_does_not_refire() {
    let mut facts = case("America/New_York");
    facts.goals = vec![goal("2027-04-09")];
    let mut walk = Walk::default();
    walk.tick(GOAL, &facts, "2027-03-20T00:00:00Z").tick(GOAL, &facts, "2027-04-09T12:00:00Z");
    facts.status = "closed".into();
    walk.tick(GOAL, &facts, "2027-04-10T12:00:00Z").tick(GOAL, &facts, "2027-04-20T12:00:00Z");
    facts.status = "active".into();
    walk.tick(GOAL, &facts, "2027-04-25T12:00:00Z").tick(GOAL, &facts, "2027-05-25T12:00:00Z");
    assert_eq!(walk.fired, ["d0 2027-04-09T12:00Z"]);
}

#[test]
fn a_paused_case_is_not_reminded() {
    let mut facts = case("America/New_York");
    facts.goals = vec![goal("2027-04-09")];
    facts.status = "on_hold".into();
    let chains = plan(GOAL, &facts, &Memory::default(), at("2027-04-01T00:00:00Z"));
    assert!(chains[0].next().is_none());
    assert_eq!(chains[0].stops[0].fact.as_deref(), Some("cases.status = on_hold"));
}

#[test]
fn working_days_of_a_referral_leave_out_the_holiday() {
    static AT_NINE: Rule = Rule {
        id: "test.nine",
        version: 1,
        subject_kind: "referral",
        at: Some((9, 0)),
        catch_up: CatchUp::Latest,
        occurrences: |facts| (rules::referral_answer::RULE.occurrences)(facts),
    };
    let mut facts = case("America/New_York");
    facts.referrals = vec![referral("requested", "2027-12-23T20:00:00Z")];
    let with = |facts: &CaseFacts, holidays: &[&str]| {
        let mut calendar = Calendar::default();
        calendar.holidays.extend(holidays.iter().map(|text| day(text)));
        CaseFacts { agency: Arc::new(AgencyFacts { calendar, ..(*facts.agency).clone() }), ..facts.clone() }
    };
    assert!(due(&with(&facts, &["2027-12-24"]), &AT_NINE).contains(&"nudge 2027-12-29T14:00Z".to_owned()));
    let later = with(&facts, &["2027-12-24", "2027-12-27"]);
    assert!(due(&later, &AT_NINE).contains(&"nudge 2027-12-30T14:00Z".to_owned()));
    assert_eq!(due(&later, &AT_NINE)[0], "told 2027-12-23T20:00Z");
}

#[test]
fn an_answered_referral_falls_silent() {
    let mut facts = case("America/New_York");
    facts.referrals = vec![referral("requested", "2027-03-01T15:00:00Z")];
    let mut walk = Walk::default();
    walk.tick(REFERRAL, &facts, "2027-03-01T15:00:00Z").tick(REFERRAL, &facts, "2027-03-04T13:00:00Z");
    facts.referrals[0].status = "rejected".into();
    walk.tick(REFERRAL, &facts, "2027-03-05T13:00:00Z").tick(REFERRAL, &facts, "2027-03-30T13:00:00Z");
    assert_eq!(walk.fired, ["told 2027-03-01T15:00Z", "nudge 2027-03-04T13:00Z"]);
}

#[test]
fn a_silent_partner_is_reminded_twice_then_the_caseworker_then_the_supervisor() {
    let mut facts = case("America/New_York");
    facts.referrals = vec![referral("requested", "2027-03-01T15:00:00Z")];
    let mut walk = Walk::default();
    for number in 1..31 {
        walk.tick(REFERRAL, &facts, &format!("2027-03-{number:02}T16:00:00Z"));
    }
    assert_eq!(
        walk.fired,
        [
            "told 2027-03-01T15:00Z",
            "nudge 2027-03-04T13:00Z",
            "second 2027-03-10T13:00Z",
            "caseworker 2027-03-11T13:00Z",
            "supervisor 2027-03-15T12:00Z"
        ]
    );
}

#[test]
fn a_chain_that_somebody_marked_as_done_does_not_go_up() {
    let mut facts = case("America/New_York");
    facts.referrals = vec![referral("requested", "2027-03-01T15:00:00Z")];
    let mut memory = Memory::default();
    let id = plan(REFERRAL, &facts, &memory, at("2027-03-01T15:00:00Z"))[0].id();
    memory.done.insert(id);
    let chains = plan(REFERRAL, &facts, &memory, at("2027-03-01T15:00:00Z"));
    assert!(matches!(chains[0].steps[4].standing, Standing::Skipped(_)));
    assert!(matches!(chains[0].steps[3].standing, Standing::Waiting));
}

#[test]
fn ready_to_close_is_asked_once_for_each_time_it_becomes_true() {
    let mut facts = case("America/New_York");
    facts.goals = vec![goal("2027-08-01")];
    let mut walk = Walk::default();
    walk.tick(CLOSURE, &facts, "2027-05-31T15:00:00Z");
    facts.goals[0].lifecycle = "completed".into();
    walk.tick(CLOSURE, &facts, "2027-06-01T15:00:00Z").tick(CLOSURE, &facts, "2027-06-01T15:05:00Z");
    assert_eq!(walk.fired.len(), 1);
    facts.goals[0].lifecycle = "active".into();
    walk.tick(CLOSURE, &facts, "2027-06-05T15:00:00Z").tick(CLOSURE, &facts, "2027-06-08T15:00:00Z");
    facts.goals[0].lifecycle = "completed".into();
    walk.tick(CLOSURE, &facts, "2027-06-10T15:00:00Z").tick(CLOSURE, &facts, "2027-06-11T15:00:00Z");
    assert_eq!(walk.fired, ["ask 2027-06-01T12:00Z", "ask 2027-06-10T12:00Z"]);
    walk.tick(CLOSURE, &facts, "2027-06-24T12:00:00Z");
    assert_eq!(walk.fired.last().map(String::as_str), Some("again 2027-06-24T12:00Z"));
}

#[test]
fn withdrawn_goals_alone_do_not_make_a_case_ready() {
    let mut facts = case("America/New_York");
    facts.goals = vec![GoalFact { lifecycle: "withdrawn".into(), ..goal("2027-08-01") }];
    assert!(plan(CLOSURE, &facts, &Memory::default(), at("2027-05-31T15:00:00Z"))[0].next().is_none());
}

#[test]
fn a_follow_up_is_due_the_day_before_and_on_the_day_until_one_is_planned() {
    let mut facts = case("America/New_York");
    facts.contacts = vec![contact("contact-1", "completed", "2027-03-01T15:00:00Z", Some("2027-03-14"))];
    assert_eq!(due(&facts, &rules::follow_up::RULE), ["d1 2027-03-13T13:00Z", "d0 2027-03-14T12:00Z"]);
    facts.contacts.push(contact("contact-2", "planned", "2027-03-20T15:00:00Z", None));
    let chains = plan(&[&rules::follow_up::RULE], &facts, &Memory::default(), at("2027-03-02T00:00:00Z"));
    assert_eq!(chains[0].stops[0].fact.as_deref(), Some("contacts.status = planned"));
    facts.contacts[1].status = "worker_cancelled".into();
    let chains = plan(&[&rules::follow_up::RULE], &facts, &Memory::default(), at("2027-03-02T00:00:00Z"));
    assert!(chains[0].next().is_some());
}

#[test]
fn a_no_show_is_followed_up_one_working_day_later() {
    let mut facts = case("America/New_York");
    // A Friday evening in New York, already Saturday in UTC.
    facts.contacts = vec![contact("contact-1", "no_show", "2027-03-13T02:00:00Z", None)];
    assert_eq!(due(&facts, &rules::no_show::RULE), ["next_day 2027-03-15T12:00Z"]);
    facts.contacts[0].no_show_seq = 2;
    let chains = plan(&[&rules::no_show::RULE], &facts, &Memory::default(), at("2027-03-14T00:00:00Z"));
    assert_eq!(chains[0].steps[0].step.to, [Audience::Caseworker, Audience::Supervisor]);
    facts.contacts.push(contact("contact-2", "completed", "2027-03-14T15:00:00Z", None));
    let chains = plan(&[&rules::no_show::RULE], &facts, &Memory::default(), at("2027-03-14T16:00:00Z"));
    assert!(chains[0].next().is_none());
}

#[test]
fn quiet_hours_and_days_off_move_a_step_but_not_past_its_anchor() {
    let hour = |h, m| NaiveTime::from_hms_opt(h, m, 0).unwrap();
    let mut facts = case("America/New_York");
    let quiet = Some(Quiet { from: hour(19, 0), to: hour(7, 30) });
    let calendar = Calendar { quiet, ..Calendar::default() };
    facts.agency = Arc::new(AgencyFacts { calendar, ..(*facts.agency).clone() });
    // d7 on Saturday 13 March waits for Monday; d1 on Friday stays.
    facts.goals = vec![goal("2027-03-20")];
    let times = due(&facts, GOAL[0]);
    assert!(times.contains(&"d7 2027-03-15T12:00Z".to_owned()), "{times:?}");
    // The due day is a Sunday itself: what leads up to it comes before it, and what is of the day on Monday.
    facts.goals = vec![goal("2027-03-21")];
    let mut walk = Walk::default();
    walk.tick(GOAL, &facts, "2027-03-16T00:00:00Z").tick(GOAL, &facts, "2027-03-19T22:59:00Z");
    walk.tick(GOAL, &facts, "2027-03-22T12:00:00Z");
    assert_eq!(walk.fired, ["d1 2027-03-19T22:59Z", "d0 2027-03-22T12:00Z"]);
    // Told at eight in the evening, due on a Friday: moved back to the last open minute.
    facts.caseworker = Some(Person { hour: 20, ..person("ana").unwrap() });
    facts.goals = vec![goal("2027-03-19")];
    assert!(due(&facts, GOAL[0]).contains(&"d0 2027-03-19T22:59Z".to_owned()));
}

#[test]
fn a_new_version_with_one_more_step_repeats_none_and_skips_what_was_over() {
    const V2: &[Step] = &[
        Step::new("d14", Offset::Days(-14), &[Audience::Caseworker], "goal_deadline"),
        Step::new("d7", Offset::Days(-7), &[Audience::Caseworker], "goal_deadline"),
        Step::new("d3", Offset::Days(-3), &[Audience::Caseworker], "goal_deadline"),
        Step::new("d1", Offset::Days(-1), &[Audience::Caseworker], "goal_deadline"),
    ];
    static NEWER: Rule = Rule {
        id: "goal.deadline",
        version: 2,
        subject_kind: "goal",
        at: None,
        catch_up: CatchUp::Latest,
        occurrences: |facts| {
            (rules::goal_deadline::RULE.occurrences)(facts)
                .into_iter()
                .map(|occurrence| Occurrence { steps: V2, ..occurrence })
                .collect()
        },
    };
    let mut facts = case("America/New_York");
    facts.goals = vec![goal("2027-05-20")];
    let mut walk = Walk::default();
    for now in ["2027-05-01T00:00:00Z", "2027-05-06T12:00:00Z", "2027-05-13T12:00:00Z"] {
        walk.tick(GOAL, &facts, now);
    }
    for now in ["2027-05-14T12:00:00Z", "2027-05-17T12:00:00Z", "2027-05-19T12:00:00Z"] {
        walk.tick(&[&NEWER], &facts, now);
    }
    assert_eq!(
        walk.fired,
        ["d14 2027-05-06T12:00Z", "d7 2027-05-13T12:00Z", "d3 2027-05-17T12:00Z", "d1 2027-05-19T12:00Z"]
    );
}

#[test]
fn who_holds_a_role_falls_back_and_says_so() {
    let mut facts = case("America/New_York");
    let today = day("2027-03-01");
    facts.caseworker = Some(Person { away: Some((today, today)), ..person("ana").unwrap() });
    assert_eq!(facts.holder(Audience::Caseworker, today).0.unwrap().user_id, "ana");
    facts.covering.extend(person("ben"));
    assert_eq!(facts.holder(Audience::Caseworker, today).0.unwrap().user_id, "ben");
    assert_eq!(facts.holder(Audience::Caseworker, today.plus_days(1)).0.unwrap().user_id, "ana");
    facts.caseworker = None;
    facts.covering.clear();
    let (who, why) = facts.holder(Audience::Caseworker, today);
    assert_eq!((who.unwrap().user_id.as_str(), why.unwrap().kind), ("sam", "fallback"));
    facts.supervisor = None;
    assert!(facts.holder(Audience::Supervisor, today).0.is_none());
}

#[test]
fn the_digest_counts_what_stands_and_is_empty_when_nothing_does() {
    let mut facts = case("America/New_York");
    let now = at("2027-03-12T13:00:00Z");
    assert!(rules::digest::sections(&[facts.clone()], now).is_empty());
    facts.goals = vec![goal("2027-03-11"), goal("2027-03-19"), goal("2027-03-20")];
    facts.referrals = vec![referral("requested", "2027-03-08T15:00:00Z"), referral("accepted", "2027-03-01T15:00:00Z")];
    facts.contacts = vec![contact("contact-1", "no_show", "2027-03-10T15:00:00Z", None)];
    let said = rules::digest::sections(&[facts.clone()], now);
    let counts = (said.overdue.len(), said.due_soon.len(), said.unanswered.len(), said.no_shows.len());
    assert_eq!(counts, (1, 1, 1, 1));
    facts.status = "closed".into();
    assert!(rules::digest::sections(&[facts], now).is_empty());
}

proptest::proptest! {
    /// Whatever the order and the spacing of ticks, a key fires once, steps fire in order, and
    /// nothing fires before its time.
    #[test]
    fn a_walk_fires_each_step_at_most_once_and_never_early(
        hours in proptest::collection::vec(1_i64..200, 1..40),
        paused in proptest::collection::vec(proptest::bool::weighted(0.2), 40),
    ) {
        let mut facts = case("America/New_York");
        facts.goals = vec![goal("2027-04-01")];
        let mut walk = Walk::default();
        let mut now = at("2027-03-01T00:00:00Z");
        for (by, paused) in hours.iter().zip(paused) {
            now = now.plus_secs(by * 3600);
            facts.status = if paused { "on_hold" } else { "active" }.into();
            let before = walk.fired.len();
            walk.tick(GOAL, &facts, &now.rfc3339());
            for fired in &walk.fired[before..] {
                let due = fired.split(' ').nth(1).unwrap().replace('Z', ":00Z");
                proptest::prop_assert!(at(&due) <= now);
            }
        }
        let mut seen = walk.fired.clone();
        seen.dedup();
        proptest::prop_assert_eq!(&seen, &walk.fired);
        let order = ["d14", "d7", "d1", "d0", "late"];
        let places: Vec<_> = walk.fired.iter().map(|f| order.iter().position(|o| f.starts_with(&format!("{o} "))).unwrap()).collect();
        proptest::prop_assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

#[test]
fn a_goal_is_reminded_on_the_days_it_names() {
    let mut facts = case("America/New_York");
    facts.goals = vec![GoalFact { offsets: Some(vec![7, 0]), ..goal("2027-05-20") }];
    let mut walk = Walk::default();
    for now in ["2027-05-01T00:00:00Z", "2027-05-06T12:00:00Z", "2027-05-13T12:00:00Z", "2027-05-19T12:00:00Z"] {
        walk.tick(GOAL, &facts, now);
    }
    for now in ["2027-05-20T12:00:00Z", "2027-05-25T12:00:00Z"] {
        walk.tick(GOAL, &facts, now);
    }
    assert_eq!(walk.fired, ["d7 2027-05-13T12:00Z", "d0 2027-05-20T12:00Z"]);
    let chains = plan(GOAL, &facts, &Memory::default(), at("2027-05-01T00:00:00Z"));
    let why = chains[0].steps.iter().find_map(|planned| match &planned.standing {
        Standing::Skipped(why) => why.fact.clone(),
        _ => None,
    });
    assert_eq!(why.as_deref(), Some("goals.reminder_offsets_days lacks 14"));
}

#[test]
fn what_one_version_of_a_goal_said_is_not_said_again_by_the_next() {
    let mut facts = case("America/New_York");
    facts.goals = vec![goal("2027-05-20")];
    let mut walk = Walk::default();
    walk.tick(GOAL, &facts, "2027-05-01T00:00:00Z").tick(GOAL, &facts, "2027-05-06T12:00:00Z");
    assert_eq!(walk.fired, ["d14 2027-05-06T12:00Z"]);
    let version = |id: &str, of: &str| GoalFact { id: id.into(), version_of: Some(of.into()), ..goal("2027-05-20") };
    let over = |goal: GoalFact| GoalFact { lifecycle: "superseded".into(), ..goal };
    // The second stands in the place of the first, and the third in its, on the day of the reminder still.
    facts.goals =
        vec![over(goal("2027-05-20")), over(version("goal-0002", "goal-0001")), version("goal-0003", "goal-0002")];
    for now in ["2027-05-06T11:00:00Z", "2027-05-06T13:00:00Z", "2027-05-13T12:00:00Z", "2027-05-14T12:00:00Z"] {
        walk.tick(GOAL, &facts, now);
    }
    assert_eq!(walk.fired, ["d14 2027-05-06T12:00Z", "d7 2027-05-13T12:00Z"]);
    // Two that replace one are goals of their own, and so is one beside which the first goes on.
    facts.goals = vec![over(goal("2027-05-20")), version("goal-0002", "goal-0001"), version("goal-0003", "goal-0001")];
    let mut walk = Walk::default();
    walk.tick(GOAL, &facts, "2027-05-01T00:00:00Z").tick(GOAL, &facts, "2027-05-06T12:00:00Z");
    assert_eq!(walk.fired.len(), 2);
    facts.goals = vec![goal("2027-05-20"), version("goal-0002", "goal-0001")];
    let mut walk = Walk::default();
    walk.tick(GOAL, &facts, "2027-05-01T00:00:00Z").tick(GOAL, &facts, "2027-05-06T12:00:00Z");
    assert_eq!(walk.fired.len(), 2);
    // Rows that name each other have no first, and are reminded all the same.
    facts.goals = vec![version("goal-0008", "goal-0009"), version("goal-0009", "goal-0008")];
    assert!(due(&facts, GOAL[0]).contains(&"d7 2027-05-13T12:00Z".to_owned()));
}
