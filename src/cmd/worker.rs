//! `worker`: the workflow engine alone, and its errands.

use std::path::Path;

use entities::access::Actor;
use entities::people::agency;
use entities::workflow::{dead, explain, simulate};
use entities::{Day, Instant};
use secrecy::ExposeSecret;
use serde_json::json;
use worker::Mailer;

use super::{asked_to_stop, look, open_current, say, start_log};
use crate::config::Config;
use crate::failure::Failure;

/// Flags of `worker`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    errand: Option<Errand>,
}

#[derive(Debug, clap::Subcommand)]
enum Errand {
    /// Does all that is due, then exits
    Drain {
        /// Once is the only way there is
        #[arg(long, required = true)]
        once: bool,
        /// What counts as now, RFC 3339
        #[arg(long, value_name = "INSTANT")]
        now: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// What would be sent, to whom and why; writes nothing
    Simulate {
        /// First day, in the agency's zone
        #[arg(long, value_name = "DATE")]
        from: Day,
        /// Last day
        #[arg(long, value_name = "DATE")]
        to: Day,
        /// One agency only
        #[arg(long, value_name = "ID")]
        agency: Option<String>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// For each rule: when it fires next, or which fact stops it
    Explain {
        /// The case's id
        case: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// What could not be sent
    Dead {
        #[command(subcommand)]
        what: Dead,
    },
}

#[derive(Debug, clap::Subcommand)]
enum Dead {
    /// Lists it
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Tries one again, or all
    Retry {
        /// The id that `list` shows
        #[arg(required_unless_present = "all")]
        id: Option<String>,
        /// All of them
        #[arg(long, conflicts_with = "id")]
        all: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Gives one up for good
    Drop {
        /// The id that `list` shows
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs the worker until it is asked to stop, or does an errand.
///
/// # Errors
/// When the database cannot be reached or is not of this program's schema.
pub(crate) async fn run(file: Option<&Path>, args: Args) -> Result<(), Failure> {
    let config = Config::load(file, &[])?;
    start_log(&config)?;
    let store = open_current(&config).await?;
    match args.errand {
        None => {
            let mailer = mailer(&config)?;
            look(&store).await?;
            let tidy = tokio::spawn(super::serve::forgetting(&config, &store));
            worker::run(store.clone(), mailer, asked_to_stop()).await;
            tidy.abort();
        }
        Some(Errand::Drain { now, json, .. }) => {
            let now = now.map(|text| {
                Instant::parse(&text)
                    .ok_or_else(|| Failure::Misuse(format!("--now {text} is no instant such as 2027-03-14T12:00:00Z")))
            });
            look(&store).await?;
            let done = worker::drain_once(&store, &mailer(&config)?, now.transpose()?).await?;
            let (timers, planned, mail) = (done.timers, done.planned, done.mail);
            let (sent, suppressed, troubled) = (mail.sent, mail.suppressed, mail.troubled);
            if json {
                let mail = json!({"sent": sent, "suppressed": suppressed, "troubled": troubled});
                say(json!({"timers": timers, "planned": planned, "mail": mail}))?;
            } else {
                say(format!(
                    "{timers} timers due, {planned} cases planned again, mail: {sent} sent, {suppressed} no longer \
                     wanted, {troubled} in trouble"
                ))?;
            }
        }
        Some(Errand::Simulate { from, to, agency, json }) => {
            if to < from {
                return Err(Failure::Misuse(format!("--to {to} lies before --from {from}")));
            }
            if let Some(id) = &agency
                && agency::by_id(store.connection(), id).await?.is_none()
            {
                return Err(Failure::failed(format!("there is no agency with the id {id}")));
            }
            let snapshot = store.read().await?;
            for line in simulate::simulate(&*snapshot, agency.as_deref(), from, to, snapshot.now()).await? {
                if json { say_json(&line)? } else { say(line.text())? }
            }
        }
        Some(Errand::Explain { case, json }) => {
            let snapshot = store.read().await?;
            let said = explain::explain(&*snapshot, &case, snapshot.now()).await?;
            let said = said.ok_or_else(|| Failure::failed("there is no case with this id"))?;
            if json { say_json(&said)? } else { say(said.text())? }
        }
        Some(Errand::Dead { what }) => errand(&store, what).await?,
    }
    Ok(store.close().await?)
}

async fn errand(store: &entities::Store, what: Dead) -> Result<(), Failure> {
    let side = store.side().await?;
    let (count, json) = match what {
        Dead::List { json } => {
            for waits in dead::list(&*side).await? {
                if json {
                    say_json(&waits)?;
                } else {
                    let dead::Waiting { id, kind, state, rule, to_role, attempts, reason, last_error } = waits;
                    say(format!("{id} {kind} {state} {rule} {to_role} after {attempts}: {reason} {last_error}"))?;
                }
            }
            return Ok(());
        }
        Dead::Retry { id, json, .. } => {
            let dead::Retried { again, too_late } = dead::retry(&*side, id.as_deref(), side.now()).await?;
            if too_late > 0 {
                side.commit().await?;
                return match json {
                    true => say(json!({"done": again, "too_late": too_late})),
                    false => say(format!("{again} done, {too_late} too late: the morning of a digest is over")),
                };
            }
            (again, json)
        }
        Dead::Drop { id, json } => match dead::case_of(&*side, &id).await? {
            // With what comes after it, under the agency's clock.
            Some((agency, case)) => {
                drop(side);
                let mut write = store.write(&Actor::system(&agency)).await?;
                let count = dead::drop(write.conn(), &id, write.now()).await?;
                write.replan(&case);
                write.commit().await?;
                return done(count, json);
            }
            None => (dead::drop(&*side, &id, side.now()).await?, json),
        },
    };
    side.commit().await?;
    done(count, json)
}

fn done(count: u64, json: bool) -> Result<(), Failure> {
    match count {
        0 => Err(Failure::failed("nothing waits under this id")),
        _ if json => say(json!({"done": count})),
        _ => say(format!("{count} done")),
    }
}

fn say_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    say(serde_json::to_string(value).map_err(|error| Failure::failed(error.to_string()))?)
}

/// The way mail goes out, as configured.
///
/// # Errors
/// 78 when the mail server's URL or the sender cannot be used.
pub(crate) fn mailer(config: &Config) -> Result<Mailer, Failure> {
    let url = config.smtp_url();
    let url = url.as_ref().map(|url| url.expose_secret());
    Mailer::to_server(url, config.mail_from(), &config.public_url()).map_err(|error| Failure::config(error.to_string()))
}
