//! The casework tables: one file each.

pub mod case;
pub mod case_assignment;
pub mod case_party;
pub mod contact;
pub mod goal;
pub mod goal_rating;
pub mod note;
pub mod person;

use crate::access::Actor;
use crate::registry::Need;

/// That the actor supervises the case: the role alone also has who was promoted and kept the cases of before.
fn supervises(case_id: &str, actor: &Actor) -> Need {
    let values = vec![actor.user().into(), format!("case:{case_id}/supervision").into()];
    Need::some("select 1 from sync_access where user_id = $1 and scope = $2 and visible", values)
}
