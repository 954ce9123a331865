//! `pgkeep export`.

use super::{RepositoryArgs, SelectionArgs};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Write a backup, or part of it, as SQL or CSV.
///
/// SQL is a script for psql, with rows as COPY. CSV is the rows of one table, or of all tables that
/// are selected where --output is a directory. What is written is in plain.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct ExportArgs {
    /// Where the backup is.
    #[command(flatten)]
    pub(crate) repository: RepositoryArgs,

    /// The backup: the first digits of its id, or latest
    #[arg(long, value_name = "ID", default_value = "latest", help_heading = "Repository")]
    pub(crate) backup: String,

    /// What to write.
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,

    /// What to write it as
    #[arg(long, value_enum, default_value_t = ExportFormat::Sql, help_heading = "Target")]
    pub(crate) format: ExportFormat,

    /// Write to this new file instead of standard output; for CSV also a directory
    ///
    /// An existing directory, or a name that ends in a slash, gets a CSV file for each table.
    #[arg(short, long, value_name = "FILE", help_heading = "Target")]
    pub(crate) output: Option<PathBuf>,
}

/// What an export is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A script that psql runs
    Sql,
    /// Rows alone, with a header line
    Csv,
}

const EXAMPLE: &str = "\
Example:
  pgkeep export --repo /var/backups/shop -t jobs --format csv --output jobs.csv";
