//! What a commit does besides storing rows: it settles who sees what, re-stands rows, takes in what waited and tells those
//! who have come to a case, replans, and writes the audit event.

use std::collections::BTreeSet;

use super::{Write, registered};
use crate::access;
use crate::audit;
use crate::casework::case_assignment;
use crate::error::Result;
use crate::registry::{Row, Touch};
use crate::sql;
use crate::sync::{custody, quarantine};
use crate::workflow::{refused, timers};

/// What came in a transaction that somebody's work may have waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Rows that others cannot be without, or that work itself waits for, and that came to stand somewhere.
    pub(crate) rows: BTreeSet<(&'static str, String)>,
    /// Who sees more than before.
    pub(crate) readers: BTreeSet<String>,
}

/// Rows whose columns are to be read from other rows again: the one of this id, or those of a case that name it in a
/// column.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Refill {
    table: &'static str,
    id: String,
    named: Option<(&'static str, String)>,
}

impl Write {
    /// Takes note that a row came to stand somewhere, and work may have waited for it, or may have been kept before its case
    /// was known.
    pub(super) fn arrives(&mut self, row: &Row) {
        if row.table.is_case() {
            self.opened.insert(row.id().to_owned());
        }
        if self.awaited && (row.table.is_needed() || self.awaited_in.contains(row.table.name)) {
            self.arrived.rows.insert((row.table.name, row.id().to_owned()));
        }
    }

    /// Takes note that a scope opened to somebody: work of theirs may have waited for it, and where it
    /// makes them one of those who decide about a case, they must hear of what is kept there.
    pub(crate) fn sees_more(&mut self, user_id: &str, scope: &str) {
        if self.awaited {
            self.arrived.readers.insert(user_id.to_owned());
        }
        if let Some((case, "assigned" | "supervision")) =
            scope.strip_prefix("case:").and_then(|rest| rest.split_once('/'))
        {
            self.gained.insert(case.to_owned());
        }
    }

    /// Takes note that who supervises whom has changed: somebody else may have to hear of what is kept of no known case.
    pub(crate) fn leads_otherwise(&mut self) {
        self.led = true;
    }

    /// Settles, re-stands, replans, writes the audit event and commits. Answers the commit number.
    pub async fn commit(mut self) -> Result<i64> {
        self.settle_pending().await?;
        for case in std::mem::take(&mut self.plan) {
            crate::workflow::timers::plan_case(&mut self, &case).await?;
        }
        for (id, before, after) in std::mem::take(&mut self.reached) {
            let agency = &self.actor.agency_id;
            refused::moved(&self.tx, self.now, agency, &id, before.as_deref(), after.as_deref()).await?;
            // Referrals to it may have waited for an address, or wait for one now.
            timers::mark_partners(&self.tx, self.mint(), agency, "reached").await?;
        }
        if self.note.is_some() || !self.objects.is_empty() {
            let (action, reason) = self.note.take().unwrap_or(("write", String::new()));
            let objects = std::mem::take(&mut self.objects);
            let event = audit::Event::of(&self.actor, self.seq, self.now, action, reason, objects.join(" "));
            audit::append(&self.tx, &self.last_event, event).await?;
        }
        if self.stepped {
            let values = vec![self.seq.into(), self.actor.agency_id.as_str().into()];
            sql::exec(&self.tx, "update sync_clock set seq = $1 where agency_id = $2", values).await?;
        }
        self.tx.commit().await?;
        Ok(self.seq)
    }

    /// Does now what the commit would do about access and scopes, for those who must know who
    /// sees what before it; takes in what was waiting for what has come; and tells those who came to
    /// a case of what is still kept there.
    pub(crate) async fn settle_pending(&mut self) -> Result<()> {
        self.settle_scopes().await?;
        while self.arrived != Arrived::default() {
            let arrived = std::mem::take(&mut self.arrived);
            custody::release(self, arrived).await?;
            self.settle_scopes().await?;
        }
        if std::mem::take(&mut self.led) {
            quarantine::tell_supervisors(self).await?;
        }
        let gained = std::mem::take(&mut self.gained);
        if gained.is_empty() { Ok(()) } else { quarantine::tell_newcomers(self, &gained).await }
    }

    /// The first of this: who sees what, and of which case kept work is.
    pub(crate) async fn settle_scopes(&mut self) -> Result<()> {
        for case in std::mem::take(&mut self.ended) {
            case_assignment::end_all(self, &case).await?;
        }
        // A row that differs then may be one that others are read from.
        while let Some(at) = self.refill.pop_first() {
            for id in self.ids_of(&at).await? {
                if let Some(row) = self.row(registered(at.table)?, &id).await?.filter(|row| !row.is_deleted()) {
                    let same = row.clone().checked(Some(&row), self.now, &self.actor)?;
                    self.update(&row, same).await?;
                }
            }
        }
        for case in std::mem::take(&mut self.access) {
            access::settle_case(self, &case).await?;
        }
        for (name, id) in std::mem::take(&mut self.restand) {
            let row = self.row(registered(name)?, &id).await?;
            if let Some(row) = row.filter(|row| row.agency_id() == self.actor.agency_id) {
                self.stand_again(&row).await?;
            }
        }
        let opened = std::mem::take(&mut self.opened);
        if opened.is_empty() { Ok(()) } else { custody::file(self, &opened).await }
    }

    async fn ids_of(&self, at: &Refill) -> Result<Vec<String>> {
        let Some((column, case)) = &at.named else { return Ok(vec![at.id.clone()]) };
        let table = at.table;
        let text =
            format!("select id from {table} where case_id = $1 and {column} = $2 and deleted_at is null order by id");
        let rows = sql::all(&self.tx, &text, vec![case.as_str().into(), at.id.as_str().into()]).await?;
        rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
    }

    /// Takes note of what a change asks of other rows.
    pub(super) fn touched(&mut self, touches: Vec<Touch>) {
        for touch in touches {
            match touch {
                Touch::Access(case) => {
                    self.plan.insert(case.clone());
                    self.access.insert(case);
                }
                Touch::Restand(name, id) => self.restand(name, id),
                Touch::Plan(case) => {
                    self.plan.insert(case);
                }
                Touch::Refill(table, id) => {
                    self.refill.insert(Refill { table, id, named: None });
                }
                Touch::RefillNaming { table, column, id, case_id } => {
                    self.refill.insert(Refill { table, id, named: Some((column, case_id)) });
                }
                Touch::End(case) => {
                    self.ended.insert(case);
                }
                Touch::Reached(id, before, after) => {
                    self.reached.insert((id, before, after));
                }
            }
        }
    }
}
