//! Who sees what.
//!
//! A row stands in scopes; a user has scopes open. What a user may see is exactly what stands in
//! a scope that is open to them: REST and sync ask the same question of the same two tables
//! (`sync_feed`, `sync_access`). `settle.rs` works out who has which scope open; `reach.rs`
//! answers whether a row can be seen.

mod reach;
mod settle;

pub(crate) use reach::{OPENS, opens};
pub use reach::{has_open, sees, visible_sql};
pub use settle::{settle_case, settle_due, settle_team, settle_user, settled_view};
pub(crate) use settle::{settle_windows, wake_at};

use serde::{Deserialize, Serialize};

/// What a person is to the agency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Works with clients; sees the cases assigned to them.
    Caseworker,
    /// Leads a team; sees the cases of the team and of teams under it.
    Supervisor,
    /// Manages agency, teams and users; sees no case content.
    Administrator,
    /// Belongs to a partner organisation; sees the referrals addressed to it.
    Partner,
    /// Reads reference data and the audit trail, for a time.
    Auditor,
    /// The workflow engine and the operator's commands.
    System,
}

impl Role {
    /// The word on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Caseworker => "caseworker",
            Role::Supervisor => "supervisor",
            Role::Administrator => "administrator",
            Role::Partner => "partner",
            Role::Auditor => "auditor",
            Role::System => "system",
        }
    }

    /// Reads the word back. `system` is nobody's to claim.
    pub fn parse(word: &str) -> Option<Role> {
        [Role::Caseworker, Role::Supervisor, Role::Administrator, Role::Partner, Role::Auditor]
            .into_iter()
            .find(|role| role.as_str() == word)
    }
}

/// Who acts.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The agency they act in.
    pub agency_id: String,
    /// The user, or none for the engine and the operator.
    pub user_id: Option<String>,
    /// Their role at this moment.
    pub role: Role,
    /// The device they act from.
    pub device_id: Option<String>,
}

impl Actor {
    /// The engine or the operator, acting in an agency.
    pub fn system(agency_id: &str) -> Actor {
        Actor { agency_id: agency_id.into(), user_id: None, role: Role::System, device_id: None }
    }

    /// The user's id, or an empty text for the system.
    pub fn user(&self) -> &str {
        self.user_id.as_deref().unwrap_or_default()
    }
}

/// A place where a row can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// Everyone on the agency's staff.
    Agency(String),
    /// One user.
    User(String),
    /// The users of one partner organisation.
    Org(String),
    /// Everyone who has the case: assigned, covering, supervising.
    Case(String),
    /// Those assigned to the case, not its supervisors.
    Assigned(String),
    /// Those assigned to the case who may see its substance-use records (42 CFR Part 2).
    Part2(String),
    /// The supervisors of the case.
    Supervision(String),
    /// One user, for as long as that user has the case.
    CaseUser(String, String),
    /// Every case in which the person has an open part, or where none is open, had one; the creator alone where there
    /// never was one. What was entered in error counts for nothing: who changed the person last has them then.
    CasesOfPerson {
        /// The person.
        person: String,
        /// Who made the record.
        creator: String,
        /// Who changed it last.
        last: String,
    },
}

impl Stand {
    /// The scope's key, or `None` where it depends on other rows.
    pub(crate) fn key(&self) -> Option<String> {
        Some(match self {
            Stand::Agency(id) => format!("agency:{id}"),
            Stand::User(id) => format!("user:{id}"),
            Stand::Org(id) => format!("org:{id}"),
            Stand::Case(id) => format!("case:{id}"),
            Stand::Assigned(id) => format!("case:{id}/assigned"),
            Stand::Part2(id) => format!("case:{id}/part2"),
            Stand::Supervision(id) => format!("case:{id}/supervision"),
            Stand::CaseUser(case, user) => format!("case:{case}/user:{user}"),
            Stand::CasesOfPerson { .. } => return None,
        })
    }
}

/// The cases of a person's open parts; without one, those of the ended parts.
const CASES_OF_PERSON: &str = "with parts as (select p.case_id, p.left_on from case_parties p join cases c on c.id = p.case_id \
    where p.person_id = $1 and p.deleted_at is null and c.deleted_at is null and c.status <> 'entered_in_error') \
    select distinct case_id from parts where left_on is null \
    or not exists (select 1 from parts where left_on is null)";

/// The scope keys of a list of places, sorted and without repeats.
pub(crate) async fn keys(conn: &impl sea_orm::ConnectionTrait, stands: &[Stand]) -> crate::Result<Vec<String>> {
    let mut keys = Vec::with_capacity(stands.len());
    for stand in stands {
        match stand {
            Stand::CasesOfPerson { person, creator, last } => {
                let rows = crate::sql::all(conn, CASES_OF_PERSON, vec![person.as_str().into()]).await?;
                for row in &rows {
                    keys.push(format!("case:{}", row.try_get_by_index::<String>(0)?));
                }
                if rows.is_empty() {
                    let ever = "select 1 from case_parties where person_id = $1 and deleted_at is null limit 1";
                    let ever = crate::sql::one(conn, ever, vec![person.as_str().into()]).await?.is_some();
                    keys.push(format!("user:{}", if ever { last } else { creator }));
                }
            }
            plain => keys.extend(plain.key()),
        }
    }
    keys.sort();
    keys.dedup();
    Ok(keys)
}
