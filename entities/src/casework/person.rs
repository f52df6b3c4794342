//! A person: the client, or someone of importance to a case.
//!
//! Names and addresses follow no single national pattern and a date of birth may be partial or
//! unknown. A person is seen through the cases in which they have an open part; who else sees one
//! without is said at `access::Stand::CasesOfPerson`. Safety flags tighten freely and loosen only online.

use sea_orm::entity::prelude::*;

use crate::access::Stand;
use crate::clock::{Day, Instant};
use crate::doc::Doc;
use crate::error::Fault;
use crate::registry::{Field, Synced};

/// Columns of a person.
#[sea_orm::model]
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "persons")]
pub struct Model {
    /// Row id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// Given name or names.
    pub given_name: Option<String>,
    /// Family name.
    pub family_name: Option<String>,
    /// What the person wants to be called.
    pub preferred_name: Option<String>,
    /// Names borne before: a list of texts.
    pub former_names: Option<Doc>,
    /// Pronouns.
    pub pronouns: Option<String>,
    /// Date of birth as far as it is known: `YYYY-MM-DD`, `YYYY-MM` or `YYYY`.
    pub birth: Option<String>,
    /// The date of birth is a guess.
    pub birth_estimated: bool,
    /// Preferred language, as a BCP 47 tag.
    pub language: Option<String>,
    /// Needs an interpreter.
    pub interpreter: bool,
    /// Ways to reach the person: a list of `{kind, value, ok_voicemail, ok_text, ok_email, safe_hours, shared_device, primary}`.
    pub contact_points: Option<Doc>,
    /// Addresses: a list. A secret one is not kept here, since everyone on the case reads this.
    pub addresses: Option<Doc>,
    /// Must not be contacted.
    pub do_not_contact: bool,
    /// Must get no mail.
    pub no_mail: bool,
    /// The address is secret.
    pub address_secret: bool,
    /// No home visit by one worker alone.
    pub no_home_visit_alone: bool,
    /// Letters must not show who sends them.
    pub disguise_sender: bool,
    /// Day of death.
    pub deceased_on: Option<Day>,
    /// The record that replaced this one.
    pub merged_into: Option<String>,
    /// Commit number of the last change.
    pub seq: i64,
    /// Commit number of the last change a client could have made.
    pub edit_seq: i64,
    /// When it was stored first.
    pub created_at: Instant,
    /// When it was stored last.
    pub updated_at: Instant,
    /// Who made it.
    pub created_by: Option<String>,
    /// Who changed it last.
    pub updated_by: Option<String>,
    /// When it was deleted.
    pub deleted_at: Option<Instant>,
}

impl ActiveModelBehavior for ActiveModel {}

const CONTACT_POINTS: &str = r#"{
    "description": "Ways to reach the person: kind and value, and what is safe there (ok_voicemail, ok_text, ok_email, safe_hours, shared_device, primary)",
    "examples": [[{"kind": "phone", "value": "555 0100", "ok_voicemail": false, "ok_text": true, "primary": true}]]
}"#;
const ADDRESSES: &str = r#"{
    "description": "Where the person lives; none that is confidential, for everyone on the case reads it",
    "items": {"properties": {"confidential": {"not": {"const": true}}}},
    "examples": [[{"street": "12 Mill Lane", "town": "Riverbend", "kind": "home"}]]
}"#;

impl Synced for Entity {
    const NAME: &'static str = "persons";
    const RANK: u8 = 15;

    fn field(column: Column) -> Field {
        match column {
            Column::Id => Field::id().once(),
            Column::AgencyId => Field::id().hidden(),
            Column::GivenName | Column::FamilyName | Column::PreferredName => Field::text(200),
            Column::FormerNames => {
                Field::items(r#"{"description": "Names of before, a text each", "examples": [["Reyes"]]}"#)
            }
            Column::Pronouns => Field::text(60),
            Column::Birth => Field::text(10),
            Column::BirthEstimated => Field::boolean(),
            Column::Language => Field::text(35),
            Column::Interpreter => Field::boolean(),
            Column::ContactPoints => Field::items(CONTACT_POINTS),
            Column::Addresses => Field::items(ADDRESSES),
            Column::DoNotContact
            | Column::NoMail
            | Column::AddressSecret
            | Column::NoHomeVisitAlone
            | Column::DisguiseSender => Field::boolean().protective(),
            Column::DeceasedOn => Field::date().protective(),
            Column::MergedInto => Field::refer("persons").server(),
            Column::Seq | Column::EditSeq => Field::int(0, i64::MAX).hidden(),
            Column::CreatedAt | Column::UpdatedAt => Field::instant().server(),
            Column::CreatedBy | Column::UpdatedBy => Field::id().server(),
            Column::DeletedAt => Field::instant().hidden(),
        }
    }

    fn stands(row: &Model) -> Vec<Stand> {
        let creator = row.created_by.clone().unwrap_or_default();
        let last = row.updated_by.clone().unwrap_or_else(|| creator.clone());
        vec![Stand::CasesOfPerson { person: row.id.clone(), creator, last }]
    }

    fn check(_before: Option<&Model>, after: &Model) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (name, text) in [
            ("given_name", &after.given_name),
            ("family_name", &after.family_name),
            ("preferred_name", &after.preferred_name),
        ] {
            if text.as_deref().is_some_and(|text| text.contains(['\r', '\n'])) {
                faults.push(Fault::field(name, "line_break", "a name has no line breaks"));
            }
        }
        if after.birth.as_deref().is_some_and(|text| !is_partial_date(text)) {
            faults.push(Fault::field("birth", "date", "must be YYYY-MM-DD, YYYY-MM or YYYY"));
        }
        if let Some(list) = after.addresses.as_ref().and_then(|list| list.0.as_array()) {
            for (at, entry) in list.iter().enumerate() {
                if entry["confidential"].as_bool() == Some(true) {
                    faults.push(Fault {
                        pointer: format!("/addresses/{at}"),
                        code: "secret_address",
                        detail: "a secret address is not kept where everyone on the case reads it".into(),
                    });
                }
            }
        }
        faults
    }
}

/// `YYYY`, `YYYY-MM` or `YYYY-MM-DD`, naming a month and a day that exist.
fn is_partial_date(text: &str) -> bool {
    let whole = match text.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        _ => text.to_owned(),
    };
    whole.parse::<Day>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_birth_may_be_partial_and_not_impossible() {
        for right in ["1980", "1980-02", "1980-02-29"] {
            assert!(is_partial_date(right), "{right}");
        }
        for wrong in ["", "80", "1980-13", "1981-02-29", "1980-2", "about 1980"] {
            assert!(!is_partial_date(wrong), "{wrong}");
        }
    }
}
