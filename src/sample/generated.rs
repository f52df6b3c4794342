//! One generated case, in the shares and lengths that real casework has.
//!
//! The figures are those of published case-management studies where there are any (goals per case
//! and share achieved: goal attainment scaling; intervention mix: social-work notes; outcome of
//! referrals after 28 days; share of cases ended within a year: home visiting), and estimates
//! where there are none (contact results, note length, who belongs to a family).

use entities::Result;
use entities::casework::{case_assignment, contact, goal_rating, note};
use entities::doc::Doc;
use entities::partners::{referral, referral_event};
use serde_json::json;

use super::chance::Chance;
use super::draft::{Course, Draft, Part};
use super::scene::{Scene, Worker};
use super::{texts, words};

/// Whether the case is still open today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    Closed,
}

/// Makes the rows of one case. `before` is the colleague who had it where it changed hands.
pub(crate) fn case<'a>(
    scene: &'a Scene,
    worker: &'a Worker,
    before: &Worker,
    mut chance: Chance,
    fate: Fate,
) -> Result<Draft<'a>> {
    // 42 in 100 end within a year: a mean of 22 months.
    let length = (chance.exponential(660.0) as i64).clamp(21, 1400);
    let ended = if fate == Fate::Closed { chance.int(1, 700) } else { 0 };
    let opened = if fate == Fate::Closed { ended + length } else { (chance.exponential(190.0) as i64).clamp(1, 720) };
    let unit = chance.weighted(&[(0.45, "individual"), (0.45, "family"), (0.10, "group")]);
    let mut draft = Draft::open(scene, worker, chance, opened, unit);
    describe(&mut draft, fate, opened, ended);
    assignments(&mut draft, before, opened, (fate == Fate::Closed).then_some(ended))?;
    people(&mut draft, unit, opened)?;
    let goals = goals(&mut draft, fate, unit, opened, ended)?;
    contacts(&mut draft, &goals, fate, opened, ended)?;
    Ok(draft)
}

fn describe(draft: &mut Draft<'_>, fate: Fate, opened: i64, ended: i64) {
    let chance = &mut draft.chance;
    let case = &mut draft.case;
    case.intensity = chance.weighted(&[(0.35, "low"), (0.45, "medium"), (0.20, "high")]).into();
    case.risk = chance.weighted(&[(0.8, "none"), (0.15, "watch"), (0.05, "elevated")]).into();
    case.practice_model =
        Some(chance.weighted(&[(0.5, "solution_based"), (0.3, "strength_based"), (0.2, "client_centred")]).into());
    let tags = [
        "economic_hardship",
        "housing_insecurity",
        "relationship_and_communication",
        "school_difficulty",
        "trauma_or_loss",
        "unemployment",
        "mental_health",
    ];
    let (first, second) = (chance.pick(&tags), chance.pick(&tags));
    case.difficulty_tags = Some(Doc(if first == second { json!([first]) } else { json!([first, second]) }));
    case.summary = Some(format!("{}. {}", chance.pick(texts::GOALS).strength, chance.pick(texts::GOALS).why));
    if case.unit == "group" {
        case.group_kind =
            Some(chance.pick(&["students under stress", "recovery support", "intergenerational pairs"]).into());
    }
    if fate == Fate::Closed {
        case.status = "closed".into();
        case.stage = "closure".into();
        case.closed_on = Some(draft.scene.day(-ended));
        case.status_reason = Some(
            chance
                .weighted(&[
                    (38.0, "goals_achieved"),
                    (8.0, "no_longer_needed"),
                    (14.0, "client_withdrew"),
                    (18.0, "lost_contact"),
                    (8.0, "moved_out_of_area"),
                    (6.0, "transferred_to_other_provider"),
                    (3.0, "no_longer_eligible"),
                    (5.0, "other"),
                ])
                .into(),
        );
        return;
    }
    case.stage = match opened {
        ..20 => "engagement_assessment",
        20..45 => "goal_setting",
        45..60 => "intervention_planning",
        60..150 => "implementation",
        _ => chance.weighted(&[(0.5, "implementation"), (0.4, "monitoring_evaluation"), (0.1, "closure")]),
    }
    .into();
    case.status =
        if opened < 15 { "intake" } else { chance.weighted(&[(0.94, "active"), (0.04, "on_hold"), (0.02, "closing")]) }
            .into();
    if case.status == "on_hold" {
        case.status_reason = Some("The client asked for a pause".into());
        case.resume_on = Some(draft.scene.day(chance.int(5, 60)));
    }
    case.next_review_on = Some(draft.scene.day(90 - opened % 90));
}

