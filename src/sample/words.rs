//! Invented people and places. No name here is meant to be anybody's; every address is on a
//! reserved example domain and every telephone number in a range kept for fiction.

use super::chance::Chance;

/// Given names, with the pronouns most often used with them.
pub(crate) const GIVEN: &[(&str, &str)] = &[
    ("Maya", "she/her"),
    ("Tomas", "he/him"),
    ("Ines", "she/her"),
    ("Kofi", "he/him"),
    ("Leila", "she/her"),
    ("Marek", "he/him"),
    ("Rosa", "she/her"),
    ("Devon", "they/them"),
    ("Hanna", "she/her"),
    ("Jamal", "he/him"),
    ("Priya", "she/her"),
    ("Owen", "he/him"),
    ("Sofia", "she/her"),
    ("Teo", "he/him"),
    ("Amara", "she/her"),
    ("Nikolai", "he/him"),
    ("Yara", "she/her"),
    ("Callum", "he/him"),
    ("Mina", "she/her"),
    ("Rafael", "he/him"),
    ("Zainab", "she/her"),
    ("Elias", "he/him"),
    ("Nadia", "she/her"),
    ("Quinn", "they/them"),
    ("Bettina", "she/her"),
    ("Hugo", "he/him"),
    ("Farah", "she/her"),
    ("Lars", "he/him"),
    ("Carmen", "she/her"),
    ("Idris", "he/him"),
    ("Alma", "she/her"),
    ("Wen", "she/her"),
    ("Ruth", "she/her"),
    ("Samuel", "he/him"),
    ("Ayodele", "he/him"),
    ("Greta", "she/her"),
    ("Noor", "they/them"),
    ("Pavel", "he/him"),
    ("Selma", "she/her"),
    ("Ivo", "he/him"),
    ("Thandi", "she/her"),
    ("Oskar", "he/him"),
    ("Lucia", "she/her"),
    ("Minh", "he/him"),
    ("Esther", "she/her"),
    ("Dario", "he/him"),
    ("Freya", "she/her"),
    ("Malik", "he/him"),
];

/// Family names; invented or worn so smooth that they are nobody's.
pub(crate) const FAMILY: &[&str] = &[
    "Abernall",
    "Brandvold",
    "Castellar",
    "Dremovic",
    "Eastwick",
    "Fennimore",
    "Garrowby",
    "Halvorsten",
    "Ibarrola",
    "Jessamine",
    "Kowalden",
    "Lindqvard",
    "Marchetta",
    "Nakawara",
    "Okonwale",
    "Pellegrane",
    "Quillfeather",
    "Rosswell",
    "Santimar",
    "Thornbury",
    "Underlund",
    "Vasquelle",
    "Whitlocke",
    "Yarrowby",
    "Zellinger",
    "Ashdowne",
    "Bellweather",
    "Corvane",
    "Dunmarrow",
    "Ellerbeck",
    "Farnsby",
    "Goldenhay",
    "Hartsome",
    "Imberwood",
    "Juniperro",
    "Kestrelle",
    "Larkmoor",
    "Mossgrave",
    "Nettlefold",
    "Oakenshaw",
    "Pemberly",
    "Ravenholt",
    "Silverlock",
    "Tamsworth",
    "Umberville",
    "Vintersen",
    "Wrenfield",
    "Yellowlees",
];

/// Names in other scripts, for the few who write theirs so.
pub(crate) const OTHER_SCRIPTS: &[(&str, &str, &str)] = &[
    ("नीला", "वनराज", "hi"),
    ("雨晴", "林川", "zh"),
    ("سمر", "الوادي", "ar"),
    ("Дарина", "Зоряна", "uk"),
    ("ሰላም", "ተራራ", "am"),
];

const STREETS: &[&str] = &[
    "Willow Lane",
    "Harbor Street",
    "Juniper Way",
    "Mill Road",
    "Cedar Court",
    "Orchard Hill",
    "Station Approach",
    "Kestrel Close",
    "Elm Terrace",
    "Quarry Bank",
    "Lantern Row",
    "Fern Alley",
];
const TOWNS: &[&str] = &["Riverbend", "Alder Falls", "Northmoor", "Saltmarsh", "Eastvale"];

/// An invented street address.
pub(crate) fn street(chance: &mut Chance) -> (String, &'static str) {
    (format!("{} {}", chance.int(2, 240), chance.pick(STREETS)), chance.pick(TOWNS))
}

/// A telephone number of the range kept for fiction (555-0100 to 555-0199).
pub(crate) fn phone(chance: &mut Chance) -> String {
    format!("+1 {} 555 01{:02}", chance.pick(&["202", "404", "617", "716"]), chance.int(0, 99))
}

/// Partner organisations: name, what they do, kinds of need they answer.
pub(crate) const PARTNERS: &[(&str, &str, &[&str])] = &[
    ("Harbor Food Bank", "Weekly food parcels and a community kitchen.", &["food_insecurity"]),
    ("Keystone Housing Aid", "Advice and deposits for people about to lose their home.", &["housing_instability"]),
    ("Open Door Clinic", "Walk-in health care without insurance.", &["medical_care"]),
    ("Second Wind Employment", "Work trials, tools and coaching for coming back to work.", &["employment"]),
    ("Lantern Legal Centre", "Free advice on benefits, tenancy and status.", &["legal"]),
    ("Sparrow Nursery Network", "Child care places at short notice.", &["child_care"]),
    ("Wheelwright Transport", "Lifts to appointments for people without a car.", &["transportation_insecurity"]),
    ("Meadow Counselling", "Counselling after loss or violence.", &["mental_health"]),
    ("Copperfield Debt Advice", "Plans with creditors; budgeting evenings.", &["financial_insecurity"]),
    ("Bridge Language School", "Evening classes and conversation tables.", &["education"]),
];

/// Names of teams; numbered beyond these.
pub(crate) const TEAMS: &[&str] = &["North", "South", "East", "West", "Harbor", "Hill", "Lake", "Valley"];
