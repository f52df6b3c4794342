//! How devices are doing: for the person who carries them, for a supervisor, for the administrator.

use sea_orm::ConnectionTrait;

use crate::clock::Instant;
use crate::error::Result;
use crate::people::team::LED;
use crate::sql;

/// Whose devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// One user's.
    User(String),
    /// Those of the people in the teams that this supervisor leads, and in the teams under them; of one
    /// of them, where one is named.
    TeamsOf(String, Option<String>),
    /// Everybody's of the agency.
    Agency,
}

/// A device, and how far its sync has come.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The app's id of it.
    pub id: String,
    /// Its user.
    pub user_id: String,
    /// Their name as colleagues know it.
    pub user_name: String,
    /// What they call it.
    pub name: String,
    /// Operating system, as the app says.
    pub platform: Option<String>,
    /// Version of the app, as it says.
    pub app_version: Option<String>,
    /// First sign-in.
    pub registered_at: Instant,
    /// Last sign-in or refresh.
    pub last_seen_at: Instant,
    /// Signed out by a person.
    pub revoked_at: Option<Instant>,
    /// Reported lost.
    pub wipe_requested_at: Option<Instant>,
    /// Last pull, to the nearest few minutes; none for a device that never synced.
    pub last_pull_at: Option<Instant>,
    /// Last push that went through.
    pub last_push_at: Option<Instant>,
    /// Schema version for which it certainly has everything.
    pub schema_version: Option<i64>,
    /// How far what it certainly holds lies behind the newest commit, in milliseconds; 0 when it holds that.
    pub behind_ms: Option<i64>,
    /// Milliseconds by which its clock was ahead of the server's.
    pub clock_skew_ms: Option<i64>,
    /// Since when deletes wait for its unsent work.
    pub holds_deletes_since: Option<Instant>,
    /// Open sync issues of its user.
    pub open_issues: i64,
    /// Work from this device that nobody has settled yet.
    pub quarantined: i64,
}

/// Devices of an agency's people, the latest seen first; at most 200.
pub async fn overview(
    conn: &impl ConnectionTrait,
    agency_id: &str,
    whose: &Whose,
    now: Instant,
) -> Result<Vec<Overview>> {
    let (theirs, id, one) = match whose {
        Whose::User(id) => ("d.user_id = $1", id.as_str(), None),
        Whose::TeamsOf(id, one) => ("u.team_id in (select id from led)", id.as_str(), one.as_deref()),
        Whose::Agency => ("$1 = ''", "", None),
    };
    let text = format!(
        "{LED} select d.id, d.user_id, u.display_name, d.name, d.platform, d.app_version, d.registered_at, d.last_seen_at, \
         d.revoked_at, d.wipe_requested_at, s.last_pull_at, s.last_push_at, s.schema_version, s.acked_cursor, \
         s.clock_skew, s.held_since, c.seq, coalesce(i.n, 0), coalesce(q.n, 0) \
         from devices d join users u on u.id = d.user_id join sync_clock c on c.agency_id = d.agency_id \
         left join sync_device s on s.device_id = d.id and s.user_id = d.user_id \
         left join (select user_id, count(*) as n from sync_issues where agency_id = $2 and status = 'open' \
         and deleted_at is null group by user_id) i on i.user_id = d.user_id \
         left join (select user_id, device_id, count(*) as n from sync_quarantine where agency_id = $2 \
         and state = 'open' group by user_id, device_id) q on q.user_id = d.user_id and q.device_id = d.id \
         where d.agency_id = $2 and {theirs} and ($3 = '' or d.user_id = $3) order by d.last_seen_at desc, d.id limit 200"
    );
    let rows = sql::all(conn, &text, vec![id.into(), agency_id.into(), one.unwrap_or_default().into()]).await?;
    rows.iter()
        .map(|row| {
            let instant =
                |at: usize| -> Result<Option<Instant>> { Ok(row.try_get_by_index::<Option<i64>>(at)?.map(Instant)) };
            let (acked, head) = (row.try_get_by_index::<Option<i64>>(13)?, row.try_get_by_index::<i64>(16)?);
            Ok(Overview {
                id: row.try_get_by_index(0)?,
                user_id: row.try_get_by_index(1)?,
                user_name: row.try_get_by_index(2)?,
                name: row.try_get_by_index(3)?,
                platform: row.try_get_by_index(4)?,
                app_version: row.try_get_by_index(5)?,
                registered_at: Instant(row.try_get_by_index(6)?),
                last_seen_at: Instant(row.try_get_by_index(7)?),
                revoked_at: instant(8)?,
                wipe_requested_at: instant(9)?,
                last_pull_at: instant(10)?,
                last_push_at: instant(11)?,
                schema_version: row.try_get_by_index(12)?,
                behind_ms: acked.filter(|at| *at > 0).map(|at| if at >= head { 0 } else { (now.0 - at).max(0) }),
                clock_skew_ms: row.try_get_by_index(14)?,
                holds_deletes_since: instant(15)?,
                open_issues: row.try_get_by_index(17)?,
                quarantined: row.try_get_by_index(18)?,
            })
        })
        .collect()
}

/// How much unsettled work from a device was taken into quarantine since an instant.
pub async fn quarantined_since(
    conn: &impl ConnectionTrait,
    user_id: &str,
    device_id: &str,
    since: Instant,
) -> Result<i64> {
    let text = "select count(*) from sync_quarantine where user_id = $1 and device_id = $2 and at >= $3";
    let row = sql::one(conn, text, vec![user_id.into(), device_id.into(), since.0.into()]).await?;
    Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default())
}
