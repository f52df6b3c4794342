//! What sample cases say: goals with their scales, notes, and words of clients.
//!
//! Templates for sample data only. The product never fills in a goal: that is the client's.

use serde_json::{Value, json};

use super::chance::Chance;

/// A goal with its five attainment levels, worst first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GoalText {
    /// Part of life.
    pub(crate) life_area: &'static str,
    /// Statement.
    pub(crate) statement: &'static str,
    /// Measure.
    pub(crate) measure: &'static str,
    /// Levels -2 to +2.
    pub(crate) scale: [&'static str; 5],
    /// Why it matters, in the client's words.
    pub(crate) why: &'static str,
    /// A strength it builds on.
    pub(crate) strength: &'static str,
    /// How the client said yes.
    pub(crate) words: &'static str,
}

impl GoalText {
    /// The scale as it is stored.
    pub(crate) fn gas(&self) -> Value {
        json!({"-2": self.scale[0], "-1": self.scale[1], "0": self.scale[2], "1": self.scale[3], "2": self.scale[4]})
    }
}

/// Goals to draw from; the demo cases name theirs by position.
pub(crate) const GOALS: &[GoalText] = &[
    GoalText {
        life_area: "housing",
        statement: "Stay in our flat by keeping the rent plan agreed with the landlord",
        measure: "Payments made on the agreed day",
        scale: [
            "Notice served",
            "One payment in three on time",
            "Two payments in three on time",
            "All on time",
            "All on time and arrears halved",
        ],
        why: "The kids finally have their own room. I do not want to pack again.",
        strength: "Kept every payment for four years before the shop closed",
        words: "Yes. The fifth of the month works, my wages come on the third.",
    },
    GoalText {
        life_area: "employment",
        statement: "Find part-time work that fits around school hours",
        measure: "Hours of paid work a week",
        scale: [
            "No application sent",
            "Applications sent, no interview",
            "8 hours a week",
            "12 hours a week",
            "16 hours a week or more",
        ],
        why: "I want my daughter to see me go out to work.",
        strength: "Ran a market stall with her sister for six years",
        words: "I said it and I mean it, twelve hours would be lovely.",
    },
    GoalText {
        life_area: "mental_health",
        statement: "Sleep through at least four nights a week without the television on",
        measure: "Nights in the sleep diary",
        scale: ["No night", "1 to 2 nights", "3 to 4 nights", "5 nights", "6 nights or more"],
        why: "When I sleep I am a different father.",
        strength: "Already reads to his son every evening",
        words: "Let us try. Four is enough for me.",
    },
    GoalText {
        life_area: "family",
        statement: "Eat together as a family without phones three evenings a week",
        measure: "Evenings ticked on the fridge chart",
        scale: ["None", "1 evening", "2 to 3 evenings", "4 evenings", "5 evenings or more"],
        why: "We used to laugh at dinner. I miss that.",
        strength: "Everyone likes cooking the Sunday soup",
        words: "All four of us agreed, even Elias.",
    },
    GoalText {
        life_area: "education",
        statement: "Be in class before the bell on four of five school days",
        measure: "School attendance list",
        scale: ["1 day or none", "2 days", "3 to 4 days", "All days but one in two weeks", "All days"],
        why: "I like it when I get there. It is the mornings.",
        strength: "His form teacher keeps a seat by the door for him",
        words: "OK. But not if I have to take the first bus.",
    },
    GoalText {
        life_area: "finances",
        statement: "Know every week what is left to spend until the next payday",
        measure: "Weeks with the budget sheet filled in",
        scale: ["No week in a month", "1 week", "2 to 3 weeks", "4 weeks", "4 weeks and something put aside"],
        why: "I am tired of being afraid of the letterbox.",
        strength: "Good with numbers, did the books for the choir",
        words: "The envelope way, not the app.",
    },
    GoalText {
        life_area: "relationships",
        statement: "Tell my mother calmly what I need once a week",
        measure: "Conversations noted with how they went, 0 to 10",
        scale: [
            "Avoided",
            "Tried, ended in shouting",
            "One calm talk a week",
            "Two calm talks",
            "It has become normal",
        ],
        why: "She is all the family I have here.",
        strength: "Wrote her a letter last winter that both of them still talk about",
        words: "On Sundays, after her programme.",
    },
    GoalText {
        life_area: "community",
        statement: "Go to the neighbourhood garden every week and know three people by name",
        measure: "Visits and names",
        scale: ["Stays at home", "Went once", "Every second week", "Every week", "Every week and helps to run it"],
        why: "I used to know everyone on my street.",
        strength: "Grew tomatoes on a balcony for years",
        words: "Yes, as long as nobody makes me speak in front of people.",
    },
    GoalText {
        life_area: "physical_health",
        statement: "See the doctor about the back pain and do the exercises five days a week",
        measure: "Days with exercises done",
        scale: ["Not been", "Been, no exercises", "3 to 5 days", "6 days", "Every day and lifting again"],
        why: "I want to pick up my grandson.",
        strength: "Walked 10,000 steps a day until the accident",
        words: "If you come with me the first time, yes.",
    },
    GoalText {
        life_area: "mental_health",
        statement: "Use the breathing exercise when the panic starts, and stay on the bus",
        measure: "Bus rides finished out of those begun",
        scale: ["No ride", "1 in 4", "2 in 4", "3 in 4", "All, without the exercise"],
        why: "The bus is how I get to my daughter.",
        strength: "Got through the whole hearing in March",
        words: "I can do this one.",
    },
    GoalText {
        life_area: "legal",
        statement: "Send the residence renewal complete and before it runs out",
        measure: "Papers on the checklist",
        scale: ["None gathered", "Half", "All, sent", "All, receipt in hand", "Renewed"],
        why: "So that I can sleep without counting days.",
        strength: "Keeps every letter in order of date",
        words: "Yes, let us do two papers each visit.",
    },
    GoalText {
        life_area: "family",
        statement: "Get through bedtime without shouting on five evenings a week",
        measure: "Evenings marked by both parents",
        scale: ["No evening", "1 to 2", "3 to 5", "6", "All seven"],
        why: "It is the last thing they hear before they sleep.",
        strength: "The bath song works and they made it up themselves",
        words: "Both of us said yes.",
    },
    GoalText {
        life_area: "housing",
        statement: "Move from the shelter into a home of our own",
        measure: "Steps done: papers, list, viewings, offer, keys",
        scale: ["No papers", "On the list", "Viewings", "Offer signed", "Keys in hand"],
        why: "My girls ask every night which bed is theirs.",
        strength: "Found this shelter by herself with two children in one afternoon",
        words: "Keys by spring. That is my word.",
    },
    GoalText {
        life_area: "community",
        statement: "Come to the recovery group every week for three months",
        measure: "Meetings attended out of 12",
        scale: ["0 to 3", "4 to 6", "7 to 9", "10 to 11", "All 12"],
        why: "They know what I mean before I say it.",
        strength: "Ninety-one days, on his own, last year",
        words: "Tuesdays. I will be there.",
    },
    GoalText {
        life_area: "education",
        statement: "Pass the evening language course at the second level",
        measure: "Units passed out of 8",
        scale: ["0 to 1", "2 to 4", "5 to 6", "7", "All 8"],
        why: "I want to talk to the teacher without my son translating.",
        strength: "Speaks three languages already",
        words: "Yes, and I will do the homework.",
    },
    GoalText {
        life_area: "employment",
        statement: "Finish the forklift licence and send five applications",
        measure: "Licence, applications",
        scale: ["Not begun", "Lessons begun", "Licence", "Licence and 5 applications", "In work"],
        why: "I am good with machines, I always was.",
        strength: "Repairs bicycles for the whole block",
        words: "Let us do it.",
    },
    GoalText {
        life_area: "physical_health",
        statement: "Cook a warm meal at home four days a week",
        measure: "Days in the kitchen diary",
        scale: ["None", "1 to 2 days", "3 to 4 days", "5 days", "6 days or more"],
        why: "I feel like a person when I cook.",
        strength: "Knows her grandmother's recipes by heart",
        words: "Four days. And on Friday you taste it.",
    },
    GoalText {
        life_area: "other",
        statement: "Speak for five minutes in front of the parents' group",
        measure: "Minutes, and who was there",
        scale: ["Did not go", "Went, did not speak", "Five minutes", "Ten minutes", "Led the evening"],
        why: "I have something to say to them.",
        strength: "Told the whole story to the school board once, with no notes",
        words: "In May. Small room, please.",
    },
];

