//! A store in memory, for tests.

use super::{Store, StoredObject, Upload, not_found, too_short};
use crate::{Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use pgkeep_format::name::ObjectName;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

type Objects = Arc<Mutex<BTreeMap<ObjectName, Bytes>>>;

/// A store that is gone with the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryStore {
    objects: Objects,
}

impl MemoryStore {
    /// Works on the objects themselves, as damage and attackers do.
    pub(crate) fn tamper<T>(&self, with: impl FnOnce(&mut BTreeMap<ObjectName, Bytes>) -> T) -> T {
        with(&mut self.objects.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    async fn create(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        Ok(Box::new(MemoryUpload { objects: self.objects.clone(), name: *name, bytes: Vec::new() }))
    }

    async fn read(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes> {
        let object = self.tamper(|objects| objects.get(name).cloned());
        let object = object.ok_or_else(|| not_found(self, name))?;
        let len = object.len() as u64;
        if range.end > len || range.start > range.end {
            return Err(too_short(name, range.end, len));
        }
        let bound = |at: u64| usize::try_from(at).map_err(|_| too_short(name, range.end, len));
        Ok(object.slice(bound(range.start)?..bound(range.end)?))
    }

    async fn len(&self, name: &ObjectName) -> Result<Option<u64>> {
        Ok(self.tamper(|objects| objects.get(name).map(|object| object.len() as u64)))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        Ok(self.tamper(|objects| {
            let all = objects
                .iter()
                .map(|(name, object)| StoredObject { name: *name, len: object.len() as u64 });
            all.filter(|object| object.name.to_string().starts_with(prefix)).collect()
        }))
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        self.tamper(|objects| objects.remove(name));
        Ok(())
    }
}

struct MemoryUpload {
    objects: Objects,
    name: ObjectName,
    bytes: Vec<u8>,
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        if objects.contains_key(&self.name) {
            let message = format!("object \"{}\" exists already", self.name);
            return Err(Error::new(ErrorKind::AlreadyExists, message));
        }
        objects.insert(self.name, self.bytes.into());
        Ok(())
    }
}
