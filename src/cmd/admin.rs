//! `admin`: what has to work before anyone can sign in. Passwords come from a prompt or from
//! standard input, never from an argument, where every user of the machine could read them.

use std::io::{BufRead, ErrorKind, IsTerminal};
use std::path::Path;

use api::operation::ANYONE;
use entities::people::{agency, team, user};
use entities::sync::purge;
use entities::workflow::refused;
use entities::{Actor, Role, Store, instance};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{closing, open_current, say};
use crate::config::Config;
use crate::failure::Failure;

/// Flags of `admin`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Answer as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    #[command(flatten)]
    InTheDatabase(Errand),
    /// Adds a new key for signing access tokens, or makes the first one; those already out stay good
    RotateSigningKey {
        /// Keep only the new key, where one has leaked: every access token that is out is refused
        #[arg(long)]
        drop_old: bool,
    },
}

#[derive(Debug, clap::Subcommand)]
enum Errand {
    /// Makes an agency
    CreateAgency {
        /// Its name, as in the mails it sends
        name: String,
        /// IANA time zone, such as Europe/London
        #[arg(long)]
        tz: String,
        /// Language tag
        #[arg(long, default_value = "en-US")]
        locale: String,
    },
    /// Makes a user; the password is asked for, or read from standard input
    CreateUser {
        /// Agency id, or its name where only one has it
        #[arg(long)]
        agency: String,
        /// Address to sign in with
        #[arg(long)]
        email: String,
        /// Name as colleagues know it
        #[arg(long)]
        name: String,
        /// caseworker, supervisor, administrator, partner or auditor
        #[arg(long)]
        role: String,
        /// Team id
        #[arg(long)]
        team: Option<String>,
        /// Organisation id, for partners
        #[arg(long)]
        partner_org: Option<String>,
    },
    /// Sets a user's password and ends their sessions
    ResetPassword {
        /// The user's address
        email: String,
    },
    /// Lets a restored or cloned database send mail: say it once the original is switched off; believes the clock
    ConfirmInstance {
        /// Only takes the clock for right, as on a copy for trying things out: mail stays held
        #[arg(long)]
        clock_only: bool,
    },
    /// Forgets deletions older than sync_retention_days now, as the worker does by itself
    Purge,
    /// Mail addresses that a mail server refused for good: nothing more is sent to them
    RefusedAddresses,
    /// Lets mail go to such an address again, with what was not sent for its sake and is not too late
    LiftRefusedAddress {
        /// The address
        address: String,
    },
}

/// Runs it.
///
/// # Errors
/// When the database cannot be reached or refuses.
pub(crate) async fn run(file: Option<&Path>, args: Args) -> Result<(), Failure> {
    let config = Config::load(file, &[])?;
    match args.what {
        What::RotateSigningKey { drop_old } => tell(&rotate(&config, drop_old)?, args.json),
        What::InTheDatabase(errand) => {
            let store = open_current(&config).await?;
            let done = does(&store, &config, errand, args.json).await;
            closing(store, done).await
        }
    }
}

async fn does(store: &Store, config: &Config, errand: Errand, json: bool) -> Result<(), Failure> {
    let done = match errand {
        Errand::ConfirmInstance { clock_only } => {
            let done = instance::confirm(store, !clock_only).await?;
            let mail = match (clock_only, done.was_held) {
                (true, _) => "is as it was",
                (false, true) => "goes out from now on",
                (false, false) => "was going out already",
            };
            json!({
                "mail": mail,
                "clock": if done.had_leapt { "is believed from now on, however far it leapt" } else { "was believed already" },
            })
        }
        Errand::Purge => {
            let done = purge::all(store, config.sync_retention_days()).await?;
            json!({"agencies": done.agencies, "rows": done.rows})
        }
        Errand::RefusedAddresses => return refused_addresses(store, json).await,
        Errand::LiftRefusedAddress { address } => {
            let found = refused::by_address(store.connection(), &address).await?;
            if found.is_empty() {
                return Err(Failure::failed("no mail server has refused that address"));
            }
            for one in &found {
                let mut write = store.write(&Actor::system(&one.agency_id)).await?;
                refused::lift(write.conn(), write.now(), &one.agency_id, &one.address).await?;
                write.note("refused_address_lifted", entities::audit::object("refused_addresses", &one.id));
                write.commit().await?;
            }
            json!({"address": address, "mail": "goes out from now on"})
        }
        Errand::CreateAgency { name, tz, locale } => {
            let new = agency::Model { locale, ..agency::Model::new(name.trim(), &tz, store.clock()) };
            // Whoever types it twice means one, and two of a name could only be told apart by their ids.
            if let Some(there) = agency::all(store.connection()).await?.iter().find(|one| one.name == new.name) {
                return Err(Failure::failed(format!(
                    "there is an agency {} already, with the id {}",
                    there.name, there.id
                )));
            }
            let made = agency::create(store, new).await?;
            json!({"id": made.id, "name": made.name, "tz": made.tz})
        }
        Errand::CreateUser { agency, email, name, role, team, partner_org } => {
            let role = ANYONE.iter().copied().find(|one| one.as_str() == role).ok_or_else(|| {
                let all = ANYONE.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", ");
                Failure::Misuse(format!("there is no role {role}: choose one of {all}"))
            })?;
            if (role == Role::Partner) != partner_org.is_some() {
                let why = "--partner-org names the organisation that a partner answers for: give it for partners, and nobody else";
                return Err(Failure::Misuse(why.into()));
            }
            let new =
                user::Model { team_id: team, partner_org_id: partner_org, ..user::Model::new(&name, &email, role) };
            create_user(store, &agency, new).await?
        }
        Errand::ResetPassword { email } => {
            let found = user::by_email(store.connection(), &email).await?;
            let user = found.ok_or_else(|| Failure::failed("there is no user with that address"))?;
            let hash = new_password(&user.email)?;
            let mut write = store.write(&Actor::system(&user.agency_id)).await?;
            user::set_password(&mut write, &user.id, &hash, None).await?;
            write.commit().await?;
            json!({"id": user.id, "email": user.email})
        }
    };
    tell(&done, json)
}

