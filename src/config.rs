//! What the operator decides: defaults, then `fieldstone.toml`, then `FIELDSTONE_*`, then flags.
//!
//! One table, `settings::KEYS`, names every setting with its default, its limits and what it means; the
//! layers, the check for misspelt names, `config print` and `fieldstone.example.toml` all read it.
//! Every value remembers where it came from, so that a complaint can say so.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use api::state::Network;
use secrecy::{ExposeSecret, SecretString};

use crate::failure::{Failure, unusable};
use crate::settings::{KEYS, Key, Kind, literal};

/// A value and where it came from.
#[derive(Clone, Debug)]
struct Given {
    value: SecretString,
    from: String,
}

/// The settings in force.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    values: BTreeMap<&'static str, Given>,
    /// Folder that relative paths begin at: that of the file, or the working directory.
    folder: PathBuf,
}

impl Config {
    /// Reads all layers. `file` is the one named by a flag; otherwise `FIELDSTONE_CONFIG`, or
    /// `fieldstone.toml` in the working directory where there is one. `flags` come last.
    ///
    /// # Errors
    /// An unknown name, a value out of bounds, a file that others may read although it holds a secret.
    pub(crate) fn load(file: Option<&Path>, flags: &[(&'static str, Option<String>)]) -> Result<Config, Failure> {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        let environment: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let named =
            environment.iter().find(|(name, _)| name == "FIELDSTONE_CONFIG").map(|(_, value)| PathBuf::from(value));
        let path = match file.map(Path::to_owned).or(named) {
            Some(path) => Some(path),
            None => Some(PathBuf::from("fieldstone.toml")).filter(|path| path.exists()),
        };
        let text = path.as_ref().map(|path| read(path)).transpose()?;
        let folder = path.as_ref().and_then(|path| path.parent()).map(Path::to_owned).unwrap_or_default();
        let mut config = Config { values: BTreeMap::new(), folder };
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            config.put(key, key.default.to_owned(), "the default".into())?;
        }
        if let (Some(text), Some(path)) = (text, path) {
            config.merge_file(&text, &path)?;
        }
        config.merge_environment(&environment)?;
        for (name, value) in flags {
            if let Some(value) = value {
                let key = find(name, "the command line")?;
                config.put(key, value.clone(), format!("--{}", name.replace('_', "-")))?;
            }
        }
        config.check()?;
        Ok(config)
    }

    /// Nothing but defaults and these values, for `demo` and for tests.
    ///
    /// # Errors
    /// As [`Config::load`].
    #[cfg_attr(not(test), expect(dead_code, reason = "for the demonstration, which is being built"))]
    pub(crate) fn of(values: &[(&'static str, String)]) -> Result<Config, Failure> {
        let mut config = Config { values: BTreeMap::new(), folder: PathBuf::new() };
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            config.put(key, key.default.to_owned(), "the default".into())?;
        }
        for (name, value) in values {
            config.put(find(name, "the program")?, value.clone(), "the program".into())?;
        }
        config.check()?;
        Ok(config)
    }

    /// Defaults and this text as the settings file.
    #[cfg(test)]
    pub(crate) fn of_file(text: &str) -> Result<Config, Failure> {
        let mut config = Config::of(&[])?;
        config.merge_file(text, Path::new("fieldstone.toml"))?;
        config.check()?;
        Ok(config)
    }

    fn merge_file(&mut self, text: &str, path: &Path) -> Result<(), Failure> {
        let from = path.display().to_string();
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            // The line by its number alone: there may be a password in it.
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            Failure::config(format!("{from}, line {line}: {}", error.message()))
        })?;
        let mut holds_secret = false;
        for (name, value) in table {
            let (key, is_file) = named(&name, &from)?;
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Array(items) => items
                    .into_iter()
                    .map(|item| item.as_str().map(str::to_owned))
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| Failure::config(format!("{from}: {name} must list texts")))?
                    .join(","),
                _ => return Err(Failure::config(format!("{from}: {name} must be a text, a number or a list"))),
            };
            let value = if is_file { secret_file(&name, &self.folder.join(value))? } else { value };
            holds_secret |= key.secret && !is_file && has_password(&value);
            self.put(key, value, from.clone())?;
        }
        if holds_secret {
            let unread = |error| Failure::config(unusable(path, "--config", &error));
            closed(path, "holds a password", std::fs::metadata(path).map_err(unread)?.permissions().mode())?;
        }
        Ok(())
    }

    fn merge_environment(&mut self, environment: &[(String, String)]) -> Result<(), Failure> {
        for (variable, value) in environment {
            let Some(name) = variable.strip_prefix("FIELDSTONE_") else { continue };
            // The first is read above; the others speak to the tests.
            if name == "CONFIG" || name.starts_with("TEST_") {
                continue;
            }
            let (key, is_file) = named(&name.to_lowercase(), variable)?;
            let value = if is_file { secret_file(variable, Path::new(value))? } else { value.clone() };
            self.put(key, value, variable.clone())?;
        }
        Ok(())
    }

    fn put(&mut self, key: &'static Key, value: String, from: String) -> Result<(), Failure> {
        if let Kind::Number(min, max) = key.kind
            && !value.trim().parse::<u64>().is_ok_and(|number| (min..=max).contains(&number))
        {
            return Err(Failure::config(format!("{from}: {} must be a number from {min} to {max}", key.name)));
        }
        if value.is_empty() && key.name == "database_url" {
            // The default is a database too: an agency would start afresh in it, and nobody would notice.
            return Err(Failure::config(format!("{from}: database_url is empty: name the database, or take it out")));
        }
        if value.is_empty() {
            // As it is where nobody says anything.
            match key.default {
                "" => self.values.remove(key.name),
                usual => self.values.insert(key.name, Given { value: usual.into(), from: "the default".into() }),
            };
        } else {
            self.values.insert(key.name, Given { value: value.into(), from });
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Failure> {
        let listen = self.listen()?;
        let apart = |other: &SocketAddr| {
            let everywhere = listen.ip().is_unspecified() || other.ip().is_unspecified();
            other.port() != listen.port() || other.port() == 0 || !everywhere && other.ip() != listen.ip()
        };
        if self.admin_listen()?.is_some_and(|admin| !apart(&admin)) {
            return self.wrong("admin_listen", "must have another port than listen: both cannot listen on one");
        }
        self.trusted_proxies()?;
        let url = self.database_url();
        if !["sqlite://", "postgres://", "postgresql://"].iter().any(|scheme| url.expose_secret().starts_with(scheme)) {
            return self.wrong("database_url", "must begin with sqlite:// or postgres://");
        }
        if !entities::Store::reads(url.expose_secret()) {
            let why = "cannot be read: its parts must be percent-encoded, above all the password";
            return self.wrong("database_url", why);
        }
        if self.sqlite_file().is_some_and(|file| file.to_string_lossy().contains('%')) {
            return self
                .wrong("database_url", "names a file with a % in its path, which is read as a code: choose another");
        }
        let is_level = self.log().trim().parse::<tracing::level_filters::LevelFilter>().is_ok();
        if !(is_level || crate::cmd::is_filter(self.log()) && crate::cmd::filter(self.log()).is_ok()) {
            return self
                .wrong("log", "must be off, error, warn, info, debug or trace, or a filter such as info,sqlx=debug");
        }
        let public = self.public_url();
        let host = public.strip_prefix("https://").or_else(|| public.strip_prefix("http://"));
        if host.is_none_or(|host| {
            host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control() || c == '?' || c == '#')
        }) {
            return self.wrong("public_url", "must be http:// or https:// and a host");
        }
        if host.is_some_and(|host| host.split('/').next().is_some_and(|authority| authority.contains('@'))) {
            return self.wrong("public_url", "must hold neither user nor password: it stands in every mail");
        }
        if let Some(url) = self.smtp_url()
            && let Err(why) = worker::mail::Server::parse(url.expose_secret())
        {
            return self.wrong("smtp_url", &why.to_string());
        }
        if self.mail_from().chars().any(char::is_control) || worker::mail::Sender::parse(self.mail_from()).is_err() {
            return self.wrong("mail_from", "must be one address, or a name and one address in < >");
        }
        Ok(())
    }

    fn wrong<T>(&self, name: &str, why: &str) -> Result<T, Failure> {
        let from = self.values.get(name).map_or("the default", |given| given.from.as_str());
        Err(Failure::config(format!("{from}: {name} {why}")))
    }

    fn text(&self, name: &str) -> &str {
        self.values.get(name).map_or("", |given| given.value.expose_secret())
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).trim().parse().unwrap_or(0)
    }

    fn address(&self, name: &str) -> Result<Option<SocketAddr>, Failure> {
        match self.text(name) {
            "" => Ok(None),
            text => match text.to_socket_addrs().ok().and_then(|mut found| found.next()) {
                Some(address) => Ok(Some(address)),
                None => self.wrong(name, "must be an address and a port, such as 127.0.0.1:8080"),
            },
        }
    }

    /// Where the api listens.
    ///
    /// # Errors
    /// When it is no address.
    pub(crate) fn listen(&self) -> Result<SocketAddr, Failure> {
        self.address("listen")?.map_or_else(|| self.wrong("listen", "is missing"), Ok)
    }

    /// Where operators look.
    ///
    /// # Errors
    /// When it is no address.
    pub(crate) fn admin_listen(&self) -> Result<Option<SocketAddr>, Failure> {
        self.address("admin_listen")
    }

    /// The database, with a relative SQLite path taken from the file's folder.
    pub(crate) fn database_url(&self) -> SecretString {
        match self.text("database_url").strip_prefix("sqlite://") {
            Some(path) => format!("sqlite://{}", self.folder.join(path).display()).into(),
            None => self.text("database_url").to_owned().into(),
        }
    }

    /// The SQLite file, where the database is one.
    pub(crate) fn sqlite_file(&self) -> Option<PathBuf> {
        let url = self.database_url();
        let path = url.expose_secret().strip_prefix("sqlite://")?;
        Some(PathBuf::from(path.split('?').next().unwrap_or(path)))
    }

    /// Connections for one process.
    pub(crate) fn database_connections(&self) -> u32 {
        u32::try_from(self.number("database_connections")).unwrap_or(16)
    }

    /// Days for which deletions are kept for phones that stay away.
    pub(crate) fn sync_retention_days(&self) -> u32 {
        u32::try_from(self.number("sync_retention_days")).unwrap_or(400)
    }

    /// Days for which the workflow's finished timers and mail are kept.
    pub(crate) fn workflow_retention_days(&self) -> u32 {
        u32::try_from(self.number("workflow_retention_days")).unwrap_or(400)
    }

    /// Where people reach this server, without a slash at the end.
    pub(crate) fn public_url(&self) -> String {
        match self.text("public_url") {
            "" => format!("http://{}", self.text("listen")),
            url => url.trim_end_matches('/').to_owned(),
        }
    }

    /// The mail server, where there is one.
    pub(crate) fn smtp_url(&self) -> Option<SecretString> {
        self.values.get("smtp_url").map(|given| given.value.clone())
    }

    /// Sender of every mail.
    pub(crate) fn mail_from(&self) -> &str {
        self.text("mail_from")
    }

    /// The file of signing keys: as set, or beside the SQLite file; none with PostgreSQL.
    fn signing_key_file(&self) -> Option<PathBuf> {
        match self.text("signing_key_file") {
            "" => self.sqlite_file().map(|file| file.with_extension("signing.json")),
            path => Some(self.folder.join(path)),
        }
    }

    /// The same, where it cannot be done without.
    ///
    /// # Errors
    /// 78 when nobody said which.
    pub(crate) fn key_file(&self) -> Result<PathBuf, Failure> {
        self.signing_key_file().ok_or_else(|| {
            Failure::config(
                "signing_key_file is missing: with PostgreSQL every api process needs the same one. Name a file, and \
                 `fieldstone admin rotate-signing-key` makes it",
            )
        })
    }

    /// What to log.
    pub(crate) fn log(&self) -> &str {
        self.text("log")
    }

    /// Proxies whose word on the caller's address is taken.
    ///
    /// # Errors
    /// When one is neither an address nor a range.
    pub(crate) fn trusted_proxies(&self) -> Result<Vec<Network>, Failure> {
        let parts = self.text("trusted_proxies").split(',').map(str::trim).filter(|part| !part.is_empty());
        let all: Result<Vec<Network>, _> = parts.map(str::parse).collect();
        all.or_else(|why| self.wrong("trusted_proxies", &why.to_string()))
    }

    /// The api's part of the settings.
    ///
    /// # Errors
    /// As the parts.
    pub(crate) fn api(&self, keys: api::Keys) -> Result<api::Config, Failure> {
        let small = |name| u32::try_from(self.number(name)).unwrap_or(u32::MAX);
        Ok(api::Config {
            trusted_proxies: self.trusted_proxies()?,
            rate_per_second: small("rate_per_second"),
            rate_burst: small("rate_burst"),
            connections_per_address: small("connections_per_address"),
            workers: usize::try_from(self.number("workers")).unwrap_or(0),
            stop_secs: self.number("stop_seconds"),
            sync_every_secs: small("sync_every_seconds"),
            ..api::Config::new(&self.public_url(), keys)
        })
    }

    /// The settings as `config print` shows them: secrets redacted, each with where it came from.
    pub(crate) fn print(&self) -> String {
        let mut out = String::new();
        for key in KEYS {
            let line = match self.values.get(key.name) {
                Some(given) => {
                    let value = given.value.expose_secret();
                    let shown = if key.secret { redacted(value) } else { value.to_owned() };
                    format!("{} = {}  # {}\n", key.name, literal(key.kind, &shown), given.from)
                }
                None => format!("# {} is not set\n", key.name),
            };
            out.push_str(&line);
        }
        out
    }

    /// The same as JSON: name, value, origin.
    pub(crate) fn print_json(&self) -> serde_json::Value {
        KEYS.iter()
            .map(|key| {
                let given = self.values.get(key.name);
                let value = given.map(|given| given.value.expose_secret()).map(|value| match key.secret {
                    true => redacted(value),
                    false => value.to_owned(),
                });
                let entry = serde_json::json!({"value": value, "from": given.map(|given| given.from.as_str())});
                (key.name.to_owned(), entry)
            })
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

/// The URL without what stands before the `@`.
fn redacted(url: &str) -> String {
    match (url.split_once("://"), has_password(url)) {
        (Some((scheme, rest)), true) => {
            // A password may have an @ in it, and may stand in the query.
            let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
            match before.rsplit_once('@') {
                Some((_, host)) if !query.contains('@') => format!("{scheme}://REDACTED@{host}"),
                // Where the password ends, nobody can tell.
                _ => format!("{scheme}://REDACTED"),
            }
        }
        _ => url.split('?').next().unwrap_or(url).to_owned(),
    }
}

fn has_password(url: &str) -> bool {
    url.split_once("://").is_some_and(|(_, rest)| rest.contains('@')) || url.contains("password=")
}

/// The key of a name, and whether the name asks for a file that holds the value.
fn named(name: &str, from: &str) -> Result<(&'static Key, bool), Failure> {
    if let Some(key) = KEYS.iter().find(|key| key.name == name) {
        return Ok((key, false));
    }
    match name.strip_suffix("_file").and_then(|secret| KEYS.iter().find(|key| key.name == secret && key.secret)) {
        Some(key) => Ok((key, true)),
        None => find(name, from).map(|key| (key, false)),
    }
}

fn find(name: &str, from: &str) -> Result<&'static Key, Failure> {
    if let Some(key) = KEYS.iter().find(|key| key.name == name) {
        return Ok(key);
    }
    if name == "rules" {
        let why = "rules cannot be set yet: the built-in workflow rules are the only ones; take it out";
        return Err(Failure::config(format!("{from}: {why}")));
    }
    let nearest =
        KEYS.iter().max_by(|a, b| strsim::jaro_winkler(a.name, name).total_cmp(&strsim::jaro_winkler(b.name, name)));
    let nearest = nearest.map_or("", |key| key.name);
    Err(Failure::config(format!("{from}: there is no setting {name}; the nearest is {nearest}")))
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::config(unusable(path, "--config", &error)))
}

