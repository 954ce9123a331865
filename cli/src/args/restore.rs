//! `pgkeep restore`.

use super::{
    ConnectionArgs, PartSelectionArgs, RepositoryArgs, SelectionArgs, UseListArgs, values,
};
use clap::Args;
use pgkeep_engine::{Error, ErrorKind, Result};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// Restore a backup, or part of it, into a database.
///
/// Definitions come first, then rows on several connections at once, then indexes, constraints and
/// triggers as soon as what they need is loaded. A database that holds objects of the same names is
/// refused unless --clean says to drop them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own, as pg_restore's")]
pub(crate) struct RestoreArgs {
    /// A single-file backup to restore, instead of --repo
    #[arg(value_name = "FILE", conflicts_with = "repo")]
    pub(crate) file: Option<PathBuf>,

    /// Where the backup is.
    #[command(flatten)]
    pub(crate) repository: RepositoryArgs,

    /// The backup: the first digits of its id, or latest
    #[arg(long, value_name = "ID", help_heading = "Repository")]
    backup: Option<String>,

    /// The moment to restore to, if not that of the backup.
    #[command(flatten)]
    pub(crate) moment: MomentArgs,

    /// How to reach the database to restore into.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    /// Connections that load rows and build indexes [default: this machine's CPUs, at most 4]
    #[arg(short, long, value_name = "N", value_parser = values::jobs, help_heading = "Connection")]
    jobs: Option<NonZeroUsize>,

    /// How long a statement waits for a lock before it fails; 0 waits for ever
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "0",
          help_heading = "Connection")]
    pub(crate) lock_timeout: Duration,

    /// The database to restore, of a backup of several
    #[arg(long, value_name = "NAME", help_heading = SERVER)]
    pub(crate) database: Option<String>,

    /// All databases of the backup, roles and tablespaces first if it has them
    ///
    /// Each goes into the database of its own name, which is made where it is not there. -d names
    /// one to connect to for that.
    #[arg(long, conflicts_with_all = ["database", "create"], help_heading = SERVER)]
    pub(crate) all_databases: bool,

    /// Roles and tablespaces too, before the database
    #[arg(long, help_heading = SERVER)]
    pub(crate) globals: bool,

    /// With --all-databases, no roles and tablespaces
    #[arg(long, requires = "all_databases", conflicts_with = "globals", help_heading = SERVER)]
    pub(crate) no_globals: bool,

    /// Roles and tablespaces only, no database
    #[arg(short = 'g', long, group = "only", conflicts_with_all = ["globals", "no_globals", "database", "all_databases"],
          help_heading = SERVER)]
    pub(crate) globals_only: bool,

    /// Roles only, no tablespaces, no database
    #[arg(short = 'r', long, group = "only", conflicts_with_all = ["globals", "no_globals", "database", "all_databases"],
          help_heading = SERVER)]
    pub(crate) roles_only: bool,

    /// Tablespaces only, no roles, no database
    #[arg(long, group = "only", conflicts_with_all = ["globals", "no_globals", "database", "all_databases"],
          help_heading = SERVER)]
    pub(crate) tablespaces_only: bool,

    /// What to restore.
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,

    /// Single parts.
    #[command(flatten)]
    pub(crate) parts: PartSelectionArgs,

    /// A list of entries.
    #[command(flatten)]
    pub(crate) list: UseListArgs,

    /// Create the database named in the backup first, connecting to -d to do so
    #[arg(short = 'C', long, help_heading = "Target")]
    pub(crate) create: bool,

    /// Drop objects before they are created
    #[arg(short = 'c', long, conflicts_with = "data_only", help_heading = "Target")]
    pub(crate) clean: bool,

    /// With --clean, do not mind objects that are not there
    #[arg(long, requires = "clean", help_heading = "Target")]
    pub(crate) if_exists: bool,

    /// Restore what was in schema OLD into schema NEW; may be repeated
    #[arg(long = "rename-schema", value_name = "OLD=NEW", value_parser = values::rename,
          help_heading = "Target")]
    pub(crate) rename_schemas: Vec<(String, String)>,

    /// Analyze all tables that got rows, also those whose statistics are in the backup
    ///
    /// Without this and --no-analyze, what is analyzed at the end is what gets no statistics from
    /// the backup: those of tables that had none, and all where the server is older than
    /// PostgreSQL 18.
    #[arg(long, conflicts_with = "no_analyze", help_heading = "Target")]
    pub(crate) analyze: bool,

    /// Analyze no tables
    #[arg(long, help_heading = "Target")]
    pub(crate) no_analyze: bool,

    /// Stop at the first object that the server refuses
    ///
    /// Without it all else is restored, what failed is listed at the end, and the exit code is 1.
    #[arg(short = 'e', long, help_heading = "Target")]
    pub(crate) exit_on_error: bool,

    /// Load no rows into a table that could not be created; always so
    #[arg(long, help_heading = "Target")]
    no_data_for_failed_tables: bool,

    /// Restore everything in one transaction on one connection, or nothing
    ///
    /// Others see nothing of it until all is there. The server keeps a lock for each object:
    /// many thousands need a larger max_locks_per_transaction.
    #[arg(short = '1', long, conflicts_with_all = ["create", "all_databases", "globals", "only"],
          help_heading = "Target")]
    pub(crate) single_transaction: bool,

    /// With --data-only, no trigger of a table fires while its rows come in
    ///
    /// A role that may set session_replication_role has neither triggers nor foreign keys in its
    /// way without it. For others the triggers of each table are disabled and enabled again.
    #[arg(long, requires = "data_only", help_heading = "Target")]
    pub(crate) disable_triggers: bool,

    /// Rows of partitions go through the root of their partition tree
    ///
    /// So the server puts each row where it belongs there. Partitions by a hash that may differ
    /// from server to server (of enums, under some collations) are always loaded so.
    #[arg(long, help_heading = "Target")]
    pub(crate) load_via_partition_root: bool,

    /// Go on without rows that cannot be read, and say what is missing
    ///
    /// A row of which a part is lost is left out whole. Definitions must be whole, and so must
    /// changes. What is missing is listed at the end, and the exit code is 3.
    #[arg(long, help_heading = "Target")]
    pub(crate) allow_damage: bool,

    /// Print what would be done, change nothing
    #[arg(long, help_heading = "Target")]
    pub(crate) dry_run: bool,
}