const OPENINGS: &[&str] = &[
    "Began with what went well since the last visit.",
    "Met as agreed and started with the strengths list.",
    "Short call, as asked for by the client.",
    "Sat at the kitchen table; the younger children were at school.",
    "The client chose the topic for today.",
];

/// What was done, by kind of intervention, with the shares found in social-work notes.
const BODIES: &[(f64, &[&str])] = &[
    (
        21.5,
        &[
            "Rang the school together and agreed who calls whom when a morning goes wrong.",
            "Went through the list of appointments; two fell on the same day and we moved one.",
            "Agreed with the nurse that she writes to us both, so that nobody has to carry papers.",
            "The housing office had the old telephone number; corrected it while we were there.",
        ],
    ),
    (
        21.0,
        &[
            "Practised the breathing exercise three times; the second time it worked without counting.",
            "Read the letter from the benefits office line by line and wrote down what it asks for.",
            "Talked about what the body does in a panic and why it passes.",
            "Looked at the bus map and marked where it is easy to get off.",
        ],
    ),
    (
        18.5,
        &[
            "Filled in the budget sheet; the week closes with a small plus for the first time.",
            "Sorted the bills into three piles: now, this month, can wait.",
            "Worked out what the rent plan leaves for food; it is tight and it holds.",
            "Rang the energy company and got the instalments moved to after payday.",
        ],
    ),
    (
        17.1,
        &[
            "Looked at three offers in the directory; the client wants to visit one before deciding.",
            "Talked over what would be shared with the partner, line by line, and what would not.",
            "The client rang the partner from here and was asked to come on Thursday.",
            "Asked whether the parcel came. It did, and it was enough for the week.",
        ],
    ),
    (
        15.3,
        &[
            "Mostly listened. There was a lot to say about the hearing.",
            "Asked how they kept going on the worst day; the answer goes on the strengths list.",
            "On the scale from 0 to 10 it is a 5 today, and a month ago it was a 3. What would be a 6?",
            "Named the anger as what it is. It was quieter afterwards.",
        ],
    ),
    (
        6.6,
        &[
            "Wrote to the council about the lift that has been out of order since spring.",
            "Prepared the meeting with the landlord; the client will speak, I will take notes.",
            "Celebrated the certificate with cake. It hangs in the hall now.",
        ],
    ),
];

