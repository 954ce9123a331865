//! `pgkeep backup`.

use super::{ConnectionArgs, SelectionArgs, WritingArgs, values};
use clap::{Args, ValueEnum};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// Back up a database, or all of a server.
///
/// All connections see one snapshot, so the backup is the database as it was at one moment. Tables
/// are locked against being dropped or altered (ACCESS SHARE), never against reading or writing.
/// Rows that the repository holds already are not stored again.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own, as pg_dumpall's")]
pub(crate) struct BackupArgs {
    /// Which repository.
    #[command(flatten)]
    pub(crate) repository: WritingArgs,

    /// Whether the backup before is read, to store of chunks that changed only the rows that are new
    ///
    /// It takes the identity, which a machine that only writes need not have: auto reads where the
    /// identity is on this machine and the repository is a directory; always, from a bucket, too,
    /// where what is read may cost more than what it saves; never stores such chunks anew.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ReuseRows::Auto, help_heading = "Repository")]
    pub(crate) reuse_rows: ReuseRows,

    /// The identity, for --reuse-rows [env: PGKEEP_IDENTITY]
    ///
    /// Without it pgkeep looks for REPOSITORY-ID.identity where the writer credential is looked for.
    #[arg(long, value_name = "FILE", help_heading = "Repository")]
    pub(crate) identity: Option<PathBuf>,

    /// Write one self-contained file instead; - is standard output
    ///
    /// The file holds the whole backup, sealed for the repository's recipients, and restores
    /// without the repository. It is never written over an existing file.
    #[arg(long, value_name = "OUT", help_heading = "Repository")]
    pub(crate) file: Option<PathBuf>,

    /// Tag the backup; may be repeated
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = values::tag, help_heading = "Repository")]
    pub(crate) tags: Vec<(String, String)>,

    /// How to reach the database.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    /// Connections that copy rows [default: this machine's CPUs, at most 4]
    #[arg(short, long, value_name = "N", value_parser = values::jobs, default_value_t = values::default_jobs(),
          hide_default_value = true, help_heading = "Connection")]
    pub(crate) jobs: NonZeroUsize,

    /// How long to wait for a lock on the tables; 0 waits for ever
    #[arg(long, visible_alias = "lock-wait-timeout", value_name = "TIME", value_parser = values::duration, default_value = "1min",
          help_heading = "Connection")]
    pub(crate) lock_timeout: Duration,

    /// All databases of the server, in one backup; what is selected is of each
    ///
    /// Each database is seen in a snapshot of its own, one after another. -d names one to ask for
    /// the list.
    #[arg(long, help_heading = SERVER)]
    pub(crate) all_databases: bool,

    /// With --all-databases, none that match; may be repeated
    #[arg(long, value_name = "PATTERN", requires = "all_databases", help_heading = SERVER)]
    pub(crate) exclude_database: Vec<String>,

    /// Roles and tablespaces too, as far as they can be read
    ///
    /// Without this and --no-globals they are in a backup of whole databases by a role that may
    /// read passwords.
    #[arg(long, conflicts_with = "no_globals", help_heading = SERVER)]
    pub(crate) globals: bool,

    /// No roles and tablespaces
    #[arg(long, help_heading = SERVER)]
    pub(crate) no_globals: bool,

    /// Roles without their passwords
    #[arg(long, help_heading = SERVER)]
    pub(crate) no_role_passwords: bool,

    /// Read what another session sees: the name of a snapshot that it exported
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "all_databases",
        help_heading = "Connection"
    )]
    pub(crate) snapshot: Option<String>,

    /// Wait for a moment at which no serializable transaction could see an anomaly
    #[arg(long, conflicts_with = "snapshot", help_heading = "Connection")]
    pub(crate) serializable_deferrable: bool,

    /// Back up the rows that row security shows to the role, instead of failing if it hides some
    #[arg(long, help_heading = "Connection")]
    pub(crate) enable_row_security: bool,

    /// What to back up.
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,

    /// Of one table only the rows that meet a condition; may be repeated
    ///
    /// TABLE is a pattern, CONDITION what could follow WHERE.
    #[arg(long = "where", value_name = "TABLE=CONDITION", value_parser = values::row_filter,
          help_heading = SELECTION)]
    pub(crate) row_filters: Vec<(String, String)>,

    /// Rows of foreign tables of servers that match; may be repeated
    #[arg(long, value_name = "PATTERN", help_heading = SELECTION)]
    pub(crate) include_foreign_data: Vec<String>,

    /// No rows of unlogged tables
    #[arg(long, help_heading = SELECTION)]
    pub(crate) no_unlogged_table_data: bool,

    /// Not how columns are compressed
    #[arg(long, help_heading = SELECTION)]
    pub(crate) no_toast_compression: bool,
}

/// When the backup before is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReuseRows {
    /// Where it costs nothing but time.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

const SELECTION: &str = "Selection (patterns as pg_dump takes them)";

/// The heading of what belongs to no database.
const SERVER: &str = "Server";

const EXAMPLE: &str = "\
Example:
  pgkeep backup --repo /var/backups/shop -d postgres://app@db.internal/shop --tag reason=deploy
  pgkeep backup --repo /var/backups/all -d postgres://postgres@db.internal --all-databases";
