//! The command line as clap reads it: names, help, groups. No meaning beyond what clap can
//! check alone; `settings` and the commands give it one.
//!
//! `--help` is short, a line an option; `pgkeep help COMMAND` and the manual page hold the
//! long text. `-h` is the host, as in psql, so help has no short form.

mod backup;
mod connection;
mod copy;
mod export;
mod filter;
mod history;
mod init;
mod inspect;
mod keeping;
mod repair;
mod repository;
mod restore;
mod rights;
mod selection;
mod shell;
mod stream;
#[cfg(test)]
mod tests;
mod values;
mod verify;

pub(crate) use backup::{BackupArgs, ReuseRows};
pub(crate) use connection::ConnectionArgs;
pub(crate) use copy::CopyArgs;
pub(crate) use export::{ExportArgs, ExportFormat};
pub(crate) use history::LogArgs;
pub(crate) use init::InitArgs;
pub(crate) use inspect::{ListArgs, LsArgs, ShowArgs};
pub(crate) use keeping::{ForgetArgs, PruneArgs};
pub(crate) use repair::{RepairArgs, Repaired};
pub(crate) use repository::{ObjectArgs, PlaceArgs, RepositoryArgs, WritingArgs};
pub(crate) use restore::{MomentArgs, RestoreArgs};
pub(crate) use rights::{KeyAction, KeyArgs, WriterAction, WriterArgs};
pub(crate) use selection::{PartSelectionArgs, SelectionArgs, UseListArgs};
pub(crate) use shell::{CompletionsArgs, ManArgs};
pub(crate) use stream::{Keyless, MarkArgs, SetupArgs, StreamArgs, TeardownArgs};
pub(crate) use values::{days, lock_mode, rate, sse};
pub(crate) use verify::VerifyArgs;

use clap::{ArgAction, Args, Parser, Subcommand};

/// Logical backups of PostgreSQL: encrypted, deduplicated, restorable as a whole or by table.
///
/// pgkeep reads the catalogs and moves rows itself; it never runs pg_dump. Backups go into a
/// repository: a directory or a bucket that holds encrypted, deduplicated packs and needs no
/// server of its own.
#[derive(Debug, Parser)]
#[command(
    name = "pgkeep",
    version,
    disable_help_flag = true,
    arg_required_else_help = true,
    subcommand_required = true,
    max_term_width = 100,
    after_help = ROOT_EXAMPLE
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,

    /// How to talk about it.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const ROOT_EXAMPLE: &str = "\
Example:
  pgkeep init --repo /var/backups/shop
  pgkeep backup --repo /var/backups/shop -d postgres://app@db.internal/shop
  pgkeep restore --repo /var/backups/shop -d postgres://app@db.internal/shop_copy

`pgkeep help COMMAND` tells more about a command than `pgkeep COMMAND --help`.
Exit codes: 0 done, 1 failed, 2 usage, 3 done with warnings, 10 no repository, 12 wrong key,
130 interrupted.";

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(InitArgs),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    Export(ExportArgs),
    List(ListArgs),
    Show(ShowArgs),
    Ls(LsArgs),
    Verify(VerifyArgs),
    Repair(RepairArgs),
    Key(KeyArgs),
    Writer(WriterArgs),
    Copy(CopyArgs),
    Forget(ForgetArgs),
    Prune(PruneArgs),
    Setup(SetupArgs),
    Stream(StreamArgs),
    Mark(MarkArgs),
    Log(LogArgs),
    Teardown(TeardownArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print JSON to standard output instead of text
    ///
    /// Long runs print a JSON object a line, each with a message_type; other commands print
    /// one document. A fatal error is one JSON object on standard error. The fields are
    /// written down in docs/cli-contract.md.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print warnings and errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// Show no progress
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,

    /// Tell more on standard error; -vv tells most
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Print help
    #[arg(long, global = true, action = ArgAction::HelpShort)]
    help: Option<bool>,
}
