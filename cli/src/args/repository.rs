//! Options that name a repository, how to reach it, and the key to read or write it.

use super::values;
use clap::Args;
use pgkeep_engine::repository::Head;
use pgkeep_engine::store::{LockMode, ObjectLock, ObjectOptions, StoreEncryption};
use pgkeep_engine::{Error, ErrorKind, Result};
use std::num::{NonZeroU32, NonZeroU64};
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

    /// Write no faster than this, in bytes a second, such as 10M or 500K [env: PGKEEP_LIMIT_UPLOAD]
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    pub(crate) limit_upload: Option<NonZeroU64>,

    /// Read no faster than this, in bytes a second [env: PGKEEP_LIMIT_DOWNLOAD]
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    pub(crate) limit_download: Option<NonZeroU64>,

    /// What is asked for what is written.
    #[command(flatten)]
    pub(crate) objects: ObjectArgs,
}

/// What a bucket is asked for objects that are written. Few need it, so it is in the long help.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Objects that are written to a bucket")]
pub(crate) struct ObjectArgs {
    /// The storage class of packs, such as STANDARD_IA [env: PGKEEP_STORAGE_CLASS]
    ///
    /// What is not in packs is small, read by every run, and stays in the bucket's own class. Packs
    /// in a class that has to be thawed cannot be read, nor pruned, before they are.
    #[arg(long, value_name = "CLASS", hide_short_help = true)]
    pub(crate) storage_class: Option<String>,

    /// Encryption by the store: AES256 or aws:kms [env: PGKEEP_SSE]
    #[arg(long, value_name = "METHOD", value_parser = values::sse, hide_short_help = true)]
    pub(crate) sse: Option<Sse>,

    /// With aws:kms, the key, by its id or ARN [env: PGKEEP_SSE_KMS_KEY_ID]
    #[arg(long, value_name = "ID", hide_short_help = true)]
    pub(crate) sse_kms_key_id: Option<String>,

    /// Lock what backups need: GOVERNANCE or COMPLIANCE [env: PGKEEP_OBJECT_LOCK_MODE]
    ///
    /// The bucket must have been made for it. Leases and prune lists are not locked.
    #[arg(long, value_name = "MODE", value_parser = values::lock_mode, hide_short_help = true)]
    pub(crate) object_lock_mode: Option<LockMode>,

    /// For so many days from when it is written [env: PGKEEP_OBJECT_LOCK_DAYS]
    #[arg(long, value_name = "N", value_parser = values::days, hide_short_help = true)]
    pub(crate) object_lock_days: Option<NonZeroU32>,
}

/// How a store encrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sse {
    /// With a key of the store's.
    Aes256,
    /// With a key of a key service.
    Kms,
}

impl ObjectArgs {
    /// What they ask for.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when half of it is missing.
    pub(crate) fn options(&self) -> Result<ObjectOptions> {
        let usage = |message: &str| Err(Error::new(ErrorKind::Usage, message));
        let encryption = match (self.sse, &self.sse_kms_key_id) {
            (Some(Sse::Kms), key) => Some(StoreEncryption::Kms(key.clone())),
            (_, Some(_)) => return usage("a key of a key service needs --sse aws:kms"),
            (Some(Sse::Aes256), None) => Some(StoreEncryption::Aes256),
            (None, None) => None,
        };
        let lock = match (self.object_lock_mode, self.object_lock_days) {
            (Some(mode), Some(days)) => Some(ObjectLock { mode, days }),
            (None, None) => None,
            _ => return usage("--object-lock-mode and --object-lock-days go together"),
        };
        Ok(ObjectOptions { storage_class: self.storage_class.clone(), encryption, lock })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_lock_or_a_key_without_its_service_is_refused() {
        let whole = ObjectArgs {
            sse: Some(Sse::Kms),
            sse_kms_key_id: Some("k".to_owned()),
            object_lock_mode: Some(LockMode::Governance),
            object_lock_days: NonZeroU32::new(30),
            storage_class: None,
        };
        let asked = whole.options().unwrap();
        assert_eq!(asked.encryption, Some(StoreEncryption::Kms(Some("k".to_owned()))));
        assert!(asked.lock.is_some());
        for half in [
            ObjectArgs { sse: Some(Sse::Aes256), ..whole.clone() },
            ObjectArgs { sse: None, ..whole.clone() },
            ObjectArgs { object_lock_days: None, ..whole.clone() },
            ObjectArgs { object_lock_mode: None, ..whole },
        ] {
            assert_eq!(half.options().unwrap_err().kind(), ErrorKind::Usage, "{half:?}");
        }
        assert_eq!(ObjectArgs::default().options().unwrap(), ObjectOptions::default());
    }
}