const CLOSINGS: &[&str] = &[
    "Next step is the client's: one telephone call before Friday.",
    "We meet again in two weeks; sooner if the letter comes.",
    "Agreed on one thing each until next time.",
    "The client summed up today in one sentence, and it was a better one than mine.",
    "Nothing to change in the plan.",
];

/// Sentences in other scripts, for notes taken in the client's language.
const OTHER_SCRIPTS: &[&str] = &[
    "आज बस से आना आसान था, और बच्चों ने स्कूल में गाना गाया।",
    "今天她自己打了电话，说话很平静。我们写下了下一步。",
    "تحدثنا عن الأسبوع الماضي وعن الخطوة القادمة. قالت إنها تشعر بتحسن.",
    "Сьогодні ми разом заповнили бюджет, і вперше щось залишилося.",
    "ዛሬ ከአስተማሪዋ ጋር ያለ አስተርጓሚ ተነጋገረች።",
];

const CLIENT_WORDS: &[&str] = &[
    "It was a good week. Not a great one, a good one.",
    "I did it without you this time.",
    "I do not need you to fix it, I need you to stay while I do.",
    "He slept. I slept. That is all I wanted.",
    "Ask me again next month and it will be a seven.",
    "Nobody had ever asked me what I am good at.",
];

/// What the client said, now and then.
pub(crate) fn client_words(chance: &mut Chance) -> Option<String> {
    chance.yes(0.4).then(|| chance.pick(CLIENT_WORDS).to_owned())
}

/// A note: words by a lognormal with median 120 and sigma 0.9, at most 3,300; one in 33 in
/// another script.
pub(crate) fn note(chance: &mut Chance) -> String {
    let length = chance.lognormal(120.0, 0.9).clamp(12.0, 3300.0) as usize;
    let foreign = chance.yes(0.03);
    let mut words = 0;
    let mut text = String::new();
    let mut say = |text: &mut String, sentence: &str| {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(sentence);
        words += sentence.split_whitespace().count();
        words
    };
    say(&mut text, chance.pick(OPENINGS));
    loop {
        let pool = if foreign { OTHER_SCRIPTS } else { chance.weighted(BODIES) };
        let sentence = chance.pick(pool);
        if say(&mut text, sentence) + 10 >= length || text.len() > 19_000 {
            break;
        }
    }
    say(&mut text, chance.pick(CLOSINGS));
    text
}

/// What shows that a rating is right.
pub(crate) fn evidence(level: i64) -> &'static str {
    match level {
        2 => "More than we dared to write down.",
        1 => "Better than agreed, seen twice.",
        0 => "As agreed; the client showed the sheet.",
        -1 => "Begun, not there yet.",
        _ => "A hard month; nothing could be done about it this time.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_would_be_accepted_as_specific_and_has_five_different_levels() {
        for goal in GOALS {
            assert!((15..=500).contains(&goal.statement.chars().count()), "{}", goal.statement);
            let mut levels = goal.scale.to_vec();
            levels.sort_unstable();
            levels.dedup();
            assert_eq!(levels.len(), 5, "{}", goal.statement);
        }
    }

    #[test]
    fn notes_have_the_length_that_notes_have() {
        let mut chance = Chance::new(3);
        let mut lengths: Vec<usize> = (0..2000).map(|_| note(&mut chance).split_whitespace().count()).collect();
        lengths.sort_unstable();
        assert!((105..=140).contains(&lengths[1000]), "{}", lengths[1000]);
        assert!(lengths[1999] <= 3400, "{}", lengths[1999]);
    }
}
