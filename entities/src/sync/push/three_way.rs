//! A mutation of a row that is there, field by field: what the device knew, what it is to be, and what is stored.

use sea_orm::Value as Cell;
use serde_json::{Map, Value};

use super::desk::Desk;
use super::merge;
use super::mutate::{Mutation, MutationOp, MutationResult, answer, incoming, knew, not_done, to};
use crate::error::Result;
use crate::history;
use crate::registry::{Face, Merge, MoveSpec, Row, items};
use crate::sync::quarantine::Telling;

/// Takes out of what is to be set all that goes with a move: of an action everything, of an edit the state it leads to.
fn takes_out_moves(
    raw: &mut Map<String, Value>,
    mutation: &Mutation,
    before: &Row,
    step: Option<&MoveSpec>,
) -> Map<String, Value> {
    let moves = |name: &str| {
        let at = mutation.table.index(name);
        let state = at.filter(|at| mutation.table.columns[*at].field.merge == Merge::State);
        state.is_some_and(|at| raw.get(name) != Some(&before.json(at, Face::Rest)))
    };
    let out: Vec<String> = raw.keys().filter(|name| step.is_some() || moves(name)).cloned().collect();
    raw.retain(|name, _| !out.contains(name));
    out.into_iter().filter_map(|name| mutation.set.get(&name).map(|pair| (name, to(pair)))).collect()
}

impl Desk<'_> {
    /// Field by field: set where the stored value is the one the device knew; where it is neither
    /// that nor the new one, the stored value stays and the other is kept in history. A move is made with
    /// what is set so, and not at all where something beside it lost: it would lock words that its author never saw.
    pub(super) async fn three_way(
        &mut self,
        mutation: &Mutation,
        before: &Row,
        step: Option<&MoveSpec>,
    ) -> Result<MutationResult> {
        let mut raw = Map::new();
        let mut result = answer(mutation, "duplicate", None);
        let mut lost = Map::new();
        for (name, pair) in &mutation.set {
            let Some((at, column)) = mutation.table.index(name).map(|at| (at, &mutation.table.columns[at])) else {
                continue;
            };
            if !column.field.wire || !column.field.writable() || step.is_some_and(|step| step.column == name) {
                continue;
            }
            let knew = knew(pair);
            let was = knew.unwrap_or(&Value::Null);
            let (from, _) = merge::clean(column, was, Face::Rest);
            let (new, mended) = merge::clean(column, &to(pair), Face::Rest);
            // The state in which a row begins says nothing against one that is further.
            let begins = column.field.merge == Merge::State && new == column.initial_or_zero();
            let begins = begins && mutation.op == MutationOp::Create;
            // Of what goes with a move the device need not have known what stood there before.
            // Why it is done least of all, for that is said anew with each.
            let unasked = step.is_some() && (knew.is_none() || name == "status_reason");
            // A bare value is from nothing: what stands there may still be something.
            let told = knew.is_some() || mutation.op == MutationOp::Create;
            if !unasked && told && *was == to(pair) || (begins || from == new && told && !unasked) && !mended {
                continue;
            }
            if column.field.merge == Merge::Items && !mended {
                raw.insert(name.clone(), items::said(&from, &new));
                continue;
            }
            // What protects more than what stands there stands, whatever the device knew.
            let protects = column.field.merge == Merge::Protective && column.loosens(&new, before.cell(at));
            if unasked || protects || *before.cell(at) == from || *before.cell(at) == new {
                raw.insert(name.clone(), to(pair));
            } else {
                let stored = before.json(at, Face::Rest);
                result.conflicts.push(serde_json::json!({"field": name, "stored": stored, "sent": to(pair)}));
                result.status = "conflict";
                result.reason = Some("another device changed the same field".into());
                if !self.said_before(before, at, (&from, &new)).await? {
                    lost.insert(name.clone(), to(pair));
                }
            }
        }
        let names = lost.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let mut said = format!("{names} changed on another device too; that value stayed and yours is kept.");
        if !result.conflicts.is_empty() {
            let unmade = takes_out_moves(&mut raw, mutation, before, step);
            if step.is_some() {
                said = format!("Not done: {said}");
            } else if let Some(state) = unmade.keys().next() {
                said = format!("{said} So {state} was not changed.");
            }
            for (name, sent) in unmade.iter().filter(|_| step.is_none()) {
                let stored = mutation.table.index(name).map(|at| before.json(at, Face::Rest));
                result.conflicts.push(serde_json::json!({"field": name, "stored": stored, "sent": sent}));
            }
            lost.extend(unmade);
        }
        let step = step.filter(|_| result.conflicts.is_empty());
        if !lost.is_empty() {
            history::keep_lost(self.write, before, lost.clone()).await?;
            let (table, id) = (mutation.table, &mutation.row_id);
            self.tellings.push(Telling::to_author("conflict", table, id, before.case_id(), said, lost));
        }
        if let Some(step) = step {
            raw.insert(step.column.to_owned(), step.to.into());
        }
        if !raw.is_empty() {
            self.update(&incoming(mutation, raw), before).await?;
        }
        Ok(result)
    }

    /// Whether this device had set the value itself and another has changed it since: then it comes
    /// again because the answer was lost, and nothing is lost with it (S9). Not where the device knew what came after
    /// it: then it says it anew. Where a mutation has an id, that tells more than its content.
    async fn said_before(&self, before: &Row, at: usize, (from, new): (&Cell, &Cell)) -> Result<bool> {
        if !self.by_content {
            return Ok(false);
        }
        let column = &before.table.columns[at];
        let said = history::said_by(self.write.conn(), before, column.name, self.write.actor()).await?;
        let is = |old: &Value, value: &Cell| merge::clean(column, old, Face::Rest).0 == *value;
        let last = said.iter().rposition(|(old, ours)| *ours && is(old, new));
        Ok(last.is_some_and(|last| !said[last + 1..].iter().any(|(old, _)| is(old, from))))
    }

    /// A move, checked against the state the row is in now. What comes with it is set as in an update.
    pub(super) async fn action(&mut self, mutation: &Mutation, before: &Row, verb: &str) -> Result<MutationResult> {
        let Ok(step) = mutation.table.move_by_verb(verb) else {
            self.tellings.push(not_done(mutation, before.case_id(), "Not done: this server knows no such action."));
            return Ok(answer(mutation, "conflict", Some("there is no such action on this table".into())));
        };
        // What was said with a move that was made elsewhere is an edit.
        let state = before.text(step.column).unwrap_or_default();
        let ways = || mutation.table.moves.iter().filter(|way| way.verb == verb);
        let made = !ways().any(|way| way.from.contains(&state)) && ways().any(|way| way.to == state);
        self.three_way(mutation, before, (!made).then_some(step)).await
    }
}