fn secret_file(name: &str, path: &Path) -> Result<String, Failure> {
    let unread = |error| Failure::config(format!("the file that {name} names, {}", unusable(path, name, &error)));
    closed(path, &format!("is named by {name}"), std::fs::metadata(path).map_err(unread)?.permissions().mode())?;
    let text = std::fs::read_to_string(path).map_err(unread)?;
    if text.trim().is_empty() {
        let why = "is empty: write the value into it, or take the setting out";
        return Err(Failure::config(format!("{} is named by {name} and {why}", path.display())));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// A file with a secret in it must not be open to every user of the machine.
fn closed(path: &Path, why: &str, mode: u32) -> Result<(), Failure> {
    let mode = mode & 0o777;
    if mode & 0o007 == 0 {
        return Ok(());
    }
    Err(Failure::config(format!(
        "{} {why} and is open to other users of this machine (mode {mode:o}); chmod 600 it",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::example;

    fn file(text: &str) -> Result<Config, Failure> {
        Config::of_file(text)
    }

    fn complaint(result: Result<Config, Failure>) -> String {
        result.map_or_else(|failure| failure.to_string(), |_| "no complaint".into())
    }

    #[test]
    fn the_example_in_the_repository_is_the_one_the_code_writes() {
        let kept = include_str!("../fieldstone.example.toml");
        assert_eq!(kept, example(), "run `fieldstone config example > fieldstone.example.toml`");
    }

    #[test]
    fn the_example_is_itself_a_valid_file_once_its_lines_are_taken_up() {
        let lines: Vec<&str> = KEYS.iter().map(|key| key.name).collect::<Vec<_>>();
        let text: String = example()
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| lines.iter().any(|name| line.starts_with(&format!("{name} = "))))
            .map(|line| line.replace("USER:PASSWORD@", "").replace("fieldstone:PASSWORD@", "") + "\n")
            .collect();
        assert_eq!(text.lines().count(), KEYS.len());
        assert_eq!(complaint(file(&text)), "no complaint");
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_the_nearest() {
        assert_eq!(
            complaint(file("lissten = \"127.0.0.1:1\"")),
            "fieldstone.toml: there is no setting lissten; the nearest is listen"
        );
        let mut config = Config::of(&[]).expect("defaults hold");
        let wrong = config.merge_environment(&[("FIELDSTONE_DATABASE_UR".into(), "x".into())]);
        assert_eq!(
            wrong.expect_err("unknown").to_string(),
            "FIELDSTONE_DATABASE_UR: there is no setting database_ur; the nearest is database_url"
        );
    }

    #[test]
    fn values_out_of_bounds_are_refused_with_their_origin() {
        for (text, part) in [
            ("rate_burst = 0", "rate_burst must be a number"),
            ("listen = \"nowhere\"", "listen must be an address"),
            ("public_url = \"ftp://x\"", "public_url must be http"),
            ("public_url = \"https://me:PLANTED@x.example/a\"", "public_url must hold neither user nor password"),
            ("admin_listen = \"127.0.0.1:8080\"", "admin_listen must have another port than listen"),
            ("admin_listen = \"0.0.0.0:8080\"", "admin_listen must have another port than listen"),
            ("database_url = \"mysql://x\"", "database_url must begin"),
            ("smtp_url = \"http://x\"", "smtp_url must begin"),
            ("trusted_proxies = [\"x\"]", "trusted_proxies must be an address"),
            ("smtp_url = \"smtp://mail:port\"", "smtp_url needs a number"),
            ("smtp_url = \"smtps://\"", "smtp_url names no host"),
            ("log = \"info,sqlx=loud\"", "log must be"),
            ("mail_from = \"nobody\"", "mail_from must be one address"),
            ("mail_from = \"A <a@x.example>, B <b@x.example>\"", "mail_from must be one address"),
        ] {
            let said = complaint(file(text));
            assert!(said.contains(part) && said.starts_with("fieldstone.toml: "), "{text}: {said}");
            assert!(!said.contains("PLANTED"), "{said}");
        }
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_line_and_none_of_its_words() {
        let said = complaint(file("workers = 2\nsmtp_url = smtp://me:hunter2@mail\n"));
        assert!(said.starts_with("fieldstone.toml, line 2: ") && !said.contains("hunter"), "{said}");
    }

    #[test]
    fn printing_shows_no_secret() {
        let config = Config::of(&[
            ("database_url", "postgres://me:hunter2@db/x?password=hunter3".into()),
            ("smtp_url", "smtps://me:hunter2@mail".into()),
        ])
        .expect("valid");
        for shown in [config.print(), config.print_json().to_string(), format!("{config:?}")] {
            assert!(!shown.contains("hunter"), "{shown}");
        }
        assert!(config.print().contains("postgres://REDACTED@db/x"));
    }

    #[test]
    fn the_environment_stands_before_the_file() {
        let mut config = file("listen = \"127.0.0.1:1\"").expect("valid");
        config
            .merge_environment(&[("FIELDSTONE_LISTEN".into(), "[::1]:2".into()), ("OTHER".into(), "x".into())])
            .expect("valid");
        assert_eq!(config.listen().map(|address| address.to_string()).ok().as_deref(), Some("[::1]:2"));
    }
}
