//! `pgkeep forget` and `pgkeep prune`.

use super::{RepositoryArgs, WritingArgs, values};
use clap::Args;
use pgkeep_engine::forget::TagRule;
use std::time::Duration;

/// Forget backups by rule, or by name.
///
/// A forgotten backup cannot be restored any more; what it alone needed is removed by
/// `pgkeep prune`. The rules hold for each database of its own, and a backup is kept that any of
/// them keeps. Of the hours, days, weeks, months and years that have backups, the newest backup of
/// each is kept, in the machine's time zone (TZ). Ages are counted from the newest backup. The last
/// good backup of a database is kept always.
///
/// With rules, change streams are cut too: the changes stay that a kept backup needs.
#[derive(Debug, Args)]
#[command(after_help = FORGET_EXAMPLE)]
pub(crate) struct ForgetArgs {
    /// Backups to forget, by the first digits of their ids, instead of rules
    #[arg(value_name = "ID")]
    pub(crate) backups: Vec<String>,

    /// Which repository.
    #[command(flatten)]
    pub(crate) repository: RepositoryArgs,

    /// What to keep.
    #[command(flatten)]
    pub(crate) rules: RulesArgs,

    /// Say what would be forgotten and why, and forget nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Forget named backups even where no good one of their database is left
    #[arg(long, requires = "backups")]
    pub(crate) last_too: bool,
}

const FORGET_EXAMPLE: &str = "\
Example:
  pgkeep forget --repo /var/backups/shop --keep-daily 7 --keep-weekly 5 --keep-monthly 12 \\
      --keep-tag deploy=1y --dry-run

The names of databases are shown where the identity is there; nothing else needs it.";

/// Which backups are kept.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Keep")]
#[group(multiple = true, conflicts_with = "backups")]
pub(crate) struct RulesArgs {
    /// The newest N
    #[arg(long, value_name = "N", default_value_t)]
    pub(crate) keep_last: u32,

    /// The newest of each hour, for N hours
    #[arg(long, value_name = "N", default_value_t)]
    pub(crate) keep_hourly: u32,

    /// The newest of each day, for N days
    #[arg(long, value_name = "N", default_value_t)]
    pub(crate) keep_daily: u32,

    /// The newest of each week, for N weeks
    #[arg(long, value_name = "N", default_value_t)]
    pub(crate) keep_weekly: u32,

    /// The newest of each month, for N months
    #[arg(long, value_name = "N", default_value_t)]
    pub(crate) keep_monthly: u32,

    /// The newest of each year, for N years
    #[arg(long, value_name = "N", default_value_t)]
    pub(crate) keep_yearly: u32,

    /// All that are at most this much older than the newest, such as 10d or 1y6m
    #[arg(long, value_name = "AGE", value_parser = values::age)]
    pub(crate) keep_within: Option<Duration>,

    /// Changes of this long before the end of a stream [default: as long as a kept backup needs them]
    ///
    /// With the backup that they begin with. Older backups that are kept can then be restored as
    /// they are, and not to moments after them.
    #[arg(long, value_name = "AGE", value_parser = values::age)]
    pub(crate) keep_changes: Option<Duration>,

    /// All with a tag (KEY, VALUE or KEY=VALUE), for this long
    #[arg(long = "keep-tag", value_name = "TAG=AGE", value_parser = values::tag_rule)]
    pub(crate) keep_tags: Vec<TagRule>,
}

/// Remove what no backup and no change stream needs any more.
///
/// It may run beside backups and streams, from any host, and be stopped at any time. What a running
/// backup may still rely on is removed by a later prune. Packs of which little is needed are written
/// again without the rest. Nothing is decrypted: a writer's credential is enough.
#[derive(Debug, Args)]
#[command(after_help = PRUNE_EXAMPLE)]
pub(crate) struct PruneArgs {
    /// Which repository.
    #[command(flatten)]
    pub(crate) repository: WritingArgs,

    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Copy at most this much into new packs, such as 10GB
    #[arg(long, value_name = "SIZE", value_parser = values::bytes)]
    pub(crate) max_repack: Option<u64>,

    /// Take a writer for dead of which nothing was heard for so long, such as 24h
    ///
    /// A backup that was taken for dead and is not fails at its end, and stores nothing that could
    /// be incomplete.
    #[arg(long, value_name = "AGE", value_parser = values::age, default_value = "24h")]
    pub(crate) dead_after: Duration,
}

const PRUNE_EXAMPLE: &str = "\
Example:
  pgkeep prune --repo /var/backups/shop --max-repack 10GB";
