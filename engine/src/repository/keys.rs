//! The keys of a repository: which objects hold them, and what the identity opens.

use super::Access;
use crate::seal::{AgeIdentity, DataKey, Secrets, recipient_of, unwrap_key, wrap_key};
use crate::store::{self, Store};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use pgkeep_format::config::Config;
use pgkeep_format::id::{KeyId, RepositoryId};
use pgkeep_format::key::{self, KeyMaterial};
use pgkeep_format::limits;
use pgkeep_format::name::{KEYS, KeyName, ObjectName};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The name of the key object that holds the repository's secrets.
pub(super) const SECRETS: KeyId = KeyId([0xff; 16]);

/// Opens keys and keeps those that it opened.
#[derive(Debug, Clone)]
pub(super) struct KeyRing {
    repository: RepositoryId,
    identity: Option<AgeIdentity>,
    secrets: Option<Secrets>,
    /// Where each key lies; a key may be wrapped more than once.
    objects: Arc<Mutex<HashMap<KeyId, Vec<KeyName>>>>,
    opened: Arc<Mutex<HashMap<KeyId, DataKey>>>,
}

impl KeyRing {
    pub(super) async fn open(
        store: &dyn Store,
        repository: RepositoryId,
        config: &Config,
        access: &Access,
    ) -> Result<Self> {
        let mut ring = Self {
            repository,
            identity: access.identity.as_ref().and_then(|identity| identity.age.clone()),
            secrets: access.writer.as_ref().map(|writer| writer.secrets.clone()),
            objects: Arc::new(Mutex::new(list(store).await?)),
            opened: Arc::default(),
        };
        // The identity's word goes before the writer's: what it opens is signed for by the
        // recipients' choice, and a wrong identity must be noticed at once.
        if ring.identity.is_some() || !config.encrypted {
            match ring.read(store, SECRETS).await? {
                KeyMaterial::Secrets { naming, cut } => {
                    ring.secrets = Some(Secrets { naming, cut })
                }
                KeyMaterial::Data(_) => return Err(wrong_purpose(SECRETS)),
            }
        }
        Ok(ring)
    }

    pub(super) fn secrets(&self) -> Option<&Secrets> {
        self.secrets.as_ref()
    }

    /// The recipient of the identity that opens keys.
    pub(super) fn recipient(&self) -> Option<String> {
        self.identity.as_ref().map(recipient_of)
    }

    /// Whether there is an identity to open keys with.
    pub(super) fn reads(&self) -> bool {
        self.identity.is_some()
    }

    /// The objects that hold the repository's secrets: each may be wrapped for others.
    pub(super) fn secrets_objects(&self) -> impl Iterator<Item = ObjectName> {
        self.known_names(SECRETS).into_iter().map(ObjectName::Key)
    }

    fn known_names(&self, id: KeyId) -> Vec<KeyName> {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.get(&id).cloned().unwrap_or_default()
    }

    /// The objects that hold a key, also those that came after this was opened.
    async fn names(&self, store: &dyn Store, id: KeyId) -> Result<Vec<KeyName>> {
        let names = self.known_names(id);
        if !names.is_empty() {
            return Ok(names);
        }
        let objects = list(store).await?;
        *self.objects.lock().unwrap_or_else(PoisonError::into_inner) = objects;
        Ok(self.known_names(id))
    }

    /// A data key; opened once, then kept.
    pub(super) async fn data_key(&self, store: &dyn Store, id: KeyId) -> Result<DataKey> {
        if let Some(key) = self.opened.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(key.clone());
        }
        if self.identity.is_none() {
            return Err(no_identity());
        }
        let key = match self.read(store, id).await? {
            KeyMaterial::Data(key) => DataKey { id, key },
            KeyMaterial::Secrets { .. } => return Err(wrong_purpose(id)),
        };
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(opened.entry(id).or_insert(key).clone())
    }

    /// Reads a key from the first of its objects that opens.
    async fn read(&self, store: &dyn Store, id: KeyId) -> Result<KeyMaterial> {
        let names = self.names(store, id).await?;
        let read = self.read_any(store, id, &names).await;
        let failed = read.as_ref().is_err_and(|error| !error.is_of_store());
        if !failed {
            return read;
        }
        // The owner may have wrapped it again and removed what was listed.
        let now = list(store).await?.remove(&id).unwrap_or_default();
        if now == names {
            return read;
        }
        self.read_any(store, id, &now).await
    }

    /// Reads a key from the first of these objects that opens.
    pub(super) async fn read_any(
        &self,
        store: &dyn Store,
        id: KeyId,
        names: &[KeyName],
    ) -> Result<KeyMaterial> {
        let mut failure = None;
        for name in names {
            match self.read_object(store, *name).await {
                Ok(material) => return Ok(material),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| {
            let message = format!("key {id} is not in the repository \"{}\"", store.location());
            Error::new(ErrorKind::Damaged, message)
                .hint("What is sealed under a lost key cannot be read; look for copies of keys/.")
        }))
    }

    /// Reads a key from one object.
    pub(super) async fn read_object(
        &self,
        store: &dyn Store,
        name: KeyName,
    ) -> Result<KeyMaterial> {
        let object = ObjectName::Key(name);
        let bytes = store::get(store, &object, limits::KEY_OBJECT_LEN_MAX).await?;
        check(&object, name, &bytes)?;
        let content = if name.wrapped {
            let identity = self.identity.as_ref().ok_or_else(no_identity)?;
            unwrap_key(&bytes, identity)?
        } else {
            bytes.to_vec()
        };
        key::decode(&content, self.repository, name.id)
            .map_err(|error| Error::undecodable(format!("object \"{object}\""), error))
    }
}

/// All key objects by their keys.
pub(super) async fn list(store: &dyn Store) -> Result<HashMap<KeyId, Vec<KeyName>>> {
    let mut objects: HashMap<KeyId, Vec<KeyName>> = HashMap::new();
    for object in store.list(KEYS).await? {
        if let ObjectName::Key(name) = object.name {
            objects.entry(name.id).or_default().push(name);
        }
    }
    Ok(objects)
}

/// Compares a key object with the checksum in its name.
pub(super) fn check(object: &ObjectName, name: KeyName, bytes: &[u8]) -> Result<()> {
    if crc32fast::hash(bytes) == name.checksum {
        return Ok(());
    }
    let message = format!("object \"{object}\" has changed: its name says another checksum");
    Err(Error::new(ErrorKind::Damaged, message))
}

fn no_identity() -> Error {
    Error::new(ErrorKind::WrongKey, "no age identity was given to open keys with")
        .hint("Give the identity that was made with this repository: --identity FILE")
}

fn wrong_purpose(id: KeyId) -> Error {
    Error::new(ErrorKind::Damaged, format!("key {id} is of another purpose"))
}

/// Writes a key object: wrapped for the recipients, plain where there are none. Returns
/// its name and bytes.
pub(super) async fn write(
    store: &dyn Store,
    repository: RepositoryId,
    id: KeyId,
    material: &KeyMaterial,
    recipients: &[String],
) -> Result<(ObjectName, Bytes)> {
    let content = key::encode(repository, id, material);
    let wrapped = !recipients.is_empty();
    let bytes = if wrapped { wrap_key(&content, recipients)? } else { content };
    let name = KeyName { id, checksum: crc32fast::hash(&bytes), wrapped };
    let (name, bytes) = (ObjectName::Key(name), Bytes::from(bytes));
    store::put(store, &name, bytes.clone()).await?;
    Ok((name, bytes))
}
