//! How a command ends when it does not end well.

use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Why a command did not do what it was asked, and the exit code that says so.
#[derive(Debug)]
pub(crate) enum Failure {
    /// 1: it was tried and did not work.
    Failed(String),
    /// 2: it was asked for in a way that makes no sense.
    Misuse(String),
    /// 78: the configuration is invalid or unsafe; nothing was started.
    Config(String),
}

impl Failure {
    /// An invalid or unsafe configuration.
    pub(crate) fn config(why: impl Into<String>) -> Failure {
        Failure::Config(why.into())
    }

    /// Something that did not work.
    pub(crate) fn failed(why: impl Into<String>) -> Failure {
        Failure::Failed(why.into())
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Failed(_) => 1,
            Failure::Misuse(_) => 2,
            Failure::Config(_) => 78,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Failed(why) | Failure::Misuse(why) | Failure::Config(why) => f.write_str(why),
        }
    }
}

impl From<entities::Error> for Failure {
    fn from(error: entities::Error) -> Self {
        match error {
            entities::Error::Invalid(faults) => {
                let all: Vec<String> = faults
                    .iter()
                    .map(|fault| format!("{} {}", fault.pointer.trim_start_matches('/'), fault.detail))
                    .collect();
                Failure::Misuse(all.join("; "))
            }
            other => Failure::Failed(plainly(&other)),
        }
    }
}

/// What the database said, without the driver's trimmings, or what it means and what to do where that is known.
pub(crate) fn plainly(error: &entities::Error) -> String {
    let why = match error {
        entities::Error::Busy(why) | entities::Error::Internal(why) => why,
        // The kind of an error is for programs.
        entities::Error::Conflict { detail: said, .. } | entities::Error::Forbidden(said) => return said.clone(),
        other => return other.to_string(),
    };
    let said = why.rsplit_once("database: ").map_or(why.as_str(), |(_, said)| said);
    let known = [
        ("file is not a database", "it is no SQLite database: database_url names another file, or it is damaged"),
        ("readonly database", "this user may not write it, or what SQLite keeps beside it in its folder"),
        ("unable to open database file", "this user may not use it, or what SQLite keeps beside it in its folder"),
        ("database is locked", "another process writes to it for longer than is waited for: try again"),
        ("pool timed out", "it does not answer: see that it runs there and can be reached from here"),
        ("failed to lookup address", "nobody knows its host: see that database_url names it right"),
    ];
    if let Some((_, words)) = known.iter().find(|(sign, _)| said.contains(sign)) {
        return (*words).to_owned();
    }
    if said.starts_with("database \"") && said.ends_with("does not exist") {
        return format!("{said}: make it with `createdb`, or name another in database_url");
    }
    said.to_owned()
}

/// Why a file cannot be used, and what to do where that is known; `setting` is what names the file.
pub(crate) fn unusable(path: &Path, setting: &str, error: &std::io::Error) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let why = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory if !folder.is_dir() => {
            format!("there is no folder {}; make it, or name another in {setting}", folder.display())
        }
        ErrorKind::PermissionDenied => {
            // What can be read and not replaced stands in a folder that cannot be written.
            let (user, what) =
                (user(), if path.exists() && std::fs::File::open(path).is_err() { path } else { folder });
            format!(
                "{user}, whom this runs as, may not: `chown {user} {}`, or name another in {setting}",
                what.display()
            )
        }
        ErrorKind::ReadOnlyFilesystem => format!("nothing can be written there; name another in {setting}"),
        ErrorKind::IsADirectory => format!("it is a folder; name a file in {setting}"),
        ErrorKind::NotFound => format!("there is no such file; make it, or name another in {setting}"),
        _ => error.to_string(),
    };
    format!("{}: {why}", path.display())
}

/// Who runs this, by name where it is known.
fn user() -> String {
    let Ok(own) = std::fs::metadata("/proc/self") else { return "the user".to_owned() };
    let id = own.uid().to_string();
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = known.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)? == id).then(|| name.to_owned())
    });
    name.unwrap_or(id)
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Failed(error.to_string())
    }
}

impl From<api::tokens::KeyError> for Failure {
    fn from(error: api::tokens::KeyError) -> Self {
        Failure::Config(match error {
            api::tokens::KeyError::File(path, why) => {
                format!("the signing key file {}", unusable(&path, "signing_key_file", &why))
            }
            other => other.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_not_use_a_file_is_told_who_they_are_and_what_to_hand_over() {
        let denied = std::io::Error::from(ErrorKind::PermissionDenied);
        let said = unusable(Path::new("/usr/no-such.json"), "signing_key_file", &denied);
        let name = user();
        assert!(!name.is_empty() && !name.contains(char::is_whitespace), "{name}");
        let expected = format!(
            "/usr/no-such.json: {name}, whom this runs as, may not: `chown {name} /usr`, or name another in \
             signing_key_file"
        );
        assert_eq!(said, expected);
    }
}
