//! Lists whose items are added and removed one by one, so that what two people add to one list
//! both stays (S12).
//!
//! An item is told from others by its `id`, by the one row it names (`person_id`), or else by all
//! it says: an id that is empty names nothing. A list that a device sends adds its items to what is
//! stored and takes none away by leaving it out, since a device that has not heard of an item leaves
//! it out too. What is to go is sent once more with `"removed": true`: the item itself where it is an
//! object, else `{"value": item, "removed": true}`.

use std::collections::{HashMap, HashSet, VecDeque};

use sea_orm::Value as Cell;
use serde_json::{Map, Value, json};

use crate::doc::canonical;
use crate::sql::is_null;

/// The stored list with what was said laid over it, in the stored order. Saying nothing leaves it as
/// it is; what is no list is given back, for the column's limits to refuse.
pub(crate) fn laid_over(stored: &Cell, said: &Cell) -> Cell {
    if is_null(said) {
        return stored.clone();
    }
    let (list, Some(said)) = (read(stored).unwrap_or_default(), read(said)) else { return said.clone() };
    let mut list: Vec<Option<Value>> = list.into_iter().map(Some).collect();
    // By key, since a list that somebody sends may have as many items as a body holds.
    let mut places: HashMap<String, VecDeque<usize>> = HashMap::new();
    for (at, known) in list.iter().enumerate() {
        places.entry(known.as_ref().map(key).unwrap_or_default()).or_default().push_back(at);
    }
    for item in said {
        let name = key(&item);
        if is_removed(&item) {
            // Marked as removed, an object that has nothing but a value looks like a plain item.
            let names = [Some(name), only_value(&item).map(|value| key(&json!({"value": value})))];
            let found = names.into_iter().flatten().find_map(|name| places.get_mut(&name)?.pop_front());
            if let Some(at) = found {
                list[at] = None;
            }
            continue;
        }
        match places.get(&name).and_then(|found| found.front()) {
            Some(at) => list[*at] = Some(item),
            None => {
                places.entry(name).or_default().push_back(list.len());
                list.push(Some(item));
            }
        }
    }
    canonical(list.into_iter().flatten().collect()).into()
}

/// What somebody says who knew the list as `from` and wants it to be `to`: items that are new or
/// changed, and those that went.
pub(crate) fn said(from: &Cell, to: &Cell) -> Value {
    let (from, to) = (read(from).unwrap_or_default(), read(to).unwrap_or_default());
    let (known, kept): (HashSet<&Value>, HashSet<String>) = (from.iter().collect(), to.iter().map(key).collect());
    let gone = from.iter().filter(|item| !kept.contains(&key(item))).map(removed);
    to.iter().filter(|item| !known.contains(item)).cloned().chain(gone).collect()
}

/// Items that a list holds and the stored one does not, or not so.
pub(crate) fn strangers(stored: &Cell, said: &Cell) -> Vec<Value> {
    let (stored, said) = (read(stored).unwrap_or_default(), read(said).unwrap_or_default());
    let stored: HashSet<&Value> = stored.iter().collect();
    said.into_iter().filter(|item| !is_removed(item) && !stored.contains(item)).collect()
}

/// The list without these items.
pub(crate) fn without(list: &Cell, gone: &[Value]) -> Cell {
    let Some(list) = read(list) else { return list.clone() };
    let gone: HashSet<&Value> = gone.iter().collect();
    Value::Array(list.into_iter().filter(|item| !gone.contains(item)).collect()).to_string().into()
}

fn read(cell: &Cell) -> Option<Vec<Value>> {
    match cell {
        Cell::String(Some(text)) => serde_json::from_str(text).ok(),
        _ => None,
    }
}

fn is_removed(item: &Value) -> bool {
    item.get("removed") == Some(&Value::Bool(true))
}

/// What a plain item is that is marked as removed.
fn only_value(item: &Value) -> Option<&Value> {
    let object = item.as_object().filter(|object| object.len() == 2 && is_removed(item))?;
    object.get("value")
}

fn removed(item: &Value) -> Value {
    match item {
        Value::Object(object) => {
            let mut object: Map<String, Value> = object.clone();
            object.insert("removed".into(), true.into());
            Value::Object(object)
        }
        plain => json!({"value": plain, "removed": true}),
    }
}

