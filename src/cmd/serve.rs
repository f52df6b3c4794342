//! `up` and `serve`: the api, with the worker beside it or alone.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use entities::Store;

use super::{asked_to_stop, look, open_current, open_or_make, start_log};
use crate::config::Config;
use crate::failure::Failure;

/// Flags of `up` and `serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address and port of the api
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

/// Api and worker in one process. Makes what is missing: the SQLite file, its schema, signing keys.
///
/// # Errors
/// When something cannot be made or the address is taken.
pub(crate) async fn up(file: Option<&Path>, args: Args) -> Result<(), Failure> {
    let config = Config::load(file, &[("listen", args.listen)])?;
    start_log(&config)?;
    let keys = keys(&config, true)?;
    let store = open_or_make(&config).await?;
    super::bring_up(&store).await?;
    look(&store).await?;
    let mailer = super::worker::mailer(&config)?;
    let tidy = tokio::spawn(forgetting(&config, &store));
    let served = beside_worker(store.clone(), mailer, run(&config, keys, store.clone())).await;
    tidy.abort();
    served?;
    Ok(store.close().await?)
}

/// Forgets what is older than its retention, for as long as it is let run.
pub(crate) fn forgetting(config: &Config, store: &Store) -> impl Future<Output = ()> + use<> {
    worker::purge(store.clone(), config.sync_retention_days(), config.workflow_retention_days())
}

/// Lets a worker run for as long as something serves; it finishes what is under way and stops after it.
///
/// # Errors
/// As what serves, and when the worker broke.
pub(crate) async fn beside_worker(
    store: Store,
    mailer: worker::Mailer,
    serving: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let (done, told) = tokio::sync::oneshot::channel::<()>();
    let working = tokio::spawn(worker::run(store, mailer, async {
        tokio::select! {
            // Both stop at one signal: what one of them finishes does not add to the time of the other.
            () = asked_to_stop() => (),
            // Told, or nobody is left to tell: either way it is time to stop.
            _ended = told => (),
        }
    }));
    let served = serving.await;
    let _unheard = done.send(());
    working.await.map_err(|error| Failure::failed(format!("the worker: {error}")))?;
    served
}

/// The api alone, on a database whose schema must be this program's.
///
/// # Errors
/// As [`up`], and when the schema or the signing keys are missing.
pub(crate) async fn serve(file: Option<&Path>, args: Args) -> Result<(), Failure> {
    let config = Config::load(file, &[("listen", args.listen)])?;
    start_log(&config)?;
    let keys = keys(&config, false)?;
    let store = open_current(&config).await?;
    look(&store).await?;
    run(&config, keys, store.clone()).await?;
    Ok(store.close().await?)
}

fn keys(config: &Config, create: bool) -> Result<api::Keys, Failure> {
    let file = config.key_file()?;
    // The keys stand beside the database where nothing else is said: what is missing then is its folder.
    if let Some(database) = config.sqlite_file() {
        super::in_a_folder(&database)?;
    }
    Ok(api::Keys::open(&file, create)?)
}

async fn run(config: &Config, keys: api::Keys, store: Store) -> Result<(), Failure> {
    let listeners =
        api::Listeners { public: bind(config.listen()?)?, admin: config.admin_listen()?.map(bind).transpose()? };
    let state = api::State::new(config.api(keys)?, store);
    tracing::info!(listen = %config.listen()?, public_url = config.public_url(), "serving");
    api::run(state, listeners, asked_to_stop()).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Takes an address, or says which one could not be had.
///
/// # Errors
/// When it is in use or not this machine's.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| {
        let why = match error.kind() {
            ErrorKind::AddrInUse => "something listens there already; stop it, or choose another address".to_owned(),
            ErrorKind::AddrNotAvailable => "this machine has no such address; choose another".to_owned(),
            _ => error.to_string(),
        };
        Failure::failed(format!("cannot listen on {address}: {why}"))
    })
}
