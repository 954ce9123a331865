//! `pgkeep verify`.

use super::{RepositoryArgs, values};
use clap::Args;
use std::time::Duration;

/// Read, decrypt and recompute everything that is stored.
///
/// Every object is read, every checksum, signature and seal is checked, and every chunk's name is
/// computed again from its rows. Without an identity only what needs no key is checked, and pgkeep
/// says so. Each problem is printed with what it harms: backups, tables and rows, or a span of a
/// change stream. Any makes the exit code 1.
///
/// With --read-percent and --budget, packs that are not read are looked up: that they are there, as
/// long as they should be, and that every chunk of a backup is in one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct VerifyArgs {
    /// Which repository.
    #[command(flatten)]
    pub(crate) repository: RepositoryArgs,

    /// Only what this backup needs: the first digits of its id, or latest
    #[arg(long, value_name = "ID", conflicts_with_all = ["read_percent", "budget"],
          help_heading = "Repository")]
    pub(crate) backup: Option<String>,

    /// Read so many of a hundred packs, others each time; look the rest up
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100),
          help_heading = "Extent")]
    pub(crate) read_percent: Option<u8>,

    /// Compare checksums and signatures only, also where the identity is there
    ///
    /// Takes no time to decrypt and decompress. Manifests and entries are opened where the identity
    /// is there, so that tables are named.
    #[arg(long, help_heading = "Extent")]
    pub(crate) keyless: bool,

    /// Begin no other pack when so much time is over; begins with others each time
    #[arg(long, value_name = "TIME", value_parser = values::budget, help_heading = "Extent")]
    pub(crate) budget: Option<Duration>,
}

const EXAMPLE: &str = "\
Example:
  pgkeep verify --repo /var/backups/shop --backup latest
  pgkeep verify --repo s3://backups/shop --read-percent 5 --budget 10m";
