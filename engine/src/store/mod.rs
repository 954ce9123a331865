//! Where bytes lie: objects that are written once, under names that are never used twice.
//!
//! A store knows nothing of what is in an object. Guarantees that every store gives, and
//! that the suite in `contract` holds it to:
//!
//! - an object is there whole or not at all, whenever the process or the machine stops;
//! - once [`Upload::finish`] has returned, the object survives both;
//! - an upload that is dropped, or fails, leaves nothing under the object's name.

#[cfg(test)]
mod contract;
mod counted;
mod limited;
mod local;
#[cfg(test)]
mod memory;
mod pace;
#[cfg(feature = "s3")]
mod s3;
mod single_file;

pub use counted::Counted;
pub use limited::Limited;
pub use local::LocalStore;
#[cfg(test)]
pub(crate) use memory::MemoryStore;
pub use pace::{RATE_MIN, Rates};
#[cfg(feature = "s3")]
pub use s3::{
    Found, LockMode, ObjectLock, ObjectOptions, S3Address, S3Options, S3Store, StoreEncryption,
    StoreReport,
};
pub use single_file::{SingleFile, SingleFileWriter};

use crate::{Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use pgkeep_format::name::ObjectName;
use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

/// An object as a listing shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredObject {
    /// Its name.
    pub name: ObjectName,
    /// Its bytes.
    pub len: u64,
}

/// A place for objects.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// Where it is, for people: a path or an address, without secrets.
    fn location(&self) -> String;

    /// Begins to write an object.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when the name is taken (this may also come from
    /// [`Upload::finish`]; a bucket cannot tell, and overwrites), [`ErrorKind::StoreFull`],
    /// [`ErrorKind::Store`], [`ErrorKind::StoreUnavailable`], as all that follow.
    async fn create(&self, name: &ObjectName) -> Result<Box<dyn Upload>>;

    /// Reads a range of an object, whole.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such object, [`ErrorKind::Damaged`] when it
    /// ends before the range does, [`ErrorKind::Store`].
    async fn read(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes>;

    /// The length of an object in bytes; absent when there is no such object.
    ///
    /// # Errors
    /// [`ErrorKind::Store`].
    async fn len(&self, name: &ObjectName) -> Result<Option<u64>>;

    /// All objects whose names begin with `prefix`, in no order. What is there but bears
    /// no name of the format is left out.
    ///
    /// # Errors
    /// [`ErrorKind::Store`].
    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>>;

    /// Removes an object, durably; that there is none is no error, for a try may be repeated
    /// whose answer was lost.
    ///
    /// # Errors
    /// [`ErrorKind::Retained`] when the store does not let the object go, [`ErrorKind::Store`].
    async fn delete(&self, name: &ObjectName) -> Result<()>;

    /// Removes what uploads left that were cut off by a crash, as far as nothing was written to it
    /// for so long. Stores that leave nothing have nothing to do.
    ///
    /// # Errors
    /// [`ErrorKind::Store`].
    async fn remove_unfinished(&self, _idle: Duration) -> Result<()> {
        Ok(())
    }
}

/// An object being written; dropping it gives it up.
#[async_trait]
pub trait Upload: Send + Sync {
    /// Appends bytes.
    ///
    /// # Errors
    /// [`ErrorKind::StoreFull`] or [`ErrorKind::Store`]; the upload is then good for
    /// nothing but dropping.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes the object exist, durably.
    ///
    /// # Errors
    /// As [`Store::create`].
    async fn finish(self: Box<Self>) -> Result<()>;
}

/// Writes a whole object.
///
/// # Errors
/// As [`Store::create`].
pub async fn put(store: &dyn Store, name: &ObjectName, bytes: Bytes) -> Result<()> {
    let mut upload = store.create(name).await?;
    upload.write(bytes).await?;
    upload.finish().await
}

/// Reads a whole object of at most `limit` bytes.
///
/// # Errors
/// As [`Store::read`]; [`ErrorKind::Damaged`] when it is larger.
pub async fn get(store: &dyn Store, name: &ObjectName, limit: u64) -> Result<Bytes> {
    let Some(len) = store.len(name).await? else {
        return Err(not_found(store, name));
    };
    if len > limit {
        return Err(Error::new(
            ErrorKind::Damaged,
            format!("object \"{name}\" has {len} bytes, at most {limit} are allowed"),
        ));
    }
    store.read(name, 0..len).await
}

/// The error for an object that is not there.
pub(crate) fn not_found(store: &dyn Store, name: &ObjectName) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("object \"{name}\" is not in the repository \"{}\"", store.location()),
    )
}

/// The error for an object that ends too early.
pub(crate) fn too_short(name: &ObjectName, end: u64, len: u64) -> Error {
    Error::new(
        ErrorKind::Damaged,
        format!("object \"{name}\" is truncated: byte {end} was wanted, it has {len}"),
    )
}
