//! Every command that README.md and docs/ tell a reader to type exists, with the flags it is given there.

use std::path::{Path, PathBuf};

use crate::support::fieldstone;

#[test]
fn every_command_in_the_docs_is_one_that_the_binary_takes() {
    let mut tried = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("a page");
        for line in commands(&text) {
            // Asking for help parses all that stands before it and does nothing.
            let args: Vec<&str> = line.iter().skip(1).map(String::as_str).chain(["--help"]).collect();
            let done = fieldstone(&args).output().expect("the binary runs");
            assert!(done.status.success(), "{}: {line:?}: {}", page.display(), String::from_utf8_lossy(&done.stderr));
            tried += 1;
        }
    }
    assert!(tried > 5, "{tried} commands found");
}

#[test]
fn every_file_that_the_docs_point_to_is_there() {
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("a page");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let beside = page.parent().expect("a folder").join(target);
            assert!(target.is_empty() || target.contains("://") || beside.exists(), "{}: {target}", page.display());
        }
    }
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let in_docs = std::fs::read_dir(root.join("docs")).expect("docs/").filter_map(|entry| Some(entry.ok()?.path()));
    let top = ["README.md", "ARCHITECTURE.md", "tests/README.md"].map(|name| root.join(name));
    in_docs.chain(top).filter(|path| path.extension().is_some_and(|end| end == "md") && path.exists()).collect()
}

/// Lines of code blocks that call the binary, cut into words; what the shell does around it is left out.
fn commands(text: &str) -> Vec<Vec<String>> {
    let blocks = text.split("```").skip(1).step_by(2);
    let lines = blocks.flat_map(|block| block.lines().skip(1).map(str::trim_start));
    lines.map(words).filter(|words| words.first().is_some_and(|first| first == "fieldstone")).collect()
}

fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '"' | '\'') => quote = Some(letter),
            (None, '|' | '<' | '>' | '#' | '&' | ';') => break,
            (None, ' ') => words.push(String::new()),
            _ => words.last_mut().expect("at least one word").push(letter),
        }
    }
    words.retain(|word| !word.is_empty() && word != "$");
    words
}
