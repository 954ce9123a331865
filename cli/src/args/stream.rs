//! `pgkeep setup`, `pgkeep stream`, `pgkeep mark` and `pgkeep teardown`.

use super::{ConnectionArgs, WritingArgs, values};
use clap::{Args, ValueEnum};
use std::time::Duration;

/// What a stream is called on the server.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Stream")]
pub(crate) struct NamesArgs {
    /// The replication slot [default: pgkeep_ and the database's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) slot: Option<String>,

    /// The publication
    #[arg(long, value_name = "NAME", default_value = "pgkeep")]
    pub(crate) publication: String,
}

/// What becomes of tables without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Keyless {
    /// REPLICA IDENTITY FULL
    Full,
    /// Not in the stream
    Skip,
}

/// Set a change stream up: a publication and a replication slot.
///
/// From then on the server keeps its WAL until `pgkeep stream` has stored it. Tables that nothing
/// identifies rows of need a choice: an UPDATE of such a table would fail once it is published.
#[derive(Debug, Args)]
#[command(after_help = SETUP_EXAMPLE)]
pub(crate) struct SetupArgs {
    /// Which repository.
    #[command(flatten)]
    pub(crate) repository: WritingArgs,

    /// How to reach the database.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    /// What it is called on the server.
    #[command(flatten)]
    pub(crate) names: NamesArgs,

    /// Tables without a key: full sets REPLICA IDENTITY FULL, skip leaves them out
    #[arg(long, value_enum, default_value = "skip", help_heading = "Stream")]
    pub(crate) keyless: Keyless,

    /// Keep the slot on standbys too (PostgreSQL 17)
    #[arg(long, help_heading = "Stream")]
    pub(crate) failover: bool,

    /// Print the SQL, change nothing
    #[arg(long, help_heading = "Stream")]
    pub(crate) dry_run: bool,
}

const SETUP_EXAMPLE: &str = "\
Example:
  pgkeep setup --repo /var/backups/shop -d postgres://app@db.internal/shop --keyless full";

/// Store every change that commits, until it is stopped.
///
/// Runs until it gets a signal, and reconnects when the connection is lost. The server is told how
/// far it is only when the changes are safe in the repository.
#[derive(Debug, Args)]
#[command(after_help = STREAM_EXAMPLE)]
pub(crate) struct StreamArgs {
    /// Which repository.
    #[command(flatten)]
    pub(crate) repository: WritingArgs,

    /// How to reach the database.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    /// What it is called on the server.
    #[command(flatten)]
    pub(crate) names: NamesArgs,

    /// Store a segment so many seconds after its first transaction
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600),
          default_value_t = 5, help_heading = "Stream")]
    segment_seconds: u32,

    /// Or when it has so many bytes of changes
    #[arg(long, value_name = "BYTES", value_parser = values::bytes, default_value = "16MiB",
          help_heading = "Stream")]
    pub(crate) segment_bytes: u64,

    /// Warn when the slot keeps more WAL than this on the server
    #[arg(long, value_name = "BYTES", value_parser = values::bytes, default_value = "10GiB",
          help_heading = "Stream")]
    pub(crate) max_lag: u64,

    /// Write a point from which on the stream can do without what is before it, every so often
    ///
    /// `pgkeep forget` cuts the stream at such points.
    #[arg(long, value_name = "AGE", value_parser = values::age, default_value = "24h",
          help_heading = "Stream")]
    pub(crate) join_interval: Duration,

    /// End when all is stored that the server has written up to now
    #[arg(long, help_heading = "Stream")]
    pub(crate) until_caught_up: bool,
}

impl StreamArgs {
    /// How long a transaction may wait for its segment.
    pub(crate) fn segment_time(&self) -> Duration {
        Duration::from_secs(self.segment_seconds.into())
    }
}

const STREAM_EXAMPLE: &str = "\
Example:
  pgkeep stream --repo /var/backups/shop -d postgres://app@db.internal/shop";

/// Name this moment in the change stream, to restore to it later.
#[derive(Debug, Args)]
#[command(after_help = MARK_EXAMPLE)]
pub(crate) struct MarkArgs {
    /// The name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    /// How to reach the database.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

const MARK_EXAMPLE: &str = "\
Example:
  pgkeep mark before-deploy -d postgres://app@db.internal/shop";

/// Take away what setup made on the server: the slot, the publication.
///
/// What is stored stays in the repository.
#[derive(Debug, Args)]
#[command(after_help = TEARDOWN_EXAMPLE)]
pub(crate) struct TeardownArgs {
    /// How to reach the database.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    /// What it is called on the server.
    #[command(flatten)]
    pub(crate) names: NamesArgs,

    /// Print the SQL, change nothing
    #[arg(long, help_heading = "Stream")]
    pub(crate) dry_run: bool,
}

const TEARDOWN_EXAMPLE: &str = "\
Example:
  pgkeep teardown -d postgres://app@db.internal/shop";
