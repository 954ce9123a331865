//! `pgkeep copy`.

use super::{ObjectArgs, PlaceArgs, WritingArgs};
use clap::Args;
use std::path::PathBuf;

/// Copy backups into another repository: a copy offsite, with keys of its own.
///
/// Backups are read with the source's identity, and sealed and signed anew for the target, which
/// needs its writer credential alone. They keep their ids, times and tags. What the target has is
/// not stored again, and a copy that was stopped goes on when it is run again.
///
/// Change streams are not copied: run `pgkeep stream` into the target as well.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct CopyArgs {
    /// Where the source is.
    #[command(flatten)]
    pub(crate) source: SourceArgs,

    /// The repository to copy into.
    #[command(flatten)]
    pub(crate) repository: WritingArgs,

    /// Only this backup: the first digits of its id, or latest; may be repeated
    #[arg(long = "backup", value_name = "ID", help_heading = "Source")]
    pub(crate) backups: Vec<String>,
}

/// The repository to copy from.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Source")]
pub(crate) struct SourceArgs {
    /// The repository to copy from: a directory, a single file, or s3://BUCKET/PREFIX
    #[arg(long, value_name = "DIR")]
    from: PathBuf,

    /// The endpoint of the source's bucket, if not at AWS [env: AWS_ENDPOINT_URL]
    #[arg(long, value_name = "URL")]
    from_endpoint: Option<String>,

    /// The region of the source's bucket [env: AWS_REGION]
    #[arg(long, value_name = "REGION")]
    from_region: Option<String>,

    /// Certificates to trust for the source's bucket, in PEM [env: AWS_CA_BUNDLE]
    #[arg(long, value_name = "FILE")]
    from_ca_file: Option<PathBuf>,

    /// The identity that can read the source [env: PGKEEP_IDENTITY]
    #[arg(long, value_name = "FILE")]
    pub(crate) from_identity: Option<PathBuf>,
}

impl SourceArgs {
    /// Where the source lies, read as fast as the target may be.
    pub(crate) fn place(&self, target: &PlaceArgs) -> PlaceArgs {
        PlaceArgs {
            limit_upload: None,
            objects: ObjectArgs::default(),
            limit_download: target.limit_download,
            repo: Some(self.from.clone()),
            endpoint: self.from_endpoint.clone(),
            region: self.from_region.clone(),
            ca_file: self.from_ca_file.clone(),
        }
    }
}

const EXAMPLE: &str = "\
Example:
  pgkeep copy --from /var/backups/shop --repo s3://offsite/shop";
