//! A user: someone who can sign in. Their name, role and team go to phones as `staff`.
//!
//! A change that alters what a user sees settles their access in the same commit, and a user who
//! is switched off loses their sessions in it too.

use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, DbBackend, IntoActiveModel, QueryOrder, QuerySelect};
use serde_json::json;

use super::name::is_name;
use super::{agency, link, session, staff, team};
use crate::access::{Role, settle_user};
use crate::clock::{Day, Instant};
use crate::doc::Doc;
use crate::error::{Error, Fault, Result};
use crate::workflow::{refused, timers};
use crate::write::Write;
use crate::{audit, sql};

/// Columns of a user.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    /// Row id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// Name as colleagues know it; one line.
    pub display_name: String,
    /// Address for signing in and for mail; lower case, unique in the installation.
    pub email: String,
    /// See [`Role`].
    pub role: String,
    /// Profession, free text.
    pub profession: Option<String>,
    /// Team, for caseworkers and supervisors.
    pub team_id: Option<String>,
    /// Organisation, for partners.
    pub partner_org_id: Option<String>,
    /// Their own zone where it differs from the agency's.
    pub tz: Option<String>,
    /// Languages spoken: a list of tags.
    pub languages: Doc,
    /// False once they may no longer sign in.
    pub active: bool,
    /// Local hour of the daily digest, 0 to 23.
    pub digest_hour: i64,
    /// First day away.
    pub away_from: Option<Day>,
    /// Last day away.
    pub away_to: Option<Day>,
    /// Who covers meanwhile.
    pub cover_user_id: Option<String>,
    /// Argon2id hash; none until an invitation was taken up.
    pub password_hash: Option<String>,
    /// When the password was set last.
    pub password_set_at: Option<Instant>,
    /// Rises with every change; the ETag.
    pub rev: i64,
    /// When it was made.
    pub created_at: Instant,
    /// When it was changed last.
    pub updated_at: Instant,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// An active user with the usual settings, not stored yet.
    pub fn new(display_name: &str, email: &str, role: Role) -> Model {
        Model {
            id: String::new(),
            agency_id: String::new(),
            display_name: display_name.into(),
            email: email.trim().to_lowercase(),
            role: role.as_str().into(),
            profession: None,
            team_id: None,
            partner_org_id: None,
            tz: None,
            languages: Doc(json!([])),
            active: true,
            digest_hour: 8,
            away_from: None,
            away_to: None,
            cover_user_id: None,
            password_hash: None,
            password_set_at: None,
            rev: 1,
            created_at: Instant(0),
            updated_at: Instant(0),
        }
    }

    /// The role; a word nobody knows gives the one that sees least.
    pub fn role(&self) -> Role {
        Role::parse(&self.role).unwrap_or(Role::Auditor)
    }

    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if !is_email(&self.email) {
            faults.push(Fault::field("email", "wrong_value", "must be an e-mail address"));
        }
        if !is_name(&self.display_name) {
            faults.push(Fault::field("display_name", "wrong_value", "must be one line and not blank"));
        }
        if Role::parse(&self.role).is_none() {
            faults.push(Fault::field("role", "wrong_value", "is no role"));
        }
        if self.tz.as_deref().is_some_and(|tz| !agency::is_zone(tz)) {
            faults.push(Fault::field("tz", "unknown_zone", "must be an IANA time zone such as Europe/London"));
        }
        let tags =
            self.languages.0.as_array().is_some_and(|tags| {
                tags.len() <= 20 && tags.iter().all(|tag| tag.as_str().is_some_and(is_language_tag))
            });
        if !tags {
            faults.push(Fault::field("languages", "wrong_value", "must be a list of at most 20 language tags"));
        }
        if (self.role == Role::Partner.as_str()) != self.partner_org_id.is_some() {
            faults.push(Fault::field("partner_org_id", "wrong_value", "partners have one and nobody else"));
        }
        match (self.away_from, self.away_to) {
            (Some(from), Some(to)) if to < from => {
                faults.push(Fault::field("away_to", "before_start", "must not lie before away_from"));
            }
            (Some(_), None) => faults.push(Fault::field("away_to", "required", "an absence needs both days")),
            (None, Some(_)) => faults.push(Fault::field("away_from", "required", "an absence needs both days")),
            _ => {}
        }
        faults
    }
}

