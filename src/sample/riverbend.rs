//! The cases of Riverbend Family Services: all stages, goals due soon and overdue, open and
//! unanswered referrals, and one case ready to close. Everyone in them is invented.

use super::draft::Part;
use super::hand::{Hand, HandContact, HandGoal, HandReferral, Note, State};

/// Workers by their place in the staff list of `demo.rs`.
const ANA: usize = 0;
const BEN: usize = 1;
const CLEO: usize = 2;

const fn client(given: &'static str, family: &'static str, pronouns: &'static str, age: i64) -> Part {
    Part { role: "primary_client", relation: None, given, pronouns, family, age }
}

const fn kin(
    role: &'static str,
    relation: &'static str,
    given: &'static str,
    family: &'static str,
    pronouns: &'static str,
    age: i64,
) -> Part {
    Part { role, relation: Some(relation), given, pronouns, family, age }
}

const fn goal(
    text: usize,
    level: &'static str,
    starts: i64,
    due: i64,
    state: State,
    ratings: &'static [(i64, i64)],
) -> HandGoal {
    HandGoal { text, level, starts, due, state, ratings }
}

const fn held(on: i64, note: Note) -> HandContact {
    HandContact { on, status: "completed", next: None, note }
}

const fn held_next(on: i64, next: i64, note: Note) -> HandContact {
    HandContact { on, status: "completed", next: Some(next), note }
}

const fn other(on: i64, status: &'static str) -> HandContact {
    HandContact { on, status, next: None, note: Note::None }
}

