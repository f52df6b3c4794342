//! Entity tags as `If-Match` and `If-None-Match` carry them: in quotes, which may hold a comma, and several of them between
//! commas. A weak one stands for the version it names, since a proxy that compresses makes ours weak.

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;

use crate::problem::Problem;

/// What a header names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    /// A star: whatever there is.
    Any,
    /// What stands in the quotes of each tag.
    These(Vec<Vec<u8>>),
}

impl Tags {
    /// The tags of a header; `None` where it was not sent.
    ///
    /// # Errors
    /// 400 for what is neither a star nor tags.
    pub(crate) fn of(req: &HttpRequest, header: HeaderName) -> Result<Option<Tags>, Problem> {
        let lines: Vec<&[u8]> = req.headers().get_all(&header).map(|value| value.as_bytes()).collect();
        if lines.is_empty() {
            return Ok(None);
        }
        let wrong = || Problem::malformed(format!("{header} must be the ETag last read, several between commas, or *"));
        Tags::read(&lines.join(&b","[..])).map(Some).ok_or_else(wrong)
    }

    fn read(line: &[u8]) -> Option<Tags> {
        if line.trim_ascii() == b"*" {
            return Some(Tags::Any);
        }
        let mut tags = Vec::new();
        let mut rest = line;
        loop {
            rest = rest.trim_ascii_start();
            rest = rest.strip_prefix(b"W/").unwrap_or(rest).strip_prefix(b"\"")?;
            let end = rest.iter().position(|byte| *byte == b'"')?;
            tags.push(rest[..end].to_vec());
            rest = rest[end + 1..].trim_ascii_start();
            if rest.is_empty() {
                return Some(Tags::These(tags));
            }
            rest = rest.strip_prefix(b",")?;
        }
    }

    /// Whether the version that there is is among them.
    pub(crate) fn name(&self, version: i64) -> bool {
        match self {
            Tags::Any => true,
            Tags::These(tags) => tags.iter().any(|tag| *tag == version.to_string().as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_ends_where_its_quotes_do() {
        let these = |tags: &[&str]| Some(Tags::These(tags.iter().map(|tag| tag.as_bytes().to_vec()).collect()));
        for (line, expected) in [
            ("*", Some(Tags::Any)),
            (" * ", Some(Tags::Any)),
            ("\"7\"", these(&["7"])),
            ("W/\"7\"", these(&["7"])),
            ("\"a,b\"", these(&["a,b"])),
            ("\"a,b\" , W/\"7\",\"\"", these(&["a,b", "7", ""])),
            ("", None),
            ("7", None),
            ("\"7", None),
            ("\"7\",", None),
            ("\"7\" \"8\"", None),
            ("\"7\", *", None),
        ] {
            assert_eq!(Tags::read(line.as_bytes()), expected, "{line}");
        }
    }
}
