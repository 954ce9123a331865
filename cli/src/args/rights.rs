//! `pgkeep key` and `pgkeep writer`.

use super::RepositoryArgs;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Say who can read: list, add, remove or replace the recipients of a repository's keys.
///
/// All but list need the whole identity that pgkeep init made, with the owner's secret. Keys are
/// wrapped again for the new recipients; no row is written again. A run that was stopped is run
/// again.
///
/// What a recipient has copied, keys or backups, it can read for ever: removing it only keeps from it
/// what comes later, and what it has not copied yet. Data keys and the naming key stay what they are.
#[derive(Debug, Args)]
#[command(after_help = KEY_EXAMPLE, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct KeyArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) action: KeyAction,
}

const KEY_EXAMPLE: &str = "\
Example:
  pgkeep key list --repo /var/backups/shop
  pgkeep key add age1… --repo /var/backups/shop
  pgkeep key rotate --identity-out new.identity --repo /var/backups/shop";

/// What `pgkeep key` does.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// List the recipients, and keys that are not wrapped for as many
    List {
        /// Which repository.
        #[command(flatten)]
        repository: RepositoryArgs,
    },
    /// Let a recipient read
    Add {
        /// The age recipient
        #[arg(value_name = "RECIPIENT")]
        recipient: String,

        /// Which repository.
        #[command(flatten)]
        repository: RepositoryArgs,

        /// Only what is written from now on; keys that are there are not wrapped again
        #[arg(long, help_heading = "Keys")]
        new_only: bool,
    },
    /// Take a recipient out, and delete what is wrapped for it
    Remove {
        /// The age recipient
        #[arg(value_name = "RECIPIENT")]
        recipient: String,

        /// Which repository.
        #[command(flatten)]
        repository: RepositoryArgs,

        /// Also the recipient of the identity in use
        #[arg(long, help_heading = "Keys")]
        force: bool,
    },
    /// Make a new identity in the place of the one in use
    ///
    /// The new identity file is written first. Where it is there from a run that was stopped, that
    /// run goes on. The owner's signing key, the data keys and the naming key stay the same.
    Rotate {
        /// Which repository.
        #[command(flatten)]
        repository: RepositoryArgs,

        /// Where to write the new identity
        #[arg(long, value_name = "FILE", help_heading = "Keys")]
        identity_out: PathBuf,
    },
}

/// Say who can write: list, add or revoke the writers of a repository.
///
/// A writer has a credential file: it adds backups and reads none, also not its own. Add and revoke
/// need the whole identity that pgkeep init made, with the owner's secret.
#[derive(Debug, Args)]
#[command(after_help = WRITER_EXAMPLE, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct WriterArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) action: WriterAction,
}

const WRITER_EXAMPLE: &str = "\
Example:
  pgkeep writer add db1 --out db1.writer --repo s3://acme-backups/shop
  pgkeep writer list --repo s3://acme-backups/shop
  pgkeep writer revoke db1 --repo s3://acme-backups/shop";

/// What `pgkeep writer` does.
#[derive(Debug, Subcommand)]
pub(crate) enum WriterAction {
    /// Make a credential for a host that can write and not read
    Add {
        /// A name, such as the host's [default: that of the file, without its extension]
        #[arg(value_name = "NAME")]
        name: Option<String>,

        /// Which repository.
        #[command(flatten)]
        repository: RepositoryArgs,

        /// Where to write the credential; never over a file
        #[arg(long, value_name = "FILE", help_heading = "Writer")]
        out: PathBuf,
    },
    /// List the writers, what they signed, and those that were revoked
    List {
        /// Which repository.
        #[command(flatten)]
        repository: RepositoryArgs,
    },
    /// Accept no more signatures of a writer
    ///
    /// Backups and streams that it signed until now stay good: the owner vouches for them. Whoever
    /// has the credential can sign nothing more that is believed, whatever date it says. Do not run
    /// it while that writer is at work: what it signs meanwhile is refused.
    Revoke {
        /// The writer: its name, or the first digits of its key
        #[arg(value_name = "WRITER")]
        writer: String,

        /// Which repository.
        #[command(flatten)]
        repository: RepositoryArgs,

        /// Vouch for nothing: the writer's backups are refused from now on; needs --yes
        #[arg(long, help_heading = "Writer")]
        distrust: bool,

        /// Do it without asking
        #[arg(long, help_heading = "Writer")]
        yes: bool,
    },
}
