//! Mending JSON text that a phone cut badly.

use std::borrow::Cow;

/// Replaces escapes of lone surrogates by U+FFFD and bytes that are not UTF-8 by the same, so
/// that half an emoji costs that one character and not the whole push (decision: a data problem
/// is never an error on push). Answers whether anything was mended.
pub fn mend(body: &[u8]) -> (Cow<'_, str>, bool) {
    let text = String::from_utf8_lossy(body);
    let lossy = matches!(text, Cow::Owned(_));
    if !text.contains("\\u") {
        return (text, lossy);
    }
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(bytes.len());
    let (mut at, mut kept, mut mended) = (0, 0, lossy);
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        match unit(bytes, at) {
            Some(0xD800..=0xDBFF) if matches!(unit(bytes, at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
            Some(0xD800..=0xDFFF) => {
                out.push_str(&text[kept..at]);
                out.push_str("\\uFFFD");
                at += 6;
                kept = at;
                mended = true;
            }
            Some(_) => at += 6,
            // Another escape, two characters long.
            None => at += 2,
        }
    }
    if kept == 0 {
        return (text, mended);
    }
    out.push_str(&text[kept..]);
    (Cow::Owned(out), mended)
}

/// Puts numbers that are too large for any reader into quotes, so that whoever sent one can be told; `None` where there
/// are none. Only for text that could not be read as it is.
pub fn bound(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut at, mut kept, mut quoted) = (0, 0, false);
    let mut out = String::new();
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b'-' | b'0'..=b'9' if !quoted => {
                let rest = bytes[at..].iter();
                let length =
                    rest.take_while(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')).count();
                if text[at..at + length].parse::<f64>().is_ok_and(f64::is_infinite) {
                    out.push_str(&text[kept..at]);
                    out.extend(["\"", &text[at..at + length], "\""]);
                    kept = at + length;
                }
                at += length - 1;
            }
            _ => (),
        }
        at += 1;
    }
    (kept > 0).then(|| out + &text[kept..])
}

/// The code unit of a `\uXXXX` escape that starts at `at`.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let escape = bytes.get(at..at + 6)?;
    if &escape[..2] != b"\\u" {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(&escape[2..]).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_no_double_holds_is_text() {
        let sent = r#"{"a": 1e400, "b": "1e400 \" 1e400", "c": [-1e999,2.5e1]}"#;
        assert_eq!(bound(sent).as_deref(), Some(r#"{"a": "1e400", "b": "1e400 \" 1e400", "c": ["-1e999",2.5e1]}"#));
        assert_eq!(bound(r#"{"a": 9223372036854775808}"#), None);
    }

    #[test]
    fn half_an_emoji_costs_one_character() {
        assert_eq!(mend(br#"{"a":"x\ud83dy"}"#), (Cow::Borrowed(r#"{"a":"x\uFFFDy"}"#), true));
        assert_eq!(mend(br#"{"a":"\ude00"}"#).0, r#"{"a":"\uFFFD"}"#);
        assert!(!mend(br#"{"a":"\ud83d\ude00 \u00e9 \\ud83d"}"#).1);
        assert_eq!(mend(b"{\"a\":\"\xff\"}"), (Cow::Borrowed("{\"a\":\"\u{FFFD}\"}"), true));
        assert!(mend(br#""\ud83d\u"#).1);
    }
}
