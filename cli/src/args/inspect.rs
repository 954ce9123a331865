//! `pgkeep list`, `pgkeep show` and `pgkeep ls`.

use super::{PartSelectionArgs, RepositoryArgs, SelectionArgs};
use clap::Args;

/// List the backups of a repository.
///
/// Needs no key, but without the identity the databases' names stay sealed. "Added" is what the
/// backup added to the repository; "size" is its rows as COPY writes them.
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLE)]
pub(crate) struct ListArgs {
    /// Which repository.
    #[command(flatten)]
    pub(crate) repository: RepositoryArgs,
}

const LIST_EXAMPLE: &str = "\
Example:
  pgkeep list --repo /var/backups/shop";

/// Show everything about one backup.
#[derive(Debug, Args)]
#[command(after_help = SHOW_EXAMPLE)]
pub(crate) struct ShowArgs {
    /// The backup: the first digits of its id, or latest
    #[arg(value_name = "ID", default_value = "latest")]
    pub(crate) backup: String,

    /// Which repository.
    #[command(flatten)]
    pub(crate) repository: RepositoryArgs,
}

const SHOW_EXAMPLE: &str = "\
Example:
  pgkeep show latest --repo /var/backups/shop";

/// List the objects of a backup, with rows and sizes.
#[derive(Debug, Args)]
#[command(after_help = LS_EXAMPLE)]
pub(crate) struct LsArgs {
    /// The backup: the first digits of its id, or latest
    #[arg(value_name = "ID", default_value = "latest")]
    pub(crate) backup: String,

    /// Which repository.
    #[command(flatten)]
    pub(crate) repository: RepositoryArgs,

    /// The database whose objects to list, of a backup of several
    #[arg(long, value_name = "NAME")]
    pub(crate) database: Option<String>,

    /// List roles and tablespaces instead
    #[arg(long, conflicts_with = "database")]
    pub(crate) globals: bool,

    /// Every entry on a line, to be edited for restore --use-list
    #[arg(long, conflicts_with_all = ["globals", "json"])]
    pub(crate) list: bool,

    /// What to list.
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,

    /// Single parts.
    #[command(flatten)]
    pub(crate) parts: PartSelectionArgs,
}

const LS_EXAMPLE: &str = "\
Example:
  pgkeep ls 3f9c2ab1 --repo /var/backups/shop -n app";
