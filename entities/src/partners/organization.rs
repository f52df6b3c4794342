//! An organisation: a partner that referrals go to, in the words of the Open Referral directory.

use sea_orm::entity::prelude::*;

use crate::access::{Role, Stand};
use crate::clock::{Day, Instant};
use crate::error::Fault;
use crate::people::name::{can_be_seen, is_one_line};
use crate::people::user::is_email;
use crate::registry::{Field, Synced, Touch};

/// Columns of an organisation.
#[sea_orm::model]
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "organizations")]
pub struct Model {
    /// Row id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// Its name.
    pub name: String,
    /// Another name it goes by.
    pub alternate_name: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// Where messages about referrals go.
    pub email: Option<String>,
    /// Telephone.
    pub phone: Option<String>,
    /// Web address.
    pub website: Option<String>,
    /// Street address.
    pub address: Option<String>,
    /// Legal status.
    pub legal_status: Option<String>,
    /// The organisation it is part of.
    pub parent_organization_id: Option<String>,
    /// Time zone, an IANA name; the agency's when absent.
    pub tz: Option<String>,
    /// Language of its mail, as a BCP 47 tag.
    pub locale: Option<String>,
    /// `active`, `inactive`, `defunct` or `temporarily_closed`.
    pub status: String,
    /// Day on which somebody last checked that all this is so.
    pub assured_on: Option<Day>,
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

impl Synced for Entity {
    const NAME: &'static str = "organizations";
    const RANK: u8 = 5;
    const READERS: &'static [Role] =
        &[Role::Caseworker, Role::Supervisor, Role::Administrator, Role::Auditor, Role::Partner];
    const WRITERS: &'static [Role] = &[Role::Administrator];

    fn field(column: Column) -> Field {
        match column {
            Column::Id => Field::id().once(),
            Column::AgencyId => Field::id().hidden(),
            Column::Name => Field::text(200).required().partner(),
            Column::AlternateName => Field::text(200).partner(),
            Column::Description => Field::text(4000).partner(),
            Column::Email => Field::text(254).partner(),
            Column::Phone => Field::text(60).partner(),
            Column::Website | Column::Address => Field::text(500).partner(),
            Column::LegalStatus => Field::text(60).partner(),
            Column::ParentOrganizationId => Field::refer("organizations"),
            Column::Tz => Field::text(64).partner(),
            Column::Locale => Field::text(35).partner(),
            Column::Status => {
                Field::code(&["active", "inactive", "defunct", "temporarily_closed"]).or("active").partner()
            }
            Column::AssuredOn => Field::date(),
            Column::Seq | Column::EditSeq => Field::int(0, i64::MAX).hidden(),
            Column::CreatedAt | Column::UpdatedAt => Field::instant().server(),
            Column::CreatedBy | Column::UpdatedBy => Field::id().server(),
            Column::DeletedAt => Field::instant().hidden(),
        }
    }

    fn stands(row: &Model) -> Vec<Stand> {
        vec![Stand::Agency(row.agency_id.clone()), Stand::Org(row.id.clone())]
    }

    fn touches(before: Option<&Model>, after: &Model) -> Vec<Touch> {
        match before {
            Some(before) if before.email != after.email => {
                vec![Touch::Reached(after.id.clone(), before.email.clone(), after.email.clone())]
            }
            _ => Vec::new(),
        }
    }

    fn check(before: Option<&Model>, after: &Model) -> Vec<Fault> {
        let mut faults = Vec::new();
        // What was stored before a rule was made stays as it is until somebody changes it.
        let named = before.is_none_or(|before| before.name != after.name);
        if named && !is_one_line(&after.name) {
            faults.push(Fault::field("name", "line_break", "a name has no line breaks"));
        } else if named && !can_be_seen(&after.name) {
            faults.push(Fault::field("name", "required", "must not be blank"));
        }
        let changed =
            |of: fn(&Model) -> &Option<String>| of(after).as_deref().filter(|_| before.map(of) != Some(of(after)));
        if changed(|row| &row.email).is_some_and(|email| !is_email(email)) {
            faults.push(Fault::field("email", "email", "must be an address such as name@example.org"));
        }
        // An app opens it with a touch, and a script would run there.
        if changed(|row| &row.website).is_some_and(|address| !is_web_address(address)) {
            faults.push(Fault::field("website", "web_address", "must begin with https:// or http://"));
        }
        if changed(|row| &row.parent_organization_id).is_some_and(|parent| parent == after.id) {
            faults.push(Fault::field("parent_organization_id", "own_parent", "an organisation is no part of itself"));
        }
        if after.tz.as_deref().is_some_and(|name| jiff::tz::TimeZone::get(name).is_err()) {
            faults.push(Fault::field("tz", "unknown_zone", "must be an IANA time zone such as Europe/London"));
        }
        faults
    }
}

fn is_web_address(text: &str) -> bool {
    let mut parts = text.splitn(2, "://");
    let scheme = parts.next().unwrap_or_default().to_ascii_lowercase();
    ["https", "http"].contains(&scheme.as_str()) && parts.next().is_some_and(|rest| !rest.is_empty())
}