const fn asked(partner: usize, reason: &'static str, states: &'static [(&'static str, i64)]) -> HandReferral {
    HandReferral { partner, urgent: false, reason, states, because: "", outcome: None }
}

/// What a new case has until it says otherwise.
const BLANK: Hand = Hand {
    worker: ANA,
    opened: 60,
    unit: "individual",
    stage: "implementation",
    status: "active",
    reason: "",
    intensity: "medium",
    risk: "none",
    tags: &[],
    summary: "",
    people: &[],
    goals: &[],
    contacts: &[],
    referrals: &[],
};

/// In the order in which they are stored.
pub(crate) const CASES: &[Hand] = &[
    // Ana, team North.
    Hand {
        opened: 140,
        unit: "family",
        stage: "monitoring_evaluation",
        tags: &["housing_insecurity", "economic_hardship"],
        summary: "Paid every rent for four years until the shop closed; the three of them talk about money openly. \
                  Arrears of two months; the landlord agreed to a plan.",
        people: &[
            client("Rosa", "Castellar", "she/her", 38),
            kin("member", "partner", "Teo", "Castellar", "he/him", 41),
            kin("child", "daughter", "Alma", "Castellar", "she/her", 9),
        ],
        goals: &[
            goal(0, "family", -95, 1, State::Active, &[(-92, -2), (-61, -1), (-30, 0), (-4, 0)]),
            goal(5, "individual", -80, 7, State::Active, &[(-76, -1), (-45, -1), (-12, 0)]),
            goal(3, "family", -120, -40, State::Done(-41, true), &[(-118, -1), (-80, 0), (-41, 1)]),
        ],
        contacts: &[
            held(-92, Note::Stock),
            held(-61, Note::Stock),
            held(
                -30,
                Note::Signed(
                    "Rosa laid the four receipts on the table before I sat down. The plan holds. Teo asks what happens if his hours are cut again; we wrote down whom he would ring first. Alma showed the chart: three dinners together last week.",
                ),
            ),
            held_next(
                -4,
                1,
                Note::Signed(
                    "Went through the month. It closes with a small plus. They want to ask the landlord themselves about the deposit; I will be there and keep quiet.",
                ),
            ),
        ],
        referrals: &[asked(
            1,
            "Advice on the deposit and on what the landlord may ask.",
            &[("requested", -45), ("accepted", -42), ("in_progress", -38)],
        )],
        ..BLANK
    },
    Hand {
        opened: 75,
        tags: &["unemployment"],
        summary: "Ran a market stall for six years and knows everybody there. Looks for work that fits school hours.",
        people: &[
            client("Priya", "Dremovic", "she/her", 33),
            kin("informal_support", "sister", "Mina", "Dremovic", "she/her", 36),
        ],
        goals: &[
            goal(1, "individual", -60, 14, State::Active, &[(-58, -2), (-29, -1)]),
            goal(14, "individual", -20, 70, State::Agreed, &[]),
        ],
        contacts: &[
            held(-58, Note::Stock),
            held(-29, Note::Stock),
            held_next(
                -9,
                0,
                Note::Draft(
                    "Two applications out. She practised the telephone call with me and then made it. To be finished tonight.",
                ),
            ),
        ],
        referrals: &[asked(3, "Work trial near the school, mornings.", &[("requested", -12)])],
        ..BLANK
    },
    Hand {
        opened: 200,
        stage: "monitoring_evaluation",
        summary: "Reads to his son every evening and has done so through all of it. Sleeps again. Both goals are reached; \
                  he says he can go on alone.",
        tags: &["mental_health"],
        people: &[client("Jamal", "Fennimore", "he/him", 44), kin("child", "son", "Elias", "Fennimore", "he/him", 7)],
        goals: &[
            goal(
                2,
                "individual",
                -150,
                -3,
                State::Done(-3, true),
                &[(-148, -2), (-110, -1), (-70, 0), (-35, 0), (-3, 1)],
            ),
            goal(6, "individual", -120, -6, State::Done(-6, true), &[(-118, -1), (-60, 0), (-6, 1)]),
            goal(15, "individual", -100, -50, State::Withdrawn, &[(-98, -2)]),
        ],
        contacts: &[
            held(-148, Note::Stock),
            held(-110, Note::Stock),
            held(-70, Note::Stock),
            held(-35, Note::Stock),
            held(
                -3,
                Note::Signed(
                    "Six nights of seven. He brought the diary and did not need it. We looked at what he would do if it came back; he wrote it down himself. Asked whether we should think about ending: yes, and cake.",
                ),
            ),
        ],
        ..BLANK
    },
    Hand {
        opened: 50,
        intensity: "high",
        risk: "watch",
        tags: &["relationship_problems"],
        summary: "Found the shelter by herself with two children in one afternoon. On the list for a flat; viewings have begun.",
        people: &[
            client("Leila", "Okonwale", "she/her", 29),
            kin("child", "daughter", "Yara", "Okonwale", "she/her", 6),
            kin("child", "daughter", "Noor", "Okonwale", "she/her", 4),
        ],
        goals: &[
            goal(12, "family", -44, 40, State::Active, &[(-43, -2), (-13, -1)]),
            goal(9, "individual", -30, 0, State::Active, &[(-29, -1), (-8, 0)]),
        ],
        contacts: &[
            held(-43, Note::Stock),
            held(
                -29,
                Note::Restricted(
                    "He has been ringing her mother. She wants nobody told where they are. Agreed on the word she says on the telephone if she cannot speak.",
                ),
            ),
            held(-13, Note::Stock),
            other(-8, "client_cancelled"),
            held_next(
                -5,
                2,
                Note::Signed("Viewed the flat on Juniper Way. The girls chose a corner each. Papers are complete."),
            ),
        ],
        referrals: &[
            HandReferral { urgent: true, ..asked(1, "Deposit for a flat, viewing done.", &[("requested", -2)]) },
            asked(
                5,
                "Two places, mornings, from next month.",
                &[("requested", -26), ("accepted", -24), ("in_progress", -20)],
            ),
        ],
        ..BLANK
    },
    Hand {
        opened: 110,
        tags: &["school_difficulty"],
        unit: "family",
        summary: "He likes school once he is there; his teacher keeps a seat by the door. Mornings are the hard part.",
        people: &[
            client("Malik", "Garrowby", "he/him", 14),
            kin("caregiver", "mother", "Esther", "Garrowby", "she/her", 39),
            kin("professional", "form teacher", "Ruth", "Ellerbeck", "she/her", 52),
        ],
        goals: &[goal(4, "individual", -90, -6, State::Active, &[(-88, -2), (-55, -1), (-25, -1)])],
        contacts: &[
            held(-88, Note::Stock),
            held(-55, Note::Stock),
            held(-25, Note::Stock),
            other(-11, "no_show"),
            other(-4, "no_show"),
        ],
        ..BLANK
    },
    Hand {
        opened: 9,
        stage: "engagement_assessment",
        status: "intake",
        tags: &["economic_hardship"],
        summary: "Repairs bicycles for the whole block. Came because the letters got too many.",
        people: &[client("Ivo", "Hartsome", "he/him", 51)],
        contacts: &[
            held_next(
                -7,
                3,
                Note::Signed(
                    "First talk. Best hopes: to open a letter without his heart racing. He named six strengths before I asked.",
                ),
            ),
            other(3, "planned"),
        ],
        ..BLANK
    },
    Hand {
        opened: 30,
        stage: "goal_setting",
        tags: &["mental_health"],
        summary: "Grew tomatoes on a balcony for years. Misses the people on the old street.",
        people: &[client("Hanna", "Imberwood", "she/her", 67)],
        goals: &[goal(7, "individual", -3, 87, State::Proposed, &[]), goal(16, "individual", 0, 60, State::Draft, &[])],
        contacts: &[held(-24, Note::Stock), held(-10, Note::Stock), other(4, "confirmed")],
        ..BLANK
    },
    Hand {
        opened: 300,
        stage: "closure",
        status: "closed",
        reason: "goals_achieved",
        tags: &["unemployment"],
        summary: "Works again since summer; keeps the budget sheet by himself.",
        people: &[client("Pavel", "Juniperro", "he/him", 47)],
        goals: &[goal(
            15,
            "individual",
            -260,
            -60,
            State::Done(-62, true),
            &[(-258, -2), (-190, -1), (-120, 0), (-62, 1)],
        )],
        contacts: &[
            held(-258, Note::Stock),
            held(-190, Note::Stock),
            held(-120, Note::Stock),
            held(-62, Note::Stock),
            held(-24, Note::Signed("Last meeting. He brought the certificate and his own cake.")),
        ],
        ..BLANK
    },
    Hand {
        opened: 160,
        intensity: "low",
        tags: &["trauma_or_loss"],
        summary: "Ninety-one days on his own last year; knows what helps. The group is back on Tuesdays.",
        people: &[client("Owen", "Kestrelle", "he/him", 36)],
        goals: &[goal(13, "individual", -70, 20, State::Active, &[(-68, -1), (-38, 0), (-10, 1)])],
        contacts: &[held(-68, Note::Stock), held(-38, Note::Stock), held(-10, Note::Stock), other(6, "planned")],
        referrals: &[HandReferral {
            outcome: Some(("received", "client")),
            ..asked(
                7,
                "Counselling beside the group.",
                &[("requested", -66), ("accepted", -63), ("in_progress", -58), ("completed", -20)],
            )
        }],
        ..BLANK
    },
    // Ben, team North.
    Hand {
        worker: BEN,
        opened: 95,
        unit: "family",
        tags: &["relationship_and_communication"],
        summary: "They made up the bath song themselves and it works. Bedtime is where it breaks.",
        people: &[
            client("Carmen", "Lindqvard", "she/her", 31),
            kin("member", "partner", "Lars", "Lindqvard", "he/him", 34),
            kin("child", "son", "Hugo", "Lindqvard", "he/him", 5),
            kin("child", "daughter", "Freya", "Lindqvard", "she/her", 2),
        ],
        goals: &[
            goal(11, "family", -80, 6, State::Active, &[(-78, -2), (-48, -1), (-17, 0)]),
            goal(3, "family", -40, 45, State::Active, &[(-39, -1), (-9, 0)]),
        ],
        contacts: &[
            held(-78, Note::Stock),
            held(-48, Note::Stock),
            held(-17, Note::Stock),
            held_next(-9, -1, Note::Stock),
        ],
        ..BLANK
    },
    Hand {
        worker: BEN,
        opened: 130,
        intensity: "high",
        tags: &["economic_hardship", "mental_health"],
        summary: "Good with numbers, did the books for the choir. Behind with three creditors; the first plan stands.",
        people: &[
            client("Thandi", "Mossgrave", "she/her", 42),
            kin("representative", "brother, power of attorney", "Samuel", "Mossgrave", "he/him", 45),
        ],
        goals: &[goal(5, "individual", -110, -9, State::Active, &[(-108, -2), (-75, -1), (-44, -1), (-16, -1)])],
        contacts: &[
            held(-108, Note::Stock),
            held(-75, Note::Stock),
            held(-44, Note::Stock),
            held(-16, Note::Stock),
            other(-2, "attempted"),
        ],
        referrals: &[
            asked(8, "A plan with the second and the third creditor.", &[("requested", -17)]),
            HandReferral {
                because: "The waiting list is closed until spring.",
                ..asked(0, "Parcels while the plan begins.", &[("requested", -60), ("rejected", -57)])
            },
        ],
        ..BLANK
    },
    Hand {
        worker: BEN,
        opened: 45,
        stage: "intervention_planning",
        tags: &["trauma_or_loss"],
        summary: "Speaks three languages and helps the neighbours with theirs. Came here alone; a cousin two streets away.",
        people: &[
            client("Wen", "Nakawara", "she/her", 26),
            kin("informal_support", "cousin", "Minh", "Nakawara", "he/him", 30),
        ],
        goals: &[
            goal(14, "individual", -14, 76, State::Agreed, &[]),
            goal(10, "individual", -20, 8, State::Active, &[(-18, -2)]),
        ],
        contacts: &[held(-38, Note::Stock), held(-20, Note::Stock), other(-6, "no_show")],
        referrals: &[asked(4, "Help with the renewal; the papers are gathered.", &[("requested", -5)])],
        ..BLANK
    },
    Hand {
        worker: BEN,
        opened: 220,
        status: "on_hold",
        reason: "In hospital until the end of the month; asked us to wait.",
        tags: &["mental_health"],
        summary: "Got through the hearing in March. Wants to start again where we stopped.",
        people: &[client("Quinn", "Pemberly", "they/them", 23)],
        goals: &[goal(9, "individual", -160, 4, State::Active, &[(-158, -2), (-120, -1), (-80, 0), (-40, -1)])],
        contacts: &[held(-158, Note::Stock), held(-120, Note::Stock), held(-80, Note::Stock), held(-40, Note::Stock)],
        ..BLANK
    },
    Hand {
        worker: BEN,
        opened: 4,
        stage: "engagement_assessment",
        status: "intake",
        tags: &["housing_insecurity"],
        summary: "Came with her own list of questions. No contact by post, please.",
        people: &[client("Zainab", "Rosswell", "she/her", 55)],
        contacts: &[held_next(-3, 5, Note::Draft("First visit, office. The list is in the folder."))],
        referrals: &[asked(0, "A parcel for this week.", &[])],
        ..BLANK
    },
    Hand {
        worker: BEN,
        opened: 180,
        unit: "group",
        stage: "monitoring_evaluation",
        intensity: "medium",
        tags: &["school_difficulty"],
        summary: "Five parents who speak at school meetings instead of staying away. They take turns to bring the food.",
        people: &[
            client("Nadia", "Santimar", "she/her", 40),
            kin("member", "parent", "Kofi", "Whitlocke", "he/him", 37),
            kin("member", "parent", "Sofia", "Tamsworth", "she/her", 35),
            kin("member", "parent", "Dario", "Yellowlees", "he/him", 43),
            kin("member", "parent", "Bettina", "Oakenshaw", "she/her", 48),
        ],
        goals: &[goal(17, "group", -90, 30, State::Active, &[(-88, -1), (-57, 0), (-26, 1)])],
        contacts: &[held(-88, Note::None), held(-57, Note::Stock), held(-26, Note::Stock), other(5, "planned")],
        ..BLANK
    },
    // Cleo, team South.
    Hand {
        worker: CLEO,
        opened: 100,
        tags: &["mental_health", "unemployment"],
        summary: "Walked ten thousand steps a day until the accident. Wants to lift his grandson again.",
        people: &[
            client("Marek", "Umberville", "he/him", 61),
            kin("informal_support", "daughter", "Greta", "Umberville", "she/her", 34),
        ],
        goals: &[
            goal(8, "individual", -85, 2, State::Active, &[(-84, -2), (-50, -1), (-21, 0)]),
            goal(2, "individual", -60, 25, State::Active, &[(-59, -1), (-21, -1)]),
        ],
        contacts: &[
            held(-84, Note::Stock),
            held(-50, Note::Stock),
            held(-21, Note::Stock),
            held_next(-6, 1, Note::Stock),
        ],
        referrals: &[asked(2, "Back pain since the accident; no insurance.", &[("requested", -8), ("accepted", -7)])],
        ..BLANK
    },
    Hand {
        worker: CLEO,
        opened: 150,
        unit: "family",
        intensity: "high",
        risk: "elevated",
        tags: &["relationship_and_communication", "school_difficulty"],
        summary: "The aunts take turns to cook; nobody in this family eats alone. School and home tell two stories.",
        people: &[
            client("Amara", "Vasquelle", "she/her", 36),
            kin("child", "son", "Rafael", "Vasquelle", "he/him", 12),
            kin("child", "son", "Idris", "Vasquelle", "he/him", 10),
            kin("collateral", "aunt", "Selma", "Vasquelle", "she/her", 58),
        ],
        goals: &[
            goal(4, "individual", -120, -2, State::Active, &[(-118, -2), (-86, -1), (-54, 0), (-22, -1)]),
            goal(11, "family", -100, 13, State::Active, &[(-98, -1), (-66, 0), (-31, 0)]),
            goal(3, "family", -60, 50, State::Active, &[(-58, -1)]),
        ],
        contacts: &[
            held(-118, Note::Stock),
            held(-86, Note::Stock),
            held(-54, Note::Stock),
            held(
                -22,
                Note::Restricted("Rafael spoke alone with me for the first time. What he said is with the supervisor."),
            ),
            held(-12, Note::Stock),
            other(-1, "worker_cancelled"),
            other(2, "planned"),
        ],
        referrals: &[HandReferral {
            urgent: true,
            ..asked(
                7,
                "A first talk this week, for the older boy.",
                &[("requested", -6), ("accepted", -6), ("in_progress", -4)],
            )
        }],
        ..BLANK
    },
    Hand {
        worker: CLEO,
        opened: 85,
        tags: &["economic_hardship"],
        summary: "Knows her grandmother's recipes by heart; cooking is when she feels like herself.",
        people: &[client("Lucia", "Wrenfield", "she/her", 28)],
        goals: &[
            goal(16, "individual", -70, 10, State::Active, &[(-69, -1), (-36, 0)]),
            goal(1, "individual", -40, 55, State::Active, &[(-38, -2), (-13, -1)]),
        ],
        contacts: &[held(-69, Note::Stock), held(-36, Note::Stock), held(-13, Note::Stock), other(1, "confirmed")],
        referrals: &[asked(0, "Parcels twice a month until the first wage.", &[("requested", -1)])],
        ..BLANK
    },
    Hand {
        worker: CLEO,
        opened: 40,
        stage: "goal_setting",
        tags: &["trauma_or_loss"],
        summary: "Keeps every letter in order of date. The house has been quiet since June.",
        people: &[client("Samuel", "Ashdowne", "he/him", 72)],
        goals: &[goal(7, "individual", -6, 84, State::Agreed, &[])],
        contacts: &[held(-33, Note::Stock), held(-19, Note::Stock), other(-5, "client_cancelled")],
        ..BLANK
    },
    Hand {
        worker: CLEO,
        opened: 210,
        stage: "closure",
        status: "closing",
        reason: "goals_achieved",
        intensity: "low",
        tags: &["unemployment"],
        summary: "In work for ten weeks. Notice of the end was given; she chose the day.",
        people: &[client("Ines", "Brandvold", "she/her", 39)],
        goals: &[goal(
            1,
            "individual",
            -180,
            -30,
            State::Done(-33, true),
            &[(-178, -2), (-120, -1), (-70, 0), (-33, 2)],
        )],
        contacts: &[
            held(-178, Note::Stock),
            held(-120, Note::Stock),
            held(-70, Note::Stock),
            held(-33, Note::Stock),
            other(9, "planned"),
        ],
        ..BLANK
    },
    Hand {
        worker: CLEO,
        opened: 65,
        stage: "intervention_planning",
        tags: &["housing_insecurity"],
        summary: "Never missed a shift in eleven years until the mill closed. Two weeks' notice on the room.",
        people: &[client("Oskar", "Corvane", "he/him", 58)],
        goals: &[goal(0, "individual", -25, 28, State::Active, &[(-24, -1)])],
        contacts: &[held(-48, Note::Stock), held(-24, Note::Stock), held_next(-11, -2, Note::Stock)],
        referrals: &[asked(1, "A room or a deposit before the end of the month.", &[("requested", -14)])],
        ..BLANK
    },
];

/// The cases of Hillside Outreach.
pub(crate) const HILLSIDE: &[Hand] = &[
    Hand {
        worker: 0,
        opened: 90,
        tags: &["housing_insecurity"],
        summary: "Sleeps in the same doorway every night and keeps it clean; the shopkeeper keeps his post.",
        people: &[client("Callum", "Thornbury", "he/him", 49)],
        goals: &[goal(12, "individual", -60, 7, State::Active, &[(-58, -2), (-27, -1)])],
        contacts: &[held(-58, Note::Stock), held(-27, Note::Stock), held_next(-6, 1, Note::Stock)],
        referrals: &[asked(0, "A bed from Monday.", &[("requested", -6)])],
        ..BLANK
    },
    Hand {
        worker: 0,
        opened: 30,
        stage: "goal_setting",
        tags: &["substance_use"],
        summary: "Comes to the van every Thursday, whatever the weather, and asks after everybody.",
        people: &[client("Devon", "Larkmoor", "they/them", 33)],
        goals: &[goal(13, "individual", -4, 80, State::Proposed, &[])],
        contacts: &[held(-21, Note::Stock), other(-3, "no_show")],
        ..BLANK
    },
    Hand {
        worker: 0,
        opened: 170,
        stage: "monitoring_evaluation",
        tags: &["mental_health"],
        summary: "Played the organ in three churches. Goes to the garden on Fridays now.",
        people: &[client("Farah", "Nettlefold", "she/her", 63)],
        goals: &[goal(7, "individual", -130, -5, State::Active, &[(-128, -2), (-90, -1), (-50, 0), (-19, 0)])],
        contacts: &[
            held(-128, Note::Stock),
            held(-90, Note::Stock),
            held(-50, Note::Stock),
            held(-19, Note::Stock),
            other(3, "planned"),
        ],
        ..BLANK
    },
    Hand {
        worker: 0,
        opened: 2,
        stage: "engagement_assessment",
        status: "intake",
        summary: "Asked for a pair of boots, and whether he could help to hand out the tea.",
        people: &[client("Elias", "Quillfeather", "he/him", 27)],
        contacts: &[held_next(-1, 6, Note::Draft("Boots, size 44. Tea on Thursday."))],
        ..BLANK
    },
];