/// An address that every mail server takes: ASCII, one `@`, no quoting, a domain with a dot.
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let atom = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    let label = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 254
        && local.len() <= 64
        && local.split('.').all(atom)
        && domain.contains('.')
        && domain.split('.').all(label)
}

/// The user with this address, in whatever case it is written.
pub async fn by_email(conn: &impl ConnectionTrait, email: &str) -> Result<Option<Model>> {
    Ok(Entity::find().filter(Column::Email.eq(email.trim().to_lowercase())).one(conn).await?)
}

/// The user, if they are this agency's.
pub async fn by_id(conn: &impl ConnectionTrait, agency_id: &str, id: &str) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).filter(Column::AgencyId.eq(agency_id)).one(conn).await?)
}

/// A page of the agency's users by id, beginning after an id.
pub async fn list(conn: &impl ConnectionTrait, agency_id: &str, after: &str, limit: u64) -> Result<Vec<Model>> {
    let found = Entity::find()
        .filter(Column::AgencyId.eq(agency_id))
        .filter(Column::Id.gt(after))
        .order_by_asc(Column::Id)
        .limit(limit);
    Ok(found.all(conn).await?)
}

/// Makes a user. An empty id is replaced by a new one. An address in use is a conflict.
pub async fn create(write: &mut Write, user: Model) -> Result<Model> {
    let user = Model {
        id: if user.id.is_empty() { write.mint() } else { user.id },
        agency_id: write.actor().agency_id.clone(),
        email: user.email.trim().to_lowercase(),
        rev: 1,
        created_at: write.now(),
        updated_at: write.now(),
        ..user
    };
    check(write, None, &user).await?;
    user.clone().into_active_model().insert(write.conn()).await?;
    show(write, &user).await?;
    settle_user(write, &user.id).await?;
    if user.role() == Role::Partner {
        timers::mark_partners(write.conn(), write.mint(), &user.agency_id, "partner").await?;
    }
    write.note("user_created", audit::object("users", &user.id));
    Ok(user)
}

/// Stores a changed user: the staff list follows, access is settled, and a user who was switched
/// off loses every session. The password is not changed here.
pub async fn change(write: &mut Write, before: &Model, after: Model) -> Result<Model> {
    let after = Model {
        email: after.email.trim().to_lowercase(),
        password_hash: before.password_hash.clone(),
        password_set_at: before.password_set_at,
        rev: before.rev + 1,
        updated_at: write.now(),
        ..after
    };
    if (before.role() == Role::Partner) != (after.role() == Role::Partner) {
        return Err(Error::invalid("role", "wrong_value", "a partner stays a partner; make another user"));
    }
    let manages = |user: &Model| user.active && user.role() == Role::Administrator;
    if manages(before) && !manages(&after) && !has_administrator_beside(write.conn(), before).await? {
        let detail = "the agency would be left without an administrator".into();
        return Err(Error::Conflict { code: "last_administrator", detail });
    }
    check(write, Some(before), &after).await?;
    after.clone().into_active_model().reset_all().update(write.conn()).await?;
    show(write, &after).await?;
    if before.active && !after.active {
        session::end_all(write.conn(), &after.id, write.now(), "deactivated").await?;
    }
    if before.email != after.email {
        let (old, new) = (Some(before.email.as_str()), Some(after.email.as_str()));
        refused::moved(write.conn(), write.now(), &after.agency_id, &after.id, old, new).await?;
        // What was sent to the old address may be in somebody else's hands.
        link::end_all(write.conn(), &after.id, write.now()).await?;
    }
    let told = |user: &Model| {
        (user.active, user.role.clone(), user.tz.clone(), user.digest_hour, user.away_from, user.away_to)
    };
    if told(before) != told(&after) {
        replan(write, &after.id).await?;
    }
    // A partner sees no case, and what waits for an answer waits for whoever can be reached there.
    let reached = |user: &Model| (user.active, user.email.clone(), user.partner_org_id.clone());
    if after.role() == Role::Partner && reached(before) != reached(&after) {
        timers::mark_partners(write.conn(), write.mint(), &after.agency_id, "partner").await?;
    }
    let sees = |user: &Model| (user.active, user.role.clone(), user.partner_org_id.clone());
    if sees(before) != sees(&after) {
        settle_user(write, &after.id).await?;
    }
    let led = |user: &Model| (user.active, user.role.clone(), user.team_id.clone());
    if led(before) != led(&after) {
        write.leads_otherwise();
    }
    write.note("user_changed", audit::object("users", &after.id));
    Ok(after)
}

