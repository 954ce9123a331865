//! `pgkeep init`.

use super::PlaceArgs;
use clap::Args;
use std::path::PathBuf;

/// Make a repository and its keys.
///
/// Two files are made, for their owner's eyes only (mode 0600). The identity reads backups and
/// owns the repository: keep it, and keep a copy on another machine, for without it nothing can
/// ever be read. The writer credential lets this machine add backups and reads none of them; it
/// is written to REPOSITORY-ID.writer in $XDG_CONFIG_HOME/pgkeep, or in ~/.config/pgkeep.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct InitArgs {
    /// Where to make it; a directory must be empty or not exist.
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    /// Encrypt for this age recipient instead of a new one; may be repeated
    ///
    /// The holder of any of the recipients' age identities can read every backup. Without
    /// this option pgkeep makes an age identity and encrypts for it.
    #[arg(long = "recipient", value_name = "age1…", help_heading = "Keys")]
    pub(crate) recipients: Vec<String>,

    /// Where to write the identity; never overwritten, never inside the repository
    ///
    /// Without this option it is written to REPOSITORY-ID.identity in
    /// $XDG_CONFIG_HOME/pgkeep, or in ~/.config/pgkeep.
    #[arg(long, value_name = "FILE", help_heading = "Keys")]
    pub(crate) identity_out: Option<PathBuf>,

    /// Store everything in plain; checksums and signatures stay
    #[arg(long, conflicts_with = "recipients", help_heading = "Keys")]
    pub(crate) no_encryption: bool,
}

const EXAMPLE: &str = "\
Example:
  pgkeep init --repo /var/backups/shop --identity-out /media/stick/shop.identity";