/// Three cases in a hundred change hands each month.
fn assignments(draft: &mut Draft<'_>, before: &Worker, opened: i64, ended: Option<i64>) -> Result<()> {
    let lasted = opened - ended.unwrap_or(0);
    if lasted > 40 && draft.chance.yes(1.0 - 0.97_f64.powf(lasted as f64 / 30.4)) {
        let changed = opened - draft.chance.int(20, lasted - 10);
        let id = draft.chance.id(draft.scene.at(-opened, 9, 1));
        draft.bundle.add::<case_assignment::Entity>(&case_assignment::Model {
            id,
            case_id: draft.case.id.clone(),
            user_id: before.id.clone(),
            role: "primary".into(),
            from_ts: draft.scene.at(-opened, 9, 0),
            to_ts: Some(draft.scene.at(-changed, 9, 0)),
            reason: Some("Caseload".into()),
            ..Default::default()
        })?;
        return draft.assign(changed, ended);
    }
    draft.assign(opened, ended)
}

fn people(draft: &mut Draft<'_>, unit: &str, opened: i64) -> Result<()> {
    let family = draft.chance.pick(words::FAMILY);
    let count = match unit {
        "family" => (1 + draft.chance.poisson(2.4)).clamp(2, 9),
        "group" => draft.chance.int(6, 12),
        _ => 1 + i64::from(draft.chance.yes(0.3)),
    };
    for at in 0..count {
        let (given, pronouns) = draft.chance.pick(words::GIVEN);
        let child = unit == "family" && at > 0 && draft.chance.yes(0.65);
        let (role, relation) = match (unit, at) {
            (_, 0) => ("primary_client", None),
            ("family", _) if child => ("child", Some("child")),
            ("family", _) => ("member", Some("partner")),
            ("group", _) => ("member", None),
            _ => ("informal_support", Some("friend")),
        };
        let family = if unit == "family" || at == 0 { family } else { draft.chance.pick(words::FAMILY) };
        let age = if child { draft.chance.int(0, 17) } else { draft.chance.int(19, 82) };
        let (given, family) = if draft.chance.yes(0.03) {
            let (given, family, _) = draft.chance.pick(words::OTHER_SCRIPTS);
            (given, family)
        } else {
            (given, family)
        };
        draft.person(Part { role, relation, given, pronouns, family, age }, opened)?;
    }
    Ok(())
}

/// Published means of 4.0 to 4.1 goals a case, 74 in 100 reached.
fn goals(draft: &mut Draft<'_>, fate: Fate, unit: &str, opened: i64, ended: i64) -> Result<Vec<String>> {
    if opened - ended < 20 {
        return Ok(Vec::new());
    }
    let count = draft.chance.weighted(&[(0.05, 1), (0.12, 2), (0.22, 3), (0.27, 4), (0.20, 5), (0.14, 6)]);
    let mut ids = Vec::new();
    for _ in 0..count {
        let text = draft.chance.pick(texts::GOALS);
        let starts = -draft.chance.int(ended + 1, (opened - 15).max(ended + 1));
        let length = (draft.chance.lognormal(75.0, 0.6) as i64).clamp(14, 365);
        let due = starts + length;
        let last = draft.chance.weighted(&[(6.0, -2), (20.0, -1), (46.0, 0), (18.0, 1), (10.0, 2)]);
        let over = fate == Fate::Closed || (due < 0 && draft.chance.yes(0.9));
        let lifecycle = match () {
            () if over && draft.chance.yes(0.08) => "withdrawn",
            () if over => "completed",
            () if starts > -10 => draft.chance.weighted(&[(0.3, "draft"), (0.3, "proposed"), (0.4, "agreed")]),
            () => "active",
        };
        let achievement = match lifecycle {
            "completed" if last >= 0 => "achieved",
            "completed" => "not_achieved",
            _ => "in_progress",
        };
        let baseline = if draft.chance.yes(0.8) { -1 } else { -2 };
        let level = if unit != "individual" && draft.chance.yes(0.5) { unit } else { "individual" };
        let id = draft.goal(&text, level, Course { starts, due, lifecycle, achievement, baseline })?;
        if matches!(lifecycle, "active" | "completed") {
            ratings(draft, &id, starts, due.min(-ended).min(-1), baseline, last)?;
        }
        ids.push(id);
    }
    Ok(ids)
}

/// About every thirty days, on the way from the baseline to the last level.
fn ratings(draft: &mut Draft<'_>, goal: &str, starts: i64, until: i64, baseline: i64, last: i64) -> Result<()> {
    let mut on = starts + 1;
    while on < until {
        let way = (on - starts) as f64 / (until - starts).max(1) as f64;
        let level = (baseline as f64 + (last - baseline) as f64 * way).round() as i64;
        let rating = draft.rating(goal, on, level, None);
        draft.bundle.add::<goal_rating::Entity>(&rating)?;
        on += draft.chance.int(20, 40);
    }
    let rating = draft.rating(goal, until.max(starts), last, None);
    draft.bundle.add::<goal_rating::Entity>(&rating)
}

