//! What is asked of the store for the objects that are written: a storage class, encryption with
//! keys of the store's, a lock.
//!
//! Not everything gets all of it. A class is for packs: the rest is small and read by every run. A
//! lock is for what a backup is made of, and for what a reader needs to believe it; leases and
//! prune lists come and go, and a lock would make every prune wait for them.

use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types;
use pgkeep_format::name::ObjectName;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

/// What is asked for objects that are written; nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectOptions {
    /// The storage class of packs, by the store's own name for it.
    pub storage_class: Option<String>,
    /// Encryption by the store, of all objects.
    pub encryption: Option<StoreEncryption>,
    /// Whether objects that backups need cannot be removed for a time.
    pub lock: Option<ObjectLock>,
}

/// How the store encrypts what it stores; besides what pgkeep seals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreEncryption {
    /// With a key that the store keeps.
    Aes256,
    /// With a key of a key service, by its id; the store's own where none is named.
    Kms(Option<String>),
}

/// A lock on an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLock {
    /// Who may lift it.
    pub mode: LockMode,
    /// How long it holds, in days from when the object is written.
    pub days: NonZeroU32,
}

/// Who may lift a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Whoever has a right of its own for that.
    Governance,
    /// Nobody.
    Compliance,
}

impl ObjectOptions {
    /// Asks for it when `name` is written.
    pub(super) fn ask(
        &self,
        mut put: PutObjectFluentBuilder,
        name: &ObjectName,
        now: SystemTime,
    ) -> PutObjectFluentBuilder {
        if let Some(class) = self.storage_class.as_deref().filter(|_| is_pack(name)) {
            put = put.storage_class(types::StorageClass::from(class));
        }
        put = self.ask_encryption(put);
        if let Some(lock) = self.lock.filter(|_| stays(name)) {
            let mode = match lock.mode {
                LockMode::Governance => types::ObjectLockMode::Governance,
                LockMode::Compliance => types::ObjectLockMode::Compliance,
            };
            let until = now + Duration::from_secs(u64::from(lock.days.get()) * 24 * 3600);
            // Who locks has to name the checksum that goes with it, besides sending it.
            put = put
                .checksum_algorithm(types::ChecksumAlgorithm::Crc32)
                .object_lock_mode(mode)
                .object_lock_retain_until_date(DateTime::from(until));
        }
        put
    }

    /// Asks for encryption, which everything gets.
    pub(super) fn ask_encryption(&self, put: PutObjectFluentBuilder) -> PutObjectFluentBuilder {
        match &self.encryption {
            None => put,
            Some(StoreEncryption::Aes256) => {
                put.server_side_encryption(types::ServerSideEncryption::Aes256)
            }
            Some(StoreEncryption::Kms(key)) => put
                .server_side_encryption(types::ServerSideEncryption::AwsKms)
                .set_ssekms_key_id(key.clone()),
        }
    }
}

/// Whether nearly all bytes are in such objects.
fn is_pack(name: &ObjectName) -> bool {
    matches!(name, ObjectName::Pack(_) | ObjectName::ChangePack(_))
}

/// Whether an object is there to stay.
fn stays(name: &ObjectName) -> bool {
    !matches!(name, ObjectName::Lease(_) | ObjectName::PruneList(_))
}
