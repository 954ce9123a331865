//! Options that name a repository, how to reach it, and the key to read or write it.

use clap::Args;
use pgkeep_engine::repository::Head;
use std::path::PathBuf;

/// Where a repository lies.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Repository")]
pub(crate) struct PlaceArgs {
    /// The repository: a directory, or s3://BUCKET/PREFIX [env: PGKEEP_REPO]
    ///
    /// Without it and PGKEEP_REPO, BACKUP_BUCKET names a bucket. Credentials for a bucket are found
    /// as AWS's own tools find them: AWS_ACCESS_KEY_ID and its like, AWS_PROFILE, web identity, the
    /// machine's role.
    #[arg(long, value_name = "DIR")]
    pub(crate) repo: Option<PathBuf>,

    /// The endpoint of a bucket that is not at AWS [env: AWS_ENDPOINT_URL]
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,

    /// The region of a bucket [env: AWS_REGION]
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,

    /// Certificates to trust for a bucket instead of the machine's, in PEM [env: AWS_CA_BUNDLE]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
}

/// Which repository, read with which identity.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Repository")]
pub(crate) struct RepositoryArgs {
    /// Where it lies.
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    /// The identity that can read it [env: PGKEEP_IDENTITY]
    ///
    /// Without it pgkeep looks for REPOSITORY-ID.identity in $XDG_CONFIG_HOME/pgkeep, or in
    /// ~/.config/pgkeep, where `pgkeep init` puts it.
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,

    /// Fail unless the repository has this: settings@N, a backup, or STREAM@LSN; may be repeated
    ///
    /// What list, verify and backup print as head, kept somewhere else, tells whether somebody put an
    /// older state of the repository back, or removed its newest backup.
    #[arg(long = "expect-head", value_name = "HEAD")]
    pub(crate) expected: Vec<Head>,
}

/// Which repository, written with which credential.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Repository")]
pub(crate) struct WritingArgs {
    /// Where it lies.
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    /// The credential to sign with [env: PGKEEP_WRITER]
    ///
    /// Without it pgkeep looks for REPOSITORY-ID.writer in $XDG_CONFIG_HOME/pgkeep, or in
    /// ~/.config/pgkeep, where `pgkeep init` puts it.
    #[arg(long, value_name = "FILE")]
    pub(crate) writer: Option<PathBuf>,
}
