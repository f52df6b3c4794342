//! After a restore: telling the people whose phones know more than the server, and remembering what
//! was brought back (H7, S6).

use sea_orm::ConnectionTrait;

use crate::access::Actor;
use crate::clock::Instant;
use crate::error::{Error, Result};
use crate::read;
use crate::registry::{Synced, table};
use crate::sql;
use crate::store::Store;
use crate::write::Write;

use super::issue;
use super::quarantine::{concerned, derived_id};
use super::timeline::{Timeline, timeline};

fn issue_id(epoch: i64, about: &str, told: &str) -> String {
    derived_id(&["restored", &epoch.to_string(), about, told])
}

/// Whether the actor has been told of the restore that began this epoch.
pub(crate) async fn told(conn: &impl ConnectionTrait, actor: &Actor, epoch: i64) -> Result<bool> {
    let issues = table(issue::Entity::NAME).ok_or(Error::NotFound)?;
    let id = issue_id(epoch, actor.user(), actor.user());
    Ok(!read::by_ids(conn, issues, &[id]).await?.is_empty())
}

/// Tells the user of a device that comes from before the restore, and the supervisor of their team, by one
/// issue each for every epoch. Every face calls this when it meets such a device; nothing happens
/// when they have been told.
pub async fn tell(store: &Store, actor: &Actor) -> Result<()> {
    let line = timeline(store.connection(), &actor.agency_id).await?;
    // A cursor from nowhere tells of no restore.
    if line.restored_to == 0 || told(store.connection(), actor, line.epoch).await? {
        return Ok(());
    }
    let mut write = store.write(&Actor::system(&actor.agency_id)).await?;
    let user = actor.user();
    let backup = Instant(line.restored_to).rfc3339();
    let mut people = vec![(user.to_owned(), "author", "What your phone sent after that is asked for again")];
    for (supervisor, role) in concerned(&write, user, None).await? {
        people.push((supervisor, role, "What this colleague's phone sent after that is asked for again"));
    }
    for (person, role, what) in people {
        let id = issue_id(line.epoch, user, &person);
        let registered = table(issue::Entity::NAME).ok_or(Error::NotFound)?;
        if write.row(registered, &id).await?.is_some() {
            continue;
        }
        write
            .create::<issue::Entity>(issue::Model {
                id,
                user_id: person,
                audience: role.into(),
                kind: "restored".into(),
                about_table: "staff".into(),
                about_id: user.into(),
                message: format!(
                    "The server was restored from a backup that ends at {backup}. {what}; look whether something is missing."
                ),
                status: "open".into(),
                ..Default::default()
            })
            .await?;
    }
    write.note("restore_told", "");
    write.commit().await?;
    Ok(())
}

/// What some device brought back of a row.
pub(crate) struct Salvaged {
    /// The epoch in which it did.
    pub(crate) epoch: i64,
    /// When that state had been stored in the timeline that is gone.
    pub(crate) held: i64,
    /// The number under which it was brought back.
    pub(crate) seq: i64,
}

/// What was last brought back of a row.
pub(crate) async fn salvaged(write: &Write, name: &str, id: &str) -> Result<Option<Salvaged>> {
    let text = "select epoch, updated_at, seq from sync_salvaged where tbl = $1 and row_id = $2";
    let Some(row) = sql::one(write.conn(), text, vec![name.into(), id.into()]).await? else { return Ok(None) };
    let (epoch, held, seq) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?);
    Ok(Some(Salvaged { epoch, held, seq }))
}

/// Whether a case that the backup does not know has been brought back in this epoch.
pub(crate) async fn came_back(write: &Write, case: &str, line: &Timeline) -> Result<bool> {
    let cases = table("cases").ok_or(Error::NotFound)?;
    let known = salvaged(write, cases.name, case).await?;
    let Some(known) = known.filter(|known| known.epoch == line.epoch) else { return Ok(false) };
    // One that the backup knows was made before the state that was brought back of it.
    let row = write.row(cases, case).await?;
    Ok(row.is_some_and(|row| row.int("created_at").is_some_and(|made| made > known.held)))
}

/// Remembers it, so that an older state from another device does not take its place.
pub(crate) async fn note_salvaged(write: &Write, name: &str, id: &str, epoch: i64, updated_at: i64) -> Result<()> {
    sql::exec(
        write.conn(),
        "insert into sync_salvaged (tbl, row_id, agency_id, epoch, updated_at, seq) values ($1, $2, $3, $4, $5, $6) \
         on conflict (tbl, row_id) do update set epoch = excluded.epoch, updated_at = excluded.updated_at, \
         seq = excluded.seq",
        vec![
            name.into(),
            id.into(),
            write.actor().agency_id.as_str().into(),
            epoch.into(),
            updated_at.into(),
            write.seq().into(),
        ],
    )
    .await?;
    Ok(())
}
