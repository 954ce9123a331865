//! `pgkeep verify`.

use super::RepositoryArgs;
use clap::Args;

/// Read, decrypt and recompute everything that is stored.
///
/// Every object is read, every checksum, signature and seal is checked, and every chunk's name is
/// computed again from its rows. Without an identity only what needs no key is checked, and pgkeep
/// says so. Each problem is printed; any makes the exit code 1.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct VerifyArgs {
    /// Which repository.
    #[command(flatten)]
    pub(crate) repository: RepositoryArgs,

    /// Only what this backup needs: the first digits of its id, or latest
    #[arg(long, value_name = "ID", help_heading = "Repository")]
    pub(crate) backup: Option<String>,
}

const EXAMPLE: &str = "\
Example:
  pgkeep verify --repo /var/backups/shop --backup latest";