/// What tells an item from others.
fn key(item: &Value) -> String {
    let Value::Object(object) = item else { return item.to_string() };
    let is_named = |id: &Value| !id.is_null() && id.as_str() != Some("");
    if let Some(id) = object.get("id").filter(|id| is_named(id)) {
        return id.to_string();
    }
    let mut names = object.iter().filter(|(name, id)| name.ends_with("_id") && is_named(id));
    if let (Some((_, id)), None) = (names.next(), names.next()) {
        return id.to_string();
    }
    if let Some(value) = only_value(item) {
        return value.to_string();
    }
    // Members in any order say the same.
    let mut members: Vec<_> = object.iter().filter(|(name, _)| *name != "removed").collect();
    members.sort_by_key(|(name, _)| *name);
    format!("{members:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(list: Value) -> Cell {
        canonical(list).into()
    }

    #[test]
    fn what_two_people_add_stays_and_what_is_left_out_stays_too() {
        let stored = cell(json!(["housing", "debt"]));
        assert_eq!(laid_over(&stored, &cell(json!(["housing", "school"]))), cell(json!(["housing", "debt", "school"])));
        assert_eq!(laid_over(&stored, &Cell::String(None)), stored);
        assert_eq!(
            laid_over(&Cell::String(None), &cell(json!(["a", {"value": "b", "removed": true}]))),
            cell(json!(["a"]))
        );
    }

    #[test]
    fn an_item_goes_only_when_it_is_said_to_go() {
        let stored = cell(json!(["debt", {"id": "c1", "value": "555"}, {"person_id": "p1", "attended": true}]));
        let said = json!([{"value": "debt", "removed": true}, {"id": "c1", "removed": true}]);
        assert_eq!(laid_over(&stored, &cell(said)), cell(json!([{"person_id": "p1", "attended": true}])));
        let changed = json!([{"attended": false, "person_id": "p1"}]);
        let expected = json!(["debt", {"id": "c1", "value": "555"}, {"attended": false, "person_id": "p1"}]);
        assert_eq!(laid_over(&stored, &cell(changed)), cell(expected));
    }

    #[test]
    fn a_long_list_takes_no_longer_for_each_item() {
        let (stored, said_): (Vec<u32>, Vec<u32>) = ((0..40_000).collect(), (20_000..60_000).collect());
        let (stored, list) = (cell(json!(stored)), cell(json!(said_)));
        let all: Vec<u32> = (0..60_000).collect();
        assert_eq!(laid_over(&stored, &list), cell(json!(all)));
        assert_eq!(strangers(&stored, &list).len(), 20_000);
        assert_eq!(said(&stored, &list).as_array().map(Vec::len), Some(40_000));
        assert_eq!(without(&stored, &strangers(&list, &stored)), cell(json!((20_000..40_000).collect::<Vec<u32>>())));
    }

    #[test]
    fn an_id_that_is_empty_names_nothing() {
        let both = json!([{"attended": true, "name": "Aunt May", "person_id": null}, {"name": "Uncle Ben", "person_id": null}]);
        assert_eq!(laid_over(&Cell::String(None), &cell(both.clone())), cell(both));
        let numbers = json!([{"id": "", "value": "555"}, {"id": null, "value": "556"}, {"value": "557"}]);
        assert_eq!(laid_over(&cell(json!([])), &cell(numbers.clone())), cell(numbers.clone()));
        let gone = said(&cell(numbers), &cell(json!([])));
        let stored = cell(json!([{"id": "", "value": "555"}, {"value": "557"}, "557"]));
        assert_eq!(laid_over(&stored, &cell(gone)), cell(json!([{"value": "557"}])));
    }

    #[test]
    fn what_changed_between_two_lists_says_the_same_over_a_third() {
        let (from, to) = (cell(json!(["a", "b", {"id": "x", "n": 1}])), cell(json!(["b", "c", {"id": "x", "n": 2}])));
        let elsewhere = cell(json!(["a", "b", {"id": "x", "n": 1}, "d"]));
        let merged = laid_over(&elsewhere, &cell(said(&from, &to)));
        assert_eq!(merged, cell(json!(["b", {"id": "x", "n": 2}, "d", "c"])));
        assert_eq!(said(&to, &to), json!([]));
    }
}
