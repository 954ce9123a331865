//! `pgkeep repair`.

use super::{WritingArgs, values};
use clap::{Args, ValueEnum};
use pgkeep_format::id::PackId;

/// Mend what can be: make indexes anew, save what is good of damaged packs.
///
/// `repair index` writes new indexes for packs that no readable index names, and removes indexes
/// that cannot be read or name packs that are gone.
///
/// `repair packs` reads packs and compares checksums. The good chunks of a damaged pack are moved
/// into a new one, then it is removed. What is lost is named with the backups that need it; no index
/// names it any more, so the next backup stores it again if the rows are still the same, and older
/// backups that need it are whole again too.
///
/// Both need a writer credential and never the identity, change nothing that they have not written
/// anew first, and may run beside backups.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct RepairArgs {
    /// What to repair
    #[arg(value_enum, value_name = "WHAT")]
    pub(crate) what: Repaired,

    /// Which repository.
    #[command(flatten)]
    pub(crate) repository: WritingArgs,

    /// Only this pack, as verify names it; may be repeated
    #[arg(long = "pack", value_name = "PACK", value_parser = values::pack, help_heading = "Packs")]
    pub(crate) packs: Vec<PackId>,

    /// Take chunks out too whose key is lost, so that they are stored again
    ///
    /// Without it they stay, for a copy of the key may turn up; until then nobody can read them, and
    /// backups take them for stored.
    #[arg(long, help_heading = "Packs")]
    pub(crate) lost_keys: bool,

    /// Tell what would be done, change nothing
    #[arg(long, help_heading = "Packs")]
    pub(crate) dry_run: bool,
}

/// What is repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Repaired {
    /// Indexes, from packs
    Index,
    /// Damaged packs
    Packs,
}

const EXAMPLE: &str = "\
Example:
  pgkeep repair packs --repo /var/backups/shop --dry-run
  pgkeep repair index --repo /var/backups/shop";
