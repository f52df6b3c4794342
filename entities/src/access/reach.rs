//! May this user see this row?

use sea_orm::ConnectionTrait;

use crate::error::Result;
use crate::sql;

/// A condition on `t.id` that holds for rows of `table` that the user bound at `$user` may see.
/// Lists, counts and single reads all carry it.
pub fn visible_sql(table: &'static str, user: usize) -> String {
    format!(
        "exists (select 1 from sync_feed f join sync_access a on a.scope = f.scope \
         where f.tbl = '{table}' and f.row_id = t.id and f.live and a.visible and a.user_id = ${user})"
    )
}

/// Whether the user may see the row of this table with this id, now.
pub async fn sees(conn: &impl ConnectionTrait, user: &str, table: &'static str, id: &str) -> Result<bool> {
    let text = "select 1 from sync_feed f join sync_access a on a.scope = f.scope \
                where f.tbl = $1 and f.row_id = $2 and f.live and a.visible and a.user_id = $3 limit 1";
    Ok(sql::one(conn, text, vec![table.into(), id.into(), user.into()]).await?.is_some())
}

/// Finds a row where a user (`$1`) has a scope (`$2`) open, now.
pub(crate) const OPENS: &str = "select 1 from sync_access where user_id = $1 and scope = $2 and visible";

/// Whether the user has one of these scopes open, now.
pub(crate) async fn opens(conn: &impl ConnectionTrait, user: &str, scopes: &[String]) -> Result<bool> {
    for scope in scopes {
        if sql::one(conn, OPENS, vec![user.into(), scope.into()]).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the user has this place open, now. False for a place that depends on other rows.
pub async fn has_open(conn: &impl ConnectionTrait, user: &str, stand: &super::Stand) -> Result<bool> {
    let Some(scope) = stand.key() else { return Ok(false) };
    opens(conn, user, &[scope]).await
}
