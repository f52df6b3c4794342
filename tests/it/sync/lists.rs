//! Lists that two people fill: what each adds stays, and what one takes out stays out (S12).

use serde_json::{Value, json};

use super::reach::{issues, natively, with_person};
use super::rules::opens_case;
use super::told::{a_goal, told};
use crate::support::{Phone, World, on_both};

on_both!(
    what_two_phones_add_to_one_list_both_stays,
    what_was_taken_out_of_a_list_elsewhere_stays_out,
    what_another_made_of_an_item_stays_so,
    a_list_as_long_as_a_body_holds_nobody_up,
);

async fn what_two_phones_add_to_one_list_both_stays(world: World) {
    let ana = world.ana().await;
    let (mut one, mut two) = (Phone::of(&ana), Phone::of(&ana.on_another_device()));
    two.person.logs_in().await;
    let case = opens_case(&mut one).await;
    two.pulls().await;
    let tags = |phone: &Phone| -> Value {
        serde_json::from_str(phone.column("cases", &case, "difficulty_tags").as_str().expect("a list")).expect("JSON")
    };
    one.edits("cases", &case, json!({"difficulty_tags": r#"["trauma"]"#}));
    two.edits("cases", &case, json!({"difficulty_tags": r#"["unemployment"]"#}));
    one.syncs().await;
    assert_eq!(two.syncs_once().await.map(|answer| answer.status), Some(200), "a list is no reason for a conflict");
    for phone in [&mut one, &mut two] {
        phone.pulls().await;
        assert_eq!(tags(phone), json!(["trauma", "unemployment"]));
    }
    // What is left out stays, and comes back to the phone that left it out; what is said to go goes.
    one.edits("cases", &case, json!({"difficulty_tags": r#"["trauma"]"#}));
    one.syncs().await;
    one.pulls().await;
    assert_eq!(tags(&one), json!(["trauma", "unemployment"]));
    one.edits("cases", &case, json!({"difficulty_tags": r#"["trauma", {"value": "unemployment", "removed": true}]"#}));
    one.syncs().await;
    one.pulls().await;
    assert_eq!(tags(&one), json!(["trauma"]));
    // The native face knows what each phone knew, so that there leaving out is taking away.
    let update = |id: &str, from: Value, to: Value| {
        json!({"id": id, "op": "update", "table": "cases", "row_id": case,
            "set": {"difficulty_tags": {"from": from, "to": to}}})
    };
    let both = json!([
        update("native-edit-1", json!(["trauma"]), json!(["trauma", "substance_use"])),
        update("native-edit-2", json!(["trauma"]), json!(["relationship_problems"])),
    ]);
    let results = natively(&one.person, both).await;
    assert!(results.iter().all(|result| result["conflicts"].is_null()), "{results:?}");
    one.pulls().await;
    assert_eq!(tags(&one), json!(["substance_use", "relationship_problems"]));
    let wrong = json!({"difficulty_tags": {"no": "list"}});
    one.person.patch(&format!("/cases/{case}"), wrong).await.refused(422);
}

/// A phone sends its whole list, and keeps its own through a pull.
async fn what_was_taken_out_of_a_list_elsewhere_stays_out(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let (_, person) = with_person(&mut phone, "Pia").await;
    let number = |digits: &str| json!({"kind": "phone", "value": digits});
    let list = |phone: &Phone| -> Value {
        serde_json::from_str(phone.column("persons", &person, "contact_points").as_str().unwrap_or("[]")).expect("JSON")
    };
    let says = |items: &[&Value]| json!({"contact_points": json!(items).to_string()});
    phone.counts = Some((1, 0));
    let (mother, unsafe_one, clinic, school) = (number("555-1"), number("555-2"), number("555-3"), number("555-4"));
    phone.edits("persons", &person, says(&[&mother, &unsafe_one]));
    phone.syncs().await;
    phone.pulls().await;
    // On the tablet a number is taken out: he reads the messages there.
    let other = ana.on_another_device();
    other.logs_in().await;
    let mut tablet = Phone::of(&other);
    tablet.pulls().await;
    let gone = json!({"kind": "phone", "value": "555-2", "removed": true});
    tablet.edits("persons", &person, says(&[&mother, &gone]));
    tablet.syncs().await;
    // The phone, without signal since before, adds one; the answer is lost, so it sends the same again.
    phone.edits("persons", &person, says(&[&mother, &unsafe_one, &clinic]));
    for number in 2..4 {
        phone.counts = Some((number, 1));
        phone.pulls().await;
        phone.sends(&phone.outgoing()).await.ok();
    }
    phone.counts = Some((4, 1));
    phone.syncs().await;
    phone.pulls().await;
    assert_eq!(list(&phone), json!([mother, clinic]));
    let told: Vec<_> = issues(&phone).into_iter().filter(|issue| issue["about_id"] == json!(person)).collect();
    assert_eq!(told.len(), 1, "and its user hears of it: {told:?}");
    // Whoever knows and means it has it back, in the very words that were left out.
    phone.counts = Some((5, 4));
    phone.edits("persons", &person, says(&[&mother, &unsafe_one, &clinic]));
    phone.syncs().await;
    phone.pulls().await;
    assert_eq!(list(&phone), json!([mother, clinic, unsafe_one]));
    // So on a phone that counts nothing and has never pushed: it is told once.
    let third = ana.on_another_device();
    third.logs_in().await;
    let mut third = Phone::of(&third);
    tablet.pulls().await;
    let gone = json!({"kind": "phone", "value": "555-3", "removed": true});
    tablet.edits("persons", &person, says(&[&mother, &unsafe_one, &gone]));
    tablet.syncs().await;
    third.pulls().await;
    for expected in [json!([mother, unsafe_one]), json!([mother, unsafe_one, clinic])] {
        third.edits("persons", &person, says(&[&mother, &unsafe_one, &clinic]));
        third.syncs().await;
        third.pulls().await;
        assert_eq!(list(&third), expected);
    }
    phone.counts = None;
    phone.pulls().await;
    phone.edits("persons", &person, says(&[&mother, &clinic, &unsafe_one, &school]));
    phone.syncs().await;
    phone.pulls().await;
    // A word that this phone took out itself comes back without a question.
    let gone = json!({"kind": "phone", "value": "555-4", "removed": true});
    phone.edits("persons", &person, says(&[&mother, &clinic, &gone]));
    phone.syncs().await;
    phone.pulls().await;
    phone.edits("persons", &person, says(&[&mother, &clinic, &unsafe_one, &school]));
    phone.syncs().await;
    phone.pulls().await;
    assert_eq!(list(&phone).as_array().map(Vec::len), Some(4), "{}", list(&phone));
}

async fn what_another_made_of_an_item_stays_so(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let (_, person) = with_person(&mut phone, "Pia").await;
    let says = |items: &Value| json!({"contact_points": items.to_string()});
    let list = |phone: &Phone| -> Value {
        serde_json::from_str(phone.column("persons", &person, "contact_points").as_str().unwrap_or("[]")).expect("JSON")
    };
    let mobile = |digits: &str, voicemail: bool| json!({"id": "c1", "value": digits, "ok_voicemail": voicemail});
    let mail = json!({"id": "c2", "value": "pia@home.example"});
    phone.edits("persons", &person, says(&json!([mobile("555-1", true)])));
    phone.syncs().await;
    phone.syncs().await;
    phone.edits("persons", &person, json!({"preferred_name": "Pi"}));
    phone.syncs().await;
    let other = ana.on_another_device();
    other.logs_in().await;
    let mut tablet = Phone::of(&other);
    tablet.pulls().await;
    tablet.edits("persons", &person, says(&json!([mobile("555-2", false)])));
    tablet.syncs().await;
    // The phone has not heard of it and adds an address.
    phone.edits("persons", &person, says(&json!([mobile("555-1", true), mail])));
    phone.syncs().await;
    phone.pulls().await;
    assert_eq!(list(&phone), json!([mobile("555-2", false), mail]), "nobody leaves a voicemail");
    assert_eq!(issues(&phone).iter().filter(|issue| issue["about_id"] == json!(person)).count(), 1);
    // What somebody says who knows is said.
    phone.edits("persons", &person, says(&json!([mobile("555-1", true), mail])));
    phone.syncs().await;
    phone.pulls().await;
    assert_eq!(list(&phone), json!([mobile("555-1", true), mail]));
}

async fn a_list_as_long_as_a_body_holds_nobody_up(world: World) {
    let (phone, _, goal) = a_goal(&world).await;
    let ana = &phone.person;
    ana.patch(&format!("/goals/{goal}"), json!({"strengths": ["draws"]})).await.ok();
    let items: Vec<String> = (0..60_000).map(|at| format!("strength {at}")).collect();
    let row = json!({"id": goal, "_changed": "strengths", "strengths": json!(items).to_string()});
    let watermelon = json!({"goals": {"created": [], "updated": [row], "deleted": []}});
    let native = json!([{"id": "mutation-0001", "op": "update", "table": "goals", "row_id": goal,
        "set": {"strengths": {"from": ["draws"], "to": items}}}]);
    ana.post(&format!("/sync?last_pulled_at={}", phone.cursor.expect("a cursor")), watermelon).await.ok();
    natively(ana, native).await;
    assert_eq!(ana.get(&format!("/goals/{goal}")).await.ok()["strengths"], json!(["draws"]), "it is too long to keep");
    assert_eq!(told(ana, &goal).await.iter().filter(|(kind, _)| kind == "cleaned").count(), 2);
}
