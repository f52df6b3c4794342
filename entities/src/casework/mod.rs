//! The casework tables: one file each.

pub mod case;
pub mod case_assignment;
pub mod case_party;
pub mod contact;
pub mod goal;
pub mod goal_rating;
pub mod note;
pub mod person;

use sea_orm::Value;

use crate::access::{self, Actor};
use crate::registry::Need;

/// That the actor supervises the case: the role alone also has who was promoted and kept the cases of before.
fn supervises(case_id: &str, actor: &Actor) -> Need {
    let values = vec![actor.user().into(), format!("case:{case_id}/supervision").into()];
    Need::some(access::OPENS, values)
}

/// That the person whom a row names has or had a part in its case, where the row names another than before.
pub(crate) fn has_part(case_id: &str, before: Option<&Option<String>>, person: &Option<String>) -> Option<Need> {
    let id = person.as_deref().filter(|_| before != Some(person))?;
    let values: Vec<Value> = vec![case_id.into(), id.into()];
    let text = "select 1 from case_parties where case_id = $1 and person_id = $2 and deleted_at is null";
    Some(Need::some(text, values).or_fault("person_id", "no_part", "must be a person with a part in the case"))
}
