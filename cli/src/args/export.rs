//! `pgkeep export`.

use super::{PartSelectionArgs, RepositoryArgs, SelectionArgs, UseListArgs, values};
use clap::{Args, ValueEnum};
use pgkeep_engine::export::RestrictKey;
use std::num::NonZeroU32;
use std::path::PathBuf;

/// Write a backup, or part of it, as SQL, as CSV, or as an archive for pg_restore.
///
/// SQL is a script for psql. CSV is the rows of one table, or of all tables that are selected where
/// --output is a directory. The archive is a directory as pg_dump --format=directory makes it.
/// What is written is in plain.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
#[command(group = clap::ArgGroup::new("inserting").multiple(true)
    .args(["inserts", "column_inserts", "rows_per_insert"]))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own, as pg_dump's")]
pub(crate) struct ExportArgs {
    /// Where the backup is.
    #[command(flatten)]
    pub(crate) repository: RepositoryArgs,

    /// The backup: the first digits of its id, or latest
    #[arg(long, value_name = "ID", default_value = "latest", help_heading = "Repository")]
    pub(crate) backup: String,

    /// The database to write, of a backup of several
    #[arg(long, value_name = "NAME", help_heading = "Repository")]
    pub(crate) database: Option<String>,

    /// What to write.
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,

    /// Single parts.
    #[command(flatten)]
    pub(crate) parts: PartSelectionArgs,

    /// A list of entries.
    #[command(flatten)]
    pub(crate) list: UseListArgs,

    /// What to write it as
    #[arg(long, value_enum, default_value_t = ExportFormat::Sql, help_heading = "Target")]
    pub(crate) format: ExportFormat,

    /// Write to this new file instead of standard output; for CSV and archives a directory
    ///
    /// For CSV, an existing directory, or a name that ends in a slash, gets a file for each table.
    #[arg(short, long, value_name = "FILE", help_heading = "Target")]
    pub(crate) output: Option<PathBuf>,

    /// Go on without rows that cannot be read, and say what is missing
    ///
    /// A row of which a part is lost is left out whole. Definitions must be whole. What is missing is
    /// listed at the end, and the exit code is 3.
    #[arg(long, help_heading = "Target")]
    pub(crate) allow_damage: bool,

    /// Optimizer statistics too, which PostgreSQL 18 and newer take
    #[arg(long, conflicts_with = "no_statistics", help_heading = "Target")]
    pub(crate) statistics: bool,

    /// Drop objects before they are created
    #[arg(short = 'c', long, conflicts_with = "data_only", help_heading = SQL)]
    pub(crate) clean: bool,

    /// With --clean, do not mind objects that are not there
    #[arg(long, requires = "clean", help_heading = SQL)]
    pub(crate) if_exists: bool,

    /// Create the database named in the backup and connect to it
    #[arg(short = 'C', long, help_heading = SQL)]
    pub(crate) create: bool,

    /// Rows as INSERT statements instead of COPY
    #[arg(long, help_heading = SQL)]
    pub(crate) inserts: bool,

    /// Rows as INSERT statements that name the columns
    #[arg(long, visible_alias = "attribute-inserts", help_heading = SQL)]
    pub(crate) column_inserts: bool,

    /// Rows of one INSERT statement, at most; implies --inserts
    #[arg(long, value_name = "N", help_heading = SQL)]
    pub(crate) rows_per_insert: Option<NonZeroU32>,

    /// Add ON CONFLICT DO NOTHING to INSERT statements
    #[arg(long, requires = "inserting", help_heading = SQL)]
    pub(crate) on_conflict_do_nothing: bool,

    /// With --data-only, bring rows in without triggers and foreign keys, which takes a superuser
    #[arg(long, requires = "data_only", help_heading = SQL)]
    pub(crate) disable_triggers: bool,

    /// The key of \restrict, letters and digits, instead of a random one: the same script each time
    #[arg(long, value_name = "KEY", value_parser = values::restrict_key, help_heading = SQL)]
    pub(crate) restrict_key: Option<RestrictKey>,
}

/// The heading of what SQL alone has.
const SQL: &str = "SQL";

/// What an export is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A script that psql runs
    Sql,
    /// Rows alone, with a header line
    Csv,
    /// An archive that pg_restore reads
    Directory,
}

const EXAMPLE: &str = "\
Example:
  pgkeep export --repo /var/backups/shop -t jobs --format csv --output jobs.csv
  pgkeep export --repo /var/backups/shop --format directory --output shop.archive";