fn tell(done: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json { say(done) } else { say(in_words(done)) }
}

async fn refused_addresses(store: &Store, as_json: bool) -> Result<(), Failure> {
    for agency in agency::all(store.connection()).await? {
        let mut after = String::new();
        loop {
            let page = refused::list(store.connection(), &agency.id, &after, 200).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.id);
            for one in page {
                if as_json {
                    say(json!({"id": one.id, "agency_id": one.agency_id, "address": one.address, "code": one.code,
                        "said": one.said, "refused_at": one.refused_at.rfc3339()}))?;
                } else {
                    say(format!("{} {} ({}): {}", one.address, one.refused_at.rfc3339(), agency.name, one.said))?;
                }
            }
        }
    }
    Ok(())
}

async fn create_user(store: &Store, agency: &str, new: user::Model) -> Result<Value, Failure> {
    let all = agency::all(store.connection()).await?;
    let named: Vec<_> = all.iter().filter(|one| one.id == agency || one.name == agency).collect();
    let [agency] = named.as_slice() else {
        let with_ids = |those: Vec<&agency::Model>| -> String {
            those.iter().map(|one| format!("{} ({})", one.name, one.id)).collect::<Vec<_>>().join(", ")
        };
        let why = match (all.is_empty(), named.is_empty()) {
            (true, _) => "there is no agency yet: `fieldstone admin create-agency` makes one".to_owned(),
            (_, true) => format!("no agency is called {agency}; there are: {}", with_ids(all.iter().collect())),
            _ => format!("several agencies are called {agency}, name one by its id: {}", with_ids(named)),
        };
        return Err(Failure::failed(why));
    };
    if let Some(team) = &new.team_id
        && team::by_id(store.connection(), &agency.id, team).await?.is_none()
    {
        return Err(Failure::failed("the agency has no such team"));
    }
    let hash = new_password(&new.email)?;
    let mut write = store.write(&Actor::system(&agency.id)).await?;
    let user = user::create(&mut write, new).await?;
    user::set_password(&mut write, &user.id, &hash, None).await?;
    write.commit().await?;
    Ok(json!({"id": user.id, "email": user.email, "role": user.role, "agency_id": user.agency_id}))
}

fn rotate(config: &Config, drop_old: bool) -> Result<Value, Failure> {
    let path = config.key_file()?;
    api::tokens::rotate(&path, entities::Clock::System.now(), drop_old)?;
    Ok(json!({
        "signing_key_file": path.display().to_string(),
        "takes_effect": "within a minute in every process that reads this file",
        "older_keys": if drop_old { "are accepted no more" } else { "are still accepted, the last three" },
    }))
}

/// Asks for a password twice on a terminal, or reads one line of standard input, and hashes it.
///
/// # Errors
/// When the two differ, or the password is too short or too common.
pub(crate) fn new_password(email: &str) -> Result<String, Failure> {
    let password: SecretString = if std::io::stdin().is_terminal() {
        let first = rpassword::prompt_password("New password: ")?;
        if first != rpassword::prompt_password("The same again: ")? {
            return Err(Failure::failed("the two are not the same"));
        }
        first.into()
    } else {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map_err(|error| match error.kind() {
            ErrorKind::InvalidData => {
                Failure::Misuse("the password is not UTF-8, as every app sends it: choose another".into())
            }
            _ => error.into(),
        })?;
        line.trim_end_matches(['\r', '\n']).to_owned().into()
    };
    if let Some((_, why)) = api::password::objection(password.expose_secret(), email) {
        return Err(Failure::Misuse(format!("the password {why}")));
    }
    api::password::hash_now(&password).map_err(Failure::Failed)
}

fn in_words(done: &Value) -> String {
    let parts = done.as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    parts.map(|(name, value)| format!("{name} {}", text(value))).collect::<Vec<_>>().join("\n")
}
