//! The one binary. Each command is a file in `cmd/`; `config.rs` reads what the operator decided.

mod cmd;
mod config;
mod failure;
mod sample;
mod settings;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// A push or a page makes thousands of small texts and lets them go again; the system's allocator spends a third of
/// either on that.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The backend of a social-work agency: sync for phones, a workflow engine for deadlines, mail for people.
#[derive(Debug, Parser)]
#[command(
    name = "fieldstone",
    version,
    about,
    after_help = "Exit codes: 0 ok, 1 failed, 2 misuse, 78 unsafe or invalid configuration."
)]
struct Cli {
    /// Settings file; fieldstone.toml in the working directory where there is one.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Api and worker in one process
    Up(cmd::serve::Args),
    /// The api alone; as many processes as wanted on one PostgreSQL
    Serve(cmd::serve::Args),
    /// Everything in one process with invented people in it, for trying Fieldstone; loopback only
    Demo(cmd::demo::Args),
    /// The worker alone, or one of its errands; as many processes as wanted on one PostgreSQL
    Worker(cmd::worker::Args),
    /// The schema of the database
    Migrate(cmd::migrate::Args),
    /// Agencies, users and passwords
    Admin(cmd::admin::Args),
    /// Fills an empty database with generated data
    Sample(cmd::sample::Args),
    /// Writes a backup while the server runs
    Backup(cmd::backup::Args),
    /// Fills an empty database from a backup; phones are sent everything once more, mail waits for a word
    Restore(cmd::backup::RestoreArgs),
    /// The audit trail
    Audit(cmd::backup::AuditArgs),
    /// Prints the OpenAPI 3.1 document
    Openapi {
        /// Print the table of who may call what instead
        #[arg(long)]
        permissions: bool,
    },
    /// The settings in force
    Config(cmd::config::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    std::panic::set_hook(Box::new(cmd::panicked));
    // TLS to databases and mail servers uses this one provider; a second installation changes nothing.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(run(cli)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            cmd::complain(&failure);
            ExitCode::from(failure.code())
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let file = cli.config.as_deref();
    match cli.command {
        Command::Up(args) => cmd::serve::up(file, args).await,
        Command::Serve(args) => cmd::serve::serve(file, args).await,
        Command::Demo(args) => cmd::demo::run(args).await,
        Command::Worker(args) => cmd::worker::run(file, args).await,
        Command::Migrate(args) => cmd::migrate::run(file, args).await,
        Command::Admin(args) => cmd::admin::run(file, args).await,
        Command::Sample(args) => cmd::sample::run(file, args).await,
        Command::Backup(args) => cmd::backup::write(file, args).await,
        Command::Restore(args) => cmd::backup::restore(file, args).await,
        Command::Audit(args) => cmd::backup::verify(file, args).await,
        Command::Openapi { permissions } => cmd::openapi(permissions),
        Command::Config(args) => cmd::config::run(file, args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPERATIONS: &str = include_str!("../docs/operations.md");

    /// Lines of the fenced blocks of one language.
    fn blocks(language: &str) -> impl Iterator<Item = &str> {
        OPERATIONS.split("```").skip(1).step_by(2).filter_map(move |block| block.strip_prefix(language))
    }

    /// As a shell splits a line with double quotes in it.
    fn words(line: &str) -> Vec<String> {
        line.split('"')
            .enumerate()
            .flat_map(|(at, part)| match at % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
                _ => vec![part.to_owned()],
            })
            .collect()
    }

    #[test]
    fn every_command_in_the_operations_guide_is_one() {
        let lines: Vec<&str> =
            blocks("sh").flat_map(str::lines).filter(|line| line.starts_with("fieldstone ")).collect();
        assert!(lines.len() > 8);
        for line in lines {
            assert!(Cli::try_parse_from(words(line)).is_ok(), "{line}");
        }
        let unit = blocks("ini").flat_map(str::lines).find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/"));
        assert!(Cli::try_parse_from(words(unit.unwrap_or_default())).is_ok(), "{unit:?}");
    }

    #[test]
    fn the_settings_file_in_the_operations_guide_is_valid() {
        let file = blocks("toml").next().unwrap_or_default();
        assert!(config::Config::of_file(file).is_ok());
    }
}
