//! `demo`: everything in one process on an embedded database, with invented people in it and mail
//! that stays on this machine. For trying Fieldstone and for nothing else: the accounts'
//! passwords are known to everyone, so it listens on loopback alone.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use entities::people::{agency, user};
use entities::{Clock, Pool, Store};
use secrecy::SecretString;

use super::{asked_to_stop, log_at, look, say, serve};
use crate::failure::{Failure, plainly};
use crate::sample::demo::{ACCOUNTS, PASSWORD, fill};

/// Flags of `demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address and port, on this machine's loopback
    #[arg(long, value_name = "ADDRESS", env = "FIELDSTONE_LISTEN", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Folder to keep the data in; without it a temporary one, removed when the demo stops
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Runs it until it is asked to stop.
///
/// # Errors
/// 78 for an address that others could reach; 1 when the address is taken or the folder cannot be used.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let listener = serve::bind(loopback(&args.listen)?)?;
    log_at("warn")?;
    let room = Room::open(args.data)?;
    let store = open(room.path()).await?;
    look(&store).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let keys = api::Keys::open(&room.path().join("signing.json"), true)?;
    let config = api::Config { demo: true, ..api::Config::new(&url, keys) };
    let state = api::State::new(config, store.clone());
    welcome(&url, &room)?;
    // Mail is worded and kept, and leaves this machine by no way: /demo/mail shows it.
    let mailer = worker::Mailer::new(worker::Route::Capture, "Fieldstone <fieldstone@demo.example>", &url)
        .map_err(|error| Failure::failed(error.to_string()))?;
    let serving =
        async { Ok(api::run(state, api::Listeners { public: listener, admin: None }, asked_to_stop()).await?) };
    serve::beside_worker(store.clone(), mailer, serving).await?;
    Ok(store.close().await?)
}

/// The address, if nobody but this machine can reach it.
fn loopback(listen: &str) -> Result<SocketAddr, Failure> {
    let found: Vec<SocketAddr> = listen
        .to_socket_addrs()
        .map_err(|error| Failure::config(format!("listen: {listen} is no address with a port: {error}")))?
        .collect();
    match found.as_slice() {
        [first, ..] if found.iter().all(|address| address.ip().to_canonical().is_loopback()) => Ok(*first),
        _ => Err(Failure::config(format!(
            "the demo listens on loopback only, such as 127.0.0.1:8080, not on {listen}: its passwords are public. \
             For others to reach it, set up an agency with `fieldstone up`"
        ))),
    }
}

/// Where the data is kept.
enum Room {
    /// Until the process ends.
    Temporary(tempfile::TempDir),
    /// As long as its owner wants.
    Kept(PathBuf),
}

impl Room {
    fn open(kept: Option<PathBuf>) -> Result<Room, Failure> {
        let Some(path) = kept else {
            return Ok(Room::Temporary(tempfile::Builder::new().prefix("fieldstone-demo.").tempdir()?));
        };
        std::fs::create_dir_all(&path)
            .map_err(|error| Failure::failed(format!("the folder {}: {error}", path.display())))?;
        Ok(Room::Kept(path))
    }

    fn path(&self) -> &Path {
        match self {
            Room::Temporary(folder) => folder.path(),
            Room::Kept(path) => path,
        }
    }
}

/// Opens the folder's database. At the first start it is filled under another name first, so that
/// a start that was cut short leaves nothing half filled behind.
async fn open(folder: &Path) -> Result<Store, Failure> {
    let (file, part) = (folder.join("fieldstone.db"), folder.join("being-filled.db"));
    if !file.exists() {
        for left in ["", "-wal", "-shm"] {
            let left = folder.join(format!("being-filled.db{left}"));
            if left.exists() {
                std::fs::remove_file(left)?;
            }
        }
        let now = Clock::System.now();
        let store = connect(&part, Clock::manual(now)).await?;
        super::bring_up(&store).await?;
        let hash = api::password::hash_now(&SecretString::from(PASSWORD)).map_err(Failure::Failed)?;
        fill(&store, now, &hash).await?;
        store.close().await?;
        std::fs::rename(&part, &file)?;
    }
    let store = connect(&file, Clock::System).await?;
    super::bring_up(&store).await?;
    let first = ACCOUNTS.first().map_or("", |(email, _)| email);
    let agencies = agency::all(store.connection()).await?.len();
    if agencies > 0 && user::by_email(store.connection(), first).await?.is_none() {
        return Err(Failure::config(format!("{} is not a demo's database; it is left as it is", file.display())));
    }
    Ok(store)
}

async fn connect(file: &Path, clock: Clock) -> Result<Store, Failure> {
    super::own_file(file)?;
    let url = format!("sqlite://{}", file.display());
    let store = Store::open(&url, Pool::default(), clock).await;
    store.map_err(|error| Failure::failed(format!("the database {}: {}", file.display(), plainly(&error))))
}

fn welcome(url: &str, room: &Room) -> Result<(), Failure> {
    let kept = match room {
        Room::Temporary(_) => "removed when the demo stops; --data DIR keeps it",
        Room::Kept(_) => "kept",
    };
    let accounts: Vec<String> = ACCOUNTS.iter().map(|(email, what)| format!("  {email:<20} {what}")).collect();
    say(include_str!("demo.txt")
        .trim_end()
        .replace("{url}", url)
        .replace("{data}", &room.path().display().to_string())
        .replace("{kept}", kept)
        .replace("{password}", PASSWORD)
        .replace("{accounts}", &accounts.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_can_reach_is_refused_as_unsafe() {
        for wrong in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80", "nonsense", "127.0.0.1"] {
            assert_eq!(loopback(wrong).err().map(|failure| failure.code()), Some(78), "{wrong}");
        }
        for right in ["127.0.0.1:8080", "[::1]:0", "127.8.8.8:1"] {
            assert!(loopback(right).is_ok(), "{right}");
        }
    }
}
