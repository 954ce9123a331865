//! `pgkeep log`.

use super::{RepositoryArgs, values};
use clap::Args;
use pgkeep_engine::history::Condition;

/// Tell what happened to the rows of a table, the newest change first.
///
/// Every insert, update, delete and truncate that the change stream has, with the transaction that
/// made it: `restore --to-xid XID --exclusive` goes back to just before. What a row was before an
/// update is told as far as the server says so: all of it under REPLICA IDENTITY FULL, else only a
/// key that changed.
#[derive(Debug, Args)]
#[command(after_help = LOG_EXAMPLE)]
pub(crate) struct LogArgs {
    /// Which repository.
    #[command(flatten)]
    pub(crate) repository: RepositoryArgs,

    /// The database, of a repository with streams of several
    #[arg(long, value_name = "NAME")]
    pub(crate) database: Option<String>,

    /// The change stream, where databases of several servers have that name; digits of its id
    #[arg(long, value_name = "ID")]
    pub(crate) stream: Option<String>,

    /// The table: a pattern as pg_dump's; of a partitioned one, name the partitions
    ///
    /// A table is found by any name that it had in the time, and then with all its changes before
    /// that.
    #[arg(short, long, value_name = "TABLE")]
    pub(crate) table: String,

    /// Only rows with this key; KEY is COLUMN=VALUE, or the value of the only key column
    ///
    /// The value is written as the server writes it, without quotes. May be repeated, for keys of
    /// several columns; any column may be named.
    #[arg(long = "key", value_name = "KEY", value_parser = values::condition)]
    pub(crate) row: Vec<Condition>,

    /// Only what committed at this time or later
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub(crate) from: Option<i64>,

    /// Only what a restore to this time would have
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub(crate) to: Option<i64>,

    /// At most so many changes, the newest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
}

const LOG_EXAMPLE: &str = "\
Example:
  pgkeep log --repo /var/backups/shop -t jobs --key 42 --from '2026-11-22 14:00'";
