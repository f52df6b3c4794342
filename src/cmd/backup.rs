//! `backup`, `restore` and `audit verify`.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use entities::{Store, audit, backup};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::{closing, open, open_current, open_or_make, say};
use crate::config::Config;
use crate::failure::{Failure, plainly, unusable};

/// What the command line calls the backup file.
const FILE: &str = "FILE";

/// Flags of `backup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The backup file
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Flags of `restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    file: Args,
    /// Believe a clock that stands more than two years beyond everything in the backup
    #[arg(long)]
    clock_is_right: bool,
}

/// Flags of `audit`.
#[derive(Debug, clap::Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    what: Audit,
}

#[derive(Debug, clap::Subcommand)]
enum Audit {
    /// Walks the chain of every agency's audit trail; exit code 1 names the first event that is not what was written
    Verify {
        /// As JSON, with the last event of each agency: keep that elsewhere
        #[arg(long)]
        json: bool,
        /// What `--json` said earlier: shows whether the trail still holds those events
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
    },
}

/// Writes a backup while the server runs. The file appears only when it is whole.
///
/// # Errors
/// When the database cannot be read or its schema is another program's, or the file cannot be written; an existing file
/// is not replaced.
pub(crate) async fn write(file: Option<&Path>, args: Args) -> Result<(), Failure> {
    if args.path.exists() {
        return Err(Failure::failed(format!("{} exists already: choose another name", args.path.display())));
    }
    let config = Config::load(file, &[])?;
    let store = open(&config).await?;
    // No program could restore it: one has another schema, and the other is not the one that wrote it.
    let done = match super::of_another(&store).await {
        Ok(None) => write_from(&store, &args).await,
        Ok(Some(why)) => {
            let or = "a backup of the schema as it is takes the Fieldstone that it belongs to";
            Err(Failure::failed(format!("the backup was not written: {why}, or: {or}")))
        }
        Err(failure) => Err(failure),
    };
    tell(&args, "backed up", &closing(store, done).await?)
}

async fn write_from(store: &Store, args: &Args) -> Result<backup::Summary, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", args.path.display()));
    // Beside it, under a name of its own: two backups at once must not write into one file. It is gone when this fails.
    let folder = args.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = args.path.file_name().unwrap_or_default().to_string_lossy();
    let partial = tempfile::Builder::new().prefix(&format!("{name}.partial-")).tempfile_in(folder);
    let partial = partial.map_err(|error| Failure::failed(unusable(&args.path, FILE, &error)))?;
    let mut out = BufWriter::new(partial.as_file());
    let bar = bar("rows written");
    let done = backup::write(store, &mut out, |rows| bar.set_position(rows)).await;
    bar.finish_and_clear();
    let summary = done.map_err(|error| Failure::failed(format!("the backup was not written: {}", plainly(&error))))?;
    out.into_inner().map_err(|error| failed(&error))?.sync_all().map_err(|error| failed(&error))?;
    backup::check(BufReader::new(File::open(partial.path()).map_err(|error| failed(&error))?))
        .map_err(|error| failed(&plainly(&error)))?;
    // Replaces nothing that has come to be there meanwhile, but where a filesystem knows no other way than to do so.
    if let Err(refused) = partial.persist_noclobber(&args.path) {
        if args.path.exists() {
            return Err(failed(&refused.error));
        }
        refused.file.persist(&args.path).map_err(|error| failed(&error.error))?;
    }
    Ok(summary)
}

/// Fills an empty, migrated database from a backup.
///
/// # Errors
/// When the file is not sound, the database is not empty, their schemas differ, or the clock has leapt. Nothing is changed
/// then.
pub(crate) async fn restore(file: Option<&Path>, args: RestoreArgs) -> Result<(), Failure> {
    let RestoreArgs { file: args, clock_is_right } = args;
    let config = Config::load(file, &[])?;
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", args.path.display()));
    let unread = |error| Failure::failed(unusable(&args.path, FILE, &error));
    let input = File::open(&args.path).map_err(unread)?;
    if input.metadata().map_err(unread)?.is_dir() {
        return Err(unread(ErrorKind::IsADirectory.into()));
    }
    let whole = backup::check(BufReader::new(input)).map_err(|error| failed(&plainly(&error)))?;
    let store = open_or_make(&config).await?;
    let done = restore_into(&store, &args.path, whole.rows, clock_is_right).await;
    tell(&args, "restored", &closing(store, done).await?)?;
    if !args.json {
        say("A new epoch has begun: phones will be sent everything they may see once more.")?;
        say("No mail goes out until you run `fieldstone admin confirm-instance`.")?;
    }
    Ok(())
}

async fn restore_into(store: &Store, path: &Path, rows: u64, clock_is_right: bool) -> Result<backup::Summary, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", path.display()));
    if super::is_filled(store).await {
        return Err(failed(&"this database is not empty: restore into a new one"));
    }
    super::bring_up(store).await?;
    let bar = bar("rows restored").with_position(0);
    bar.set_length(rows);
    let input = BufReader::new(File::open(path).map_err(|error| failed(&error))?);
    let done = backup::restore(store, input, clock_is_right, |rows| bar.set_position(rows)).await;
    bar.finish_and_clear();
    done.map_err(|error| failed(&plainly(&error)))
}

/// Checks the audit trail.
///
/// # Errors
/// When an event is not what was written.
pub(crate) async fn verify(file: Option<&Path>, args: AuditArgs) -> Result<(), Failure> {
    let Audit::Verify { json, against } = args.what;
    let noted = against.as_deref().map(noted).transpose()?.unwrap_or_default();
    let config = Config::load(file, &[])?;
    let store = open_current(&config).await?;
    let done = walk(&store, json, &noted).await;
    closing(store, done).await
}

async fn walk(store: &Store, json: bool, noted: &[audit::Head]) -> Result<(), Failure> {
    let snapshot = store.read_at_length().await?;
    let trail = match audit::verify(&*snapshot).await? {
        Ok(trail) => trail,
        Err(audit::Broken { agency_id, seq, gone }) => {
            let why = match gone {
                true => "is gone, and all that came after it",
                false => "is not what was written, or one before it is gone",
            };
            return unsound(json, &agency_id, seq, why);
        }
    };
    for head in noted {
        if !audit::holds(&*snapshot, head).await? {
            return unsound(json, &head.agency_id, head.seq, "was noted down, and is gone or was written anew");
        }
    }
    if json {
        return say(json!({"sound": true, "events": trail.events, "heads": trail.heads}));
    }
    say(format!("sound: {} events", trail.events))
}

/// The last events, as `--json` told them.
fn noted(path: &Path) -> Result<Vec<audit::Head>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| Failure::failed(unusable(path, "--against", &error)))?;
    let told: Value = serde_json::from_str(&text).map_err(|error| failed(&error))?;
    let heads =
        told.get("heads").ok_or_else(|| failed(&"this is not what `audit verify --json` says: heads is missing"))?;
    serde_json::from_value(heads.clone()).map_err(|error| failed(&error))
}

fn unsound(json: bool, agency: &str, seq: i64, why: &str) -> Result<(), Failure> {
    if json {
        say(json!({"sound": false, "agency_id": agency, "seq": seq}))?;
    }
    Err(Failure::failed(format!("event {seq} of agency {agency} {why}")))
}

fn tell(args: &Args, what: &str, summary: &backup::Summary) -> Result<(), Failure> {
    if args.json {
        return say(json!({"file": args.path, "tables": summary.tables, "rows": summary.rows}));
    }
    say(format!("{what}: {} rows of {} tables, {}", summary.rows, summary.tables, args.path.display()))
}

fn bar(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