/// The heading of what belongs to no database, and of backups of several.
const SERVER: &str = "Server";

/// A moment that the change stream has.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Moment")]
pub(crate) struct MomentArgs {
    /// As it was at a time: all that committed up to then, in the order of the WAL
    ///
    /// A time is written as PostgreSQL writes it, '2026-11-22 14:05:00+01'; without a zone it is
    /// of this machine's. The backup to begin with is the newest before the moment, unless
    /// --backup names one.
    #[arg(long, value_name = "TIME", value_parser = values::time, group = "moment",
          conflicts_with_all = ["file", "all_databases", "only", "globals"])]
    pub(crate) to_time: Option<i64>,

    /// As it was at a position in the WAL
    #[arg(long, value_name = "LSN", value_parser = values::lsn, group = "moment",
          conflicts_with_all = ["file", "all_databases", "only", "globals"])]
    pub(crate) to_lsn: Option<u64>,

    /// As it was when a transaction had committed
    #[arg(long, value_name = "XID", group = "moment",
          conflicts_with_all = ["file", "all_databases", "only", "globals"])]
    pub(crate) to_xid: Option<u64>,

    /// As it was at a mark that `pgkeep mark` made; at the newest of that name
    #[arg(long, value_name = "NAME", group = "moment",
          conflicts_with_all = ["file", "all_databases", "only", "globals"])]
    pub(crate) to_name: Option<String>,

    /// As it is at the end of the change stream
    #[arg(long, group = "moment",
          conflicts_with_all = ["file", "all_databases", "only", "globals"])]
    pub(crate) to_latest: bool,

    /// Leave out what committed at the moment itself: restore to just before it
    #[arg(long, requires = "moment", conflicts_with = "to_latest")]
    pub(crate) exclusive: bool,

    /// The change stream, where databases of several servers have that name; digits of its id
    #[arg(long, value_name = "ID", requires = "moment")]
    pub(crate) stream: Option<String>,

    /// Bytes that may be used to fold the changes of a table
    #[arg(long, value_name = "BYTES", value_parser = values::bytes, default_value = "256MiB")]
    pub(crate) memory: u64,
}

impl RestoreArgs {
    /// The backup that was asked for.
    pub(crate) fn backup(&self) -> Option<&str> {
        self.backup.as_deref()
    }

    /// How many connections work side by side.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] where several are asked for and one transaction.
    pub(crate) fn jobs(&self) -> Result<NonZeroUsize> {
        let asked = self.jobs.map_or(1, NonZeroUsize::get);
        if self.single_transaction && asked > 1 {
            let message = "one transaction cannot have several connections";
            return Err(Error::new(ErrorKind::Usage, message)
                .hint("Leave out --jobs or --single-transaction."));
        }
        Ok(self.jobs.unwrap_or_else(values::default_jobs))
    }
}

const EXAMPLE: &str = "\
Example:
  pgkeep restore --repo /var/backups/shop -d postgres://app@db.internal/shop -t jobs --clean
  pgkeep restore --repo /var/backups/all -d postgres://postgres@new.internal --all-databases";