fn contacts(draft: &mut Draft<'_>, goals: &[String], fate: Fate, opened: i64, ended: i64) -> Result<()> {
    let monthly = match draft.case.intensity.as_str() {
        "high" => 4.3,
        "medium" => 2.0,
        _ => 1.0,
    };
    let (mut on, mut in_a_row) = (-opened, 0);
    loop {
        on += (draft.chance.exponential(30.4 / monthly) as i64).max(1);
        if on >= -ended {
            break;
        }
        let status = draft.chance.weighted(&[
            (72.0, "completed"),
            (9.0, "client_cancelled"),
            (5.0, "worker_cancelled"),
            (14.0, "no_show"),
        ]);
        let mut row = draft.contact(on, status, goals);
        in_a_row = match status {
            "no_show" => in_a_row + 1,
            "completed" => 0,
            _ => in_a_row,
        };
        row.no_show_seq = if status == "no_show" { in_a_row } else { 0 };
        draft.bundle.add::<contact::Entity>(&row)?;
        if status == "completed" && draft.chance.yes(0.93) {
            let visibility = draft.chance.weighted(&[(0.9, "team"), (0.07, "assigned"), (0.03, "author_supervisor")]);
            let unfinished = on > -3 && draft.chance.yes(0.3);
            let note = draft.note(&row, visibility, if unfinished { "draft" } else { "signed" });
            draft.bundle.add::<note::Entity>(&note)?;
        }
        if status == "completed" && draft.chance.yes(0.17) {
            refer(draft, on)?;
        }
    }
    if fate == Fate::Open && draft.case.status == "active" && draft.chance.yes(0.7) {
        let ahead = draft.chance.int(1, 20);
        let row = draft.contact(ahead, "planned", goals);
        draft.bundle.add::<contact::Entity>(&row)?;
    }
    Ok(())
}

/// After four weeks a third of referrals have led to a service; a fifth are never answered.
fn refer(draft: &mut Draft<'_>, on: i64) -> Result<()> {
    let which = usize::try_from(draft.chance.int(0, 1000)).unwrap_or(0);
    let reason = draft.chance.pick(&[
        "Asked for by the client after the last visit.",
        "The plan's next step.",
        "Cannot wait until the next review.",
    ]);
    let mut row = draft.referral(which, -on, reason);
    let answered = on + (draft.chance.lognormal(3.0, 1.1) as i64).clamp(1, 60);
    let mut days = vec![("requested", on)];
    if draft.chance.yes(0.8) && answered < 0 {
        match draft.chance.weighted(&[(0.25, 0), (0.15, 1), (0.25, 2), (0.35, 3)]) {
            0 => days.push(("rejected", answered)),
            1 => days.push(("accepted", answered)),
            2 => days.extend([("accepted", answered), ("in_progress", answered + 4)]),
            _ => days.extend([("accepted", answered), ("in_progress", answered + 4), ("completed", answered + 25)]),
        }
    }
    days.retain(|(_, day)| *day < 0);
    let states: Vec<_> = days.iter().map(|(state, day)| (*state, draft.scene.at(*day, 11, 30))).collect();
    let (status, at) = states.last().copied().unwrap_or(("requested", draft.scene.at(on, 11, 30)));
    let row = {
        row.status = status.into();
        row.sent_at = states.first().map(|(_, at)| *at);
        row.ack_at = states.get(1).map(|(_, at)| *at);
        row.answered_via = row.ack_at.map(|_| "portal".into());
        match status {
            "rejected" => {
                let code = draft.chance.weighted(&[
                    (34.0, "other"),
                    (25.0, "not_eligible"),
                    (25.0, "no_capacity"),
                    (16.0, "waitlist_full"),
                ]);
                row.reason_code = Some(code.into());
                row.status_reason = Some("No room at present.".into());
            }
            "completed" => {
                row.result = Some("The service was given.".into());
                row.outcome = Some(draft.chance.weighted(&[(0.8, "received"), (0.2, "partly")]).into());
                row.outcome_confirmed_by = Some("client".into());
                row.loop_closed_at = Some(at);
            }
            _ => (),
        }
        row
    };
    let events = draft.events(&row, &states);
    draft.bundle.add::<referral::Entity>(&row)?;
    for event in &events {
        draft.bundle.add::<referral_event::Entity>(event)?;
    }
    Ok(())
}
