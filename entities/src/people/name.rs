//! Names of people, agencies, teams and partners. They stand in lists, in mails and beside what somebody wrote, so one
//! is a single line, reads in its own order, and can be seen.

/// Whether a text is one line in the order in which it is written: no control characters, no line separators, and
/// nothing that turns round what stands beside it.
pub fn is_one_line(text: &str) -> bool {
    !text
        .chars()
        .any(|letter| letter.is_control() || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

/// Whether anything of a text can be seen.
pub fn can_be_seen(text: &str) -> bool {
    text.chars().any(|letter| !letter.is_whitespace() && !letter.is_control() && !is_invisible(letter))
}

/// Letters that are drawn as nothing (Unicode's default ignorable ones, and the blanks that are no white space).
fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether a text is a name: one line that can be seen.
pub fn is_name(text: &str) -> bool {
    is_one_line(text) && can_be_seen(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_that_can_be_seen() {
        for name in ["Ana", "Zoë O\u{2019}Neil", "\u{645}\u{6cc}\u{200c}\u{62f}", "\u{5d3}\u{5e0}\u{200f}", "李"] {
            assert!(is_name(name), "{name:?}");
        }
        for none in ["", " ", "\u{200b}", "\u{2060}\u{feff} ", "\u{3164}", "\u{2800}", "\u{e0041}"] {
            assert!(is_one_line(none) && !is_name(none), "{none:?}");
        }
        for broken in ["a\nb", "a\u{85}b", "a\u{2028}b", "a\u{202e}b", "a\u{2066}b"] {
            assert!(!is_one_line(broken), "{broken:?}");
        }
    }
}
