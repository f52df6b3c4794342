//! What a push does not store as it was sent: kept in quarantine, or refused, and told either way.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use super::desk::Desk;
use super::intake::{Incoming, Unfit};
use super::merge;
use crate::error::Result;
use crate::history;
use crate::registry::{Face, Merge, Row, items};
use crate::sync::device::{self, Device};
use crate::sync::quarantine::{self, Telling, derived_id};

impl Desk<'_> {
    /// Keeps a row that may not be applied; the device gets back what is stored, or loses the row
    /// where its user may not see it.
    pub(super) async fn quarantine(
        &mut self,
        incoming: &Incoming,
        before: Option<&Row>,
        reason: &'static str,
        widely: bool,
    ) -> Result<()> {
        self.keep(incoming, before, reason, widely).await?;
        let actor = self.write.actor().clone();
        let (name, id) = (incoming.table.name, &incoming.id);
        if before.is_some() {
            device::resend(self.write, name, id).await
        } else {
            self.write.take_from_author(incoming.table, id, actor.user()).await
        }
    }

    /// Puts a row into quarantine and tells those it concerns.
    pub(super) async fn keep(
        &mut self,
        incoming: &Incoming,
        before: Option<&Row>,
        reason: &'static str,
        widely: bool,
    ) -> Result<()> {
        let (table, id) = (incoming.table, incoming.id.as_str());
        let case_id = quarantine::known_case(self.write, before, &incoming.raw).await?;
        let (case, turn) = (case_id.as_deref(), self.quarantined);
        if before.is_none() {
            self.reach.is_kept(table.name, id, reason);
        }
        let (entry, again) = quarantine::keep(self.write, incoming, case, turn, (reason, widely), self.once).await?;
        let telling = Telling::of_kept(table, id, case_id, reason, &incoming.raw, entry, widely);
        self.tellings.push(Telling { again, ..telling });
        self.quarantined += 1;
        Ok(())
    }

    /// Tells the author of rows that cannot be kept under their ids, each whole.
    pub(super) fn tell_unfit(&mut self, rows: impl IntoIterator<Item = Unfit>) {
        let why = "Not stored: its id is not 8 to 64 of the characters A-Z a-z 0-9 . _ -";
        self.tellings.extend(rows.into_iter().map(|(table, id, sent)| {
            Telling::to_author("ignored", table, &derived_id(&[table.name, &id]), None, why, sent)
        }));
    }

    /// Items of lists that others took out or changed after the device wrote, and that it still sends as they were; and
    /// what is told of each list.
    ///
    /// A WatermelonDB app sends a list whole, and keeps its own through a pull. What was done to it before the pull of its
    /// last push it knew when it wrote, and means to have otherwise. Of work that was kept it is not known what
    /// its device knew; what its author took out is theirs to put back.
    pub(super) async fn taken_out(
        &self,
        incoming: &Incoming,
        before: &Row,
    ) -> Result<(BTreeMap<&'static str, Vec<Value>>, Vec<Telling>)> {
        let (mut gone, mut tellings) = (BTreeMap::new(), Vec::new());
        let (table, conn, author) = (incoming.table, self.write.conn(), &*self.author);
        let lists = table.wire_columns().filter(|(_, column)| column.field.merge == Merge::Items);
        for (at, column) in lists.filter(|_| incoming.face == Face::Watermelon) {
            let name = column.name;
            let Some(sent) = incoming.raw.get(name).filter(|_| incoming.speaks_for(name)) else { continue };
            let (list, _) = merge::clean(column, sent, incoming.face);
            let strangers = items::strangers(before.cell(at), &list);
            if strangers.is_empty() {
                continue;
            }
            let said = format!(
                "{name}: what others took out or changed meanwhile stays as they left it. Say it again if it is to be otherwise."
            );
            let sent = Map::from_iter([(name.to_owned(), sent.clone())]);
            let telling = Telling::to_author("ignored", table, &incoming.id, before.case_id(), said, sent);
            let since = Device::pushed_since(conn, author).await?;
            let mut out = history::taken_out(conn, before, name, since, author).await?;
            let strangers: HashSet<&Value> = strangers.iter().collect();
            out.retain(|item| strangers.contains(item));
            if !out.is_empty() {
                gone.insert(name, out);
                tellings.push(telling);
            }
        }
        Ok((gone, tellings))
    }

    /// Tells the author what was not stored as sent, and has the row sent back as it is stored.
    pub(super) async fn report(&mut self, incoming: &Incoming, merged: &merge::Merged, known: &Row) -> Result<()> {
        if merged.kept.is_empty() && merged.mended.is_empty() && !merged.again {
            return Ok(());
        }
        device::resend(self.write, incoming.table.name, &incoming.id).await?;
        let mut told: Vec<&'static str> = merged.kept.iter().chain(&merged.mended).copied().collect();
        let mut named = HashSet::new();
        told.retain(|name| {
            let column = incoming.table.column(name);
            named.insert(*name) && column.is_some_and(|column| column.field.merge != Merge::Server)
        });
        if told.is_empty() {
            return Ok(());
        }
        let (kind, what) = if !merged.against.is_empty() {
            let kind = if merged.illegal { "illegal_move" } else { "ignored" };
            (kind, format!("kept its value: {}", merged.against.join("; ")))
        } else if merged.mended.is_empty() {
            ("ignored", "cannot be changed this way and kept its value".into())
        } else {
            ("cleaned", "held something that cannot be stored and was mended".into())
        };
        let sent = merge::excerpt(&incoming.raw, &told);
        if merge::is_long(&sent) {
            // More than an issue holds; in history it stays whole.
            history::keep_lost(self.write, known, sent.clone()).await?;
        }
        let (table, id, said) = (incoming.table, &incoming.id, format!("{} {what}.", told.join(", ")));
        self.tellings.push(Telling::to_author(kind, table, id, known.case_id(), said, sent));
        Ok(())
    }

    /// A move that was sent as one, with all that goes with it: where it cannot be made, nothing of it is stored.
    pub(super) async fn refuse_move(
        &mut self,
        incoming: &Incoming,
        before: &Row,
        merged: &merge::Merged,
    ) -> Result<()> {
        device::resend(self.write, incoming.table.name, &incoming.id).await?;
        let mut sent = incoming.raw.clone();
        sent.retain(|name, _| !name.starts_with('_'));
        history::keep_new(self.write, before, sent.clone()).await?;
        let (table, id, why) = (incoming.table, &incoming.id, format!("Not done: {}.", merged.against.join("; ")));
        self.tellings.push(Telling::to_author("illegal_move", table, id, before.case_id(), why, sent));
        Ok(())
    }

    /// Tells the author that a deletion was not made.
    pub(super) fn refuse_deletion(&mut self, incoming: &Incoming, before: &Row, said: &'static str) {
        let (table, id) = (incoming.table, &incoming.id);
        self.tellings.push(Telling::to_author("delete_refused", table, id, before.case_id(), said, Map::new()));
    }
}
