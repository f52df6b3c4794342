//! `sample`: fills an empty database with generated data, for trying out and for measuring.

use std::path::Path;

use entities::people::agency;
use entities::{Clock, Pool, Store};
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::ExposeSecret;

use super::{admin, open_or_make, say};
use crate::config::Config;
use crate::failure::Failure;
use crate::sample::size::{Size, fill};

/// Flags of `sample`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How much
    #[arg(long, value_enum)]
    size: Size,
    /// The same seed on the same day gives the same data
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Asks for one password for all accounts, or reads it from standard input; without it nobody
    /// can sign in
    #[arg(long)]
    password: bool,
}

/// Fills the configured database.
///
/// # Errors
/// When the database cannot be reached or holds an agency already.
pub(crate) async fn run(file: Option<&Path>, args: Args) -> Result<(), Failure> {
    let config = Config::load(file, &[])?;
    let store = open_or_make(&config).await?;
    if !super::is_filled(&store).await {
        super::bring_up(&store).await?;
    }
    let there = agency::all(store.connection()).await?;
    if let Some(first) = there.first() {
        return Err(Failure::failed(format!(
            "the database is not empty: it holds {} ({} in all). Sample data goes into an empty one only",
            first.name,
            match there.len() {
                1 => "1 agency".to_owned(),
                more => format!("{more} agencies"),
            }
        )));
    }
    let hash = if args.password { Some(admin::new_password("")?) } else { None };
    let now = store.now().await?;
    store.close().await?;
    // A second handle, whose clock can be set: the past is stored as of the past.
    let pool = Pool { connections: config.database_connections(), ..Pool::default() };
    let store = Store::open(config.database_url().expose_secret(), pool, Clock::manual(now)).await?;
    let numbers = args.size.numbers();
    let cases = numbers.open + numbers.closed;
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} cases, {elapsed} gone, {eta} to go")
        .map_err(|error| Failure::failed(error.to_string()))?;
    let bar = ProgressBar::new(u64::try_from(cases).unwrap_or(0)).with_style(style);
    let rows = fill(&store, numbers, args.seed, now, hash.as_deref(), || bar.inc(1)).await?;
    bar.finish_and_clear();
    store.close().await?;
    say(format!(
        "{cases} cases with {rows} rows of {} caseworkers in {} teams, in {:.1} s",
        numbers.workers,
        numbers.teams,
        bar.elapsed().as_secs_f64()
    ))?;
    if args.password {
        say("Accounts: supervisor0001@sample.example, worker0002@sample.example and so on, admin@sample.example")?;
    }
    Ok(())
}