/// When and whether somebody is told has changed: every open case that they see is planned again.
/// Somebody who comes back sees nothing yet; what they had assigned or led is theirs again.
async fn replan(write: &mut Write, user: &str) -> Result<()> {
    let text = format!(
        "{LED} select c.id from cases c where c.deleted_at is null \
         and c.status in ('intake', 'active', 'on_hold', 'closing') and c.id in \
         (select substr(scope, 6) from sync_access where user_id = $1 and visible \
         and scope >= 'case:' and scope < 'case;' \
         union select case_id from case_assignments where user_id = $1 and (to_ts is null or to_ts > $2) and deleted_at is null \
         union select id from cases where team_id in (select id from led))",
        LED = team::LED
    );
    let cases = sql::all(write.conn(), &text, vec![user.into(), write.now().0.into()]).await?;
    if cases.len() > agency::AT_ONCE {
        return timers::mark_agency(write, "user").await;
    }
    for case in cases {
        write.replan(&case.try_get_by_index::<String>(0)?);
    }
    Ok(())
}

/// Whether somebody else of the agency manages it. Who never chose a password may never come.
async fn has_administrator_beside(conn: &impl ConnectionTrait, user: &Model) -> Result<bool> {
    let text = "select 1 from users where agency_id = $1 and id <> $2 and role = $3 and active \
                and password_hash is not null limit 1";
    let bound = vec![user.agency_id.as_str().into(), user.id.as_str().into(), Role::Administrator.as_str().into()];
    Ok(sql::one(conn, text, bound).await?.is_some())
}

/// Whether an active user's password is still the one of this hash. On PostgreSQL it stays so until the transaction ends:
/// who sets another waits, and ends the session that comes of it.
pub async fn still_signs_in_with(conn: &impl ConnectionTrait, user_id: &str, hash: Option<&str>) -> Result<bool> {
    let lock = if conn.get_database_backend() == DbBackend::Postgres { " for share" } else { "" };
    let text = format!("select 1 from users where id = $1 and active and password_hash = $2{lock}");
    Ok(sql::one(conn, &text, vec![user_id.into(), hash.into()]).await?.is_some())
}

/// Sets the password and ends every session but the one given.
pub async fn set_password(write: &mut Write, user_id: &str, hash: &str, but_session: Option<&str>) -> Result<()> {
    let now = write.now();
    sql::exec(
        write.conn(),
        "update users set password_hash = $1, password_set_at = $2, updated_at = $2, rev = rev + 1 where id = $3",
        vec![hash.into(), now.0.into(), user_id.into()],
    )
    .await?;
    session::end_all_but(write.conn(), user_id, but_session, now, "password_changed").await?;
    link::end_all(write.conn(), user_id, now).await?;
    write.note("password_set", audit::object("users", user_id));
    Ok(())
}

