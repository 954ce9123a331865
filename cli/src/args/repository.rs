//! Options that name a repository and the key to read it.

use clap::Args;
use std::path::PathBuf;

/// Which repository, read with which identity.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Repository")]
pub(crate) struct RepositoryArgs {
    /// The repository: a directory, or a single-file backup [env: PGKEEP_REPO]
    #[arg(long, value_name = "DIR")]
    pub(crate) repo: Option<PathBuf>,

    /// The identity that can read it [env: PGKEEP_IDENTITY]
    ///
    /// Without it pgkeep looks for REPOSITORY-ID.identity in $XDG_CONFIG_HOME/pgkeep, or in
    /// ~/.config/pgkeep, where `pgkeep init` puts it.
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
}
