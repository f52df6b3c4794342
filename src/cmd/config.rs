//! `config print` and `config example`.

use std::path::Path;

use super::say;
use crate::config::Config;
use crate::failure::Failure;
use crate::settings::example;

/// Flags of `config`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Every setting in force, secrets redacted, with where it came from
    Print {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// A settings file with every setting in it, explained
    Example,
}

/// Runs it.
///
/// # Errors
/// 78 when the configuration is invalid.
pub(crate) fn run(file: Option<&Path>, args: Args) -> Result<(), Failure> {
    match args.what {
        What::Print { json: false } => say(Config::load(file, &[])?.print().trim_end()),
        What::Print { json: true } => say(Config::load(file, &[])?.print_json()),
        What::Example => say(example().trim_end()),
    }
}