fn is_language_tag(text: &str) -> bool {
    (2..=35).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The active supervisor of the user's team, or of the nearest team above that has one; never the
/// user themselves.
pub async fn supervisor_of(conn: &impl ConnectionTrait, user: &Model) -> Result<Option<Model>> {
    let mut above = user.team_id.clone();
    for _ in 0..20 {
        let Some(id) = above else { break };
        let Some(team) = team::by_id(conn, &user.agency_id, &id).await? else { break };
        if let Some(leader) = team.supervisor_user_id.filter(|leader| *leader != user.id)
            && let Some(found) = by_id(conn, &user.agency_id, &leader).await?
            && found.active
            && found.role() == Role::Supervisor
        {
            return Ok(Some(found));
        }
        above = team.parent_team_id;
    }
    Ok(None)
}

/// A reference is looked at where it changes: what it names may have ended since, which is no reason to refuse the rest.
async fn check(write: &Write, before: Option<&Model>, user: &Model) -> Result<()> {
    let mut faults = user.faults();
    // What was stored under other rules is no reason to refuse another change.
    faults.retain(|fault| {
        before.is_none_or(|before| match fault.pointer.as_str() {
            "/languages" => before.languages != user.languages,
            "/display_name" => before.display_name != user.display_name,
            _ => true,
        })
    });
    if let Some(id) = &user.team_id
        && before.is_none_or(|before| before.team_id != user.team_id)
        && team::by_id(write.conn(), &user.agency_id, id).await?.is_none()
    {
        faults.push(Fault::field("team_id", "unknown", "is no team of this agency"));
    }
    if let Some(id) = &user.cover_user_id
        && before.is_none_or(|before| before.cover_user_id != user.cover_user_id)
        && (*id == user.id || by_id(write.conn(), &user.agency_id, id).await?.is_none_or(|other| !other.active))
    {
        faults.push(Fault::field("cover_user_id", "unknown", "must be another active user of this agency"));
    }
    if let Some(id) = &user.partner_org_id
        && before.is_none_or(|before| before.partner_org_id != user.partner_org_id)
    {
        let text = "select 1 from organizations where id = $1 and agency_id = $2 and deleted_at is null";
        if sql::one(write.conn(), text, vec![id.into(), user.agency_id.as_str().into()]).await?.is_none() {
            faults.push(Fault::field("partner_org_id", "unknown", "is no organisation of this agency"));
        }
    }
    if by_email(write.conn(), &user.email).await?.is_some_and(|other| other.id != user.id) {
        return Err(Error::Conflict { code: "email_in_use", detail: "a user with this address exists already".into() });
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

/// Brings the staff list in line. Partners are nobody's colleagues and do not stand in it.
async fn show(write: &mut Write, user: &Model) -> Result<()> {
    if user.role() == Role::Partner {
        return Ok(());
    }
    let listed = write.load::<staff::Entity>(&user.id).await?;
    let wanted = staff::Model {
        id: user.id.clone(),
        display_name: user.display_name.clone(),
        role: user.role.clone(),
        team_id: user.team_id.clone(),
        active: user.active,
        ..listed.clone().unwrap_or_default()
    };
    match listed {
        Some(row) => write.change::<staff::Entity>(&row, wanted).await?,
        None => write.create::<staff::Entity>(wanted).await?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_that_every_mail_server_takes() {
        for good in ["ana@demo.example", "a.b+c@x-y.example", "o'neil@demo.example"] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "",
            "ana",
            "@demo.example",
            "ana@",
            "ana@demo",
            "a b@demo.example",
            "a@b@c.d",
            "ana@demo.example\r\nBcc: x",
            "ána@demo.example",
            ".a@demo.example",
            "a..b@demo.example",
            "\"x\"@demo.example",
            "a@-demo.example",
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn a_name_with_a_line_break_is_refused_before_any_mail_carries_it() {
        let user = Model::new("Ana\r\nBcc: all", "ana@demo.example", Role::Caseworker);
        assert_eq!(user.faults()[0].pointer, "/display_name");
    }
}
