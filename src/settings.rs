//! Every setting there is: its name, its default, its limits and what it means.
//!
//! `config.rs` reads the layers by this table; the example file is written from it.

use std::fmt::Write;

/// What a setting holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A whole number within bounds.
    Number(u64, u64),
    /// Several texts: a list in the file, parted by commas in the environment.
    List,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Name in the file; `FIELDSTONE_` and the name in capitals in the environment.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Never printed, and may be given as a file whose name stands in `NAME_file`.
    pub secret: bool,
    /// Value when nobody gives one; empty for none.
    pub default: &'static str,
    /// A value for the example file where there is no default.
    pub example: &'static str,
    /// What it means.
    pub says: &'static str,
}

const fn key(name: &'static str, kind: Kind, default: &'static str, says: &'static str) -> Key {
    Key { name, kind, secret: false, default, example: "", says }
}

/// Every setting there is.
pub(crate) const KEYS: &[Key] = &[
    Key {
        secret: true,
        example: "postgres://fieldstone:PASSWORD@127.0.0.1/fieldstone",
        ..key(
            "database_url",
            Kind::Text,
            "sqlite://fieldstone.db",
            "The database: sqlite://PATH, from this file's folder, or postgres://USER:PASSWORD@HOST/NAME.",
        )
    },
    key(
        "database_connections",
        Kind::Number(2, 200),
        "16",
        "Connections to the database for one process; on SQLite, those that read.",
    ),
    key("listen", Kind::Text, "127.0.0.1:8080", "Address and port of the api. Put a TLS proxy before it."),
    Key {
        example: "127.0.0.1:9090",
        ..key(
            "admin_listen",
            Kind::Text,
            "",
            "Address and port for /metrics and readiness in detail; nothing is opened without it.",
        )
    },
    Key {
        example: "https://fieldstone.example.org",
        ..key(
            "public_url",
            Kind::Text,
            "",
            "Where people reach this server. Links in mails begin with it. Default: http:// and the listen address.",
        )
    },
    Key {
        secret: true,
        example: "smtp+starttls://USER:PASSWORD@mail.example.org:587",
        ..key(
            "smtp_url",
            Kind::Text,
            "",
            "The mail server: smtp://, smtps:// or smtp+starttls://. Without it mail waits in the outbox.",
        )
    },
    key("mail_from", Kind::Text, "Fieldstone <fieldstone@localhost>", "Sender of every mail."),
    Key {
        example: "/etc/fieldstone/signing.json",
        ..key(
            "signing_key_file",
            Kind::Text,
            "",
            "Keys that sign access tokens, mode 0600. With SQLite it is made beside the database when missing.",
        )
    },
    key("log", Kind::Text, "info", "What to log: error, warn, info, debug, or a filter such as info,sqlx=warn."),
    Key {
        example: "10.0.0.0/8",
        ..key(
            "trusted_proxies",
            Kind::List,
            "",
            "Proxies whose X-Forwarded-For is believed: addresses or ranges. Nobody else's is.",
        )
    },
    key(
        "rate_per_second",
        Kind::Number(0, 1_000_000),
        "200",
        "Requests a second from one address in the long run, over all processes; 0 sets no limit.",
    ),
    key("rate_burst", Kind::Number(1, 1_000_000), "2000", "Requests one address may send at once."),
    key(
        "connections_per_address",
        Kind::Number(0, 1_000_000),
        "1000",
        "Connections one address may hold open to one process; 0 sets no limit. Trusted proxies may hold any number.",
    ),
    key(
        "sync_every_seconds",
        Kind::Number(10, 86_400),
        "300",
        "How often phones are asked to sync when nothing presses; under load they are asked to stay away longer.",
    ),
    key(
        "sync_retention_days",
        Kind::Number(30, 36_500),
        "400",
        "Days for which deletions are kept for phones that stay away; after them a phone is sent everything afresh.",
    ),
    key(
        "workflow_retention_days",
        Kind::Number(30, 36_500),
        "400",
        "Days for which reminders that are over, and mail that went out, can be looked up.",
    ),
    key("workers", Kind::Number(0, 1024), "0", "Threads that answer; 0 means one for each core."),
    key(
        "stop_seconds",
        Kind::Number(0, 600),
        "25",
        "Seconds that requests under way are given when the process is asked to stop.",
    ),
];

/// `fieldstone.example.toml`, written from [`KEYS`].
pub(crate) fn example() -> String {
    let mut out = String::from(
        "# Settings of Fieldstone. Every line is optional; those that begin with # show the default or an example.\n\
         # Each can be set by FIELDSTONE_ and its name in capitals as well, which comes before this file.\n\
         # A secret may stand in a file of its own: add _file to its name and give the path.\n",
    );
    for key in KEYS {
        let shown = if key.example.is_empty() { key.default } else { key.example };
        // Writing to a String cannot fail.
        let _infallible = write!(out, "\n# {}\n#{} = {}\n", key.says, key.name, literal(key.kind, shown));
    }
    out
}

/// A value as the settings file writes it.
pub(crate) fn literal(kind: Kind, value: &str) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    match kind {
        Kind::Text => quoted(value),
        Kind::Number(..) => value.to_owned(),
        Kind::List => format!("[{}]", value.split(',').map(|part| quoted(part.trim())).collect::<Vec<_>>().join(", ")),
    }
}
