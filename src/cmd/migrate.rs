//! `migrate up` and `migrate status`.

use std::path::Path;

use entities::Store;
use migrations::Standing;
use serde_json::json;

use super::{open, open_or_make, say};
use crate::config::Config;
use crate::failure::Failure;

/// Flags of `migrate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Brings the schema up to this program's; repeatable, one process at a time
    Up {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Says how the schema stands; exit code 1 when it is not this program's
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs it.
///
/// # Errors
/// When the database cannot be reached or, for `status`, when its schema is not this program's.
pub(crate) async fn run(file: Option<&Path>, args: Args) -> Result<(), Failure> {
    let config = Config::load(file, &[])?;
    let store = match args.what {
        What::Up { .. } => open_or_make(&config).await?,
        What::Status { .. } => open(&config).await?,
    };
    let done = does(&store, args.what).await;
    super::closing(store, done).await
}

async fn does(store: &Store, what: What) -> Result<(), Failure> {
    match what {
        What::Up { json } => {
            super::bring_up(store).await?;
            if json { say(json!({"standing": "current", "migrations": []})) } else { say("the schema is current") }
        }
        What::Status { json } => {
            let standing = migrations::standing(store.connection()).await.map_err(entities::Error::from)?;
            let (word, names) = match standing {
                Standing::Current => ("current", Vec::new()),
                Standing::Behind(names) => ("behind", names),
                Standing::Ahead(names) => ("ahead", names),
            };
            if json {
                say(json!({"standing": word, "migrations": names}))?;
            } else {
                say(format!("{word} {}", names.join(" ")).trim_end())?;
            }
            if names.is_empty() { Ok(()) } else { Err(Failure::failed("the schema is not this program's")) }
        }
    }
}
