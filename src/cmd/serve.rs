//! `up` and `serve`: the api, with the worker beside it or alone.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use entities::Store;

use super::{asked_to_stop, open, open_current, start_log};
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
    let store = open(&config).await?;
    migrations::up(store.writer()).await.map_err(|error| Failure::failed(format!("the schema: {error}")))?;
    run(&config, keys, store).await
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
    run(&config, keys, store).await
}

fn keys(config: &Config, create: bool) -> Result<api::Keys, Failure> {
    let path = config.signing_key_file().ok_or_else(|| {
        Failure::config("signing_key_file is missing; with PostgreSQL every process needs the same one")
    })?;
    Ok(api::Keys::open(&path, create)?)
}

async fn run(config: &Config, keys: api::Keys, store: Store) -> Result<(), Failure> {
    let listeners =
        api::Listeners { public: bind(config.listen()?)?, admin: config.admin_listen()?.map(bind).transpose()? };
    let state = api::State::new(config.api(keys)?, store.clone());
    tracing::info!(listen = %config.listen()?, public_url = config.public_url(), "serving");
    api::run(state, listeners, asked_to_stop()).await?;
    store.close().await?;
    tracing::info!("stopped");
    Ok(())
}

/// Takes an address, or says which one could not be had.
///
/// # Errors
/// When it is in use or not this machine's.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| Failure::failed(format!("cannot listen on {address}: {error}")))
}
