//! docs/rest.md lists the moves that there are.

use entities::registry::TABLES;

/// The table as it should stand in the page.
fn moves() -> String {
    let mut text = String::from("| row | verb | from | to | who | takes |\n|---|---|---|---|---|---|\n");
    for table in TABLES.iter() {
        for step in &table.moves {
            let from = if step.from.len() > 5 { "any".to_owned() } else { step.from.join(", ") };
            let who: Vec<&str> = step.who.iter().map(|role| role.as_str()).collect();
            text.push_str(&format!(
                "| {} | `{}` | {from} | {} | {} | {} |\n",
                table.name,
                step.verb,
                step.to,
                who.join(", "),
                step.takes.join(", ")
            ));
        }
    }
    text
}

#[test]
fn the_page_on_rest_lists_every_move() {
    let page = include_str!("../../../docs/rest.md");
    let (_, listed) = page.split_once("| row | verb |").expect("the table of moves");
    let expected = moves();
    assert_eq!(format!("| row | verb |{listed}"), expected, "docs/rest.md should end with this table:\n\n{expected}");
}
