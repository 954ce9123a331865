//! Backups as the repository knows them: listed, found, read, and made to exist.

use super::{ChunkReader, Repository, keys, signed};
use crate::seal::{DataKey, Sealer, chunk_id};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use pgkeep_format::cbor;
use pgkeep_format::entry::Entry;
use pgkeep_format::frame::{FrameHeader, FrameType, Suite};
use pgkeep_format::id::BackupId;
use pgkeep_format::key::KeyMaterial;
use pgkeep_format::manifest::{
    BackupKind, ClearPart, Database, SealedPart, decode_body, encode_body,
};
use pgkeep_format::name::{BACKUPS, ObjectName};
use pgkeep_format::object::ObjectType;
use pgkeep_format::stream::Stream;

/// Databases that an error names at most.
const DATABASES_NAMED_MAX: usize = 10;
/// Bytes of all entries of a database together.
const ENTRIES_LEN_MAX: usize = 2 << 30;

/// A backup's manifest, proven by its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// What it says in clear.
    pub clear: ClearPart,
    /// What it says under the seal; absent without the identity.
    pub sealed: Option<SealedPart>,
    /// Bytes of the manifest.
    pub manifest_len: u64,
}

/// All backups of a repository.
#[derive(Debug)]
pub struct Backups {
    /// Those that can be read, oldest first.
    pub good: Vec<Backup>,
    /// Those that cannot, and why.
    pub unreadable: Vec<(BackupId, Error)>,
}

/// What makes a backup exist.
#[derive(Debug, Clone)]
pub struct FinishedBackup {
    /// The clear part.
    pub clear: ClearPart,
    /// The sealed part.
    pub sealed: SealedPart,
}

impl Repository {
    /// Reads all manifests.
    ///
    /// # Errors
    /// [`ErrorKind::Store`]; a manifest that cannot be read is named in the result.
    pub async fn backups(&self) -> Result<Backups> {
        let mut backups = Backups { good: Vec::new(), unreadable: Vec::new() };
        let read = self.for_each_backup(|id, backup| match backup {
            Ok(backup) => backups.good.push(backup),
            Err(error) => backups.unreadable.push((id, error)),
        });
        read.await?;
        backups.good.sort_by_key(|backup| (backup.clear.finished_at, backup.clear.id));
        backups.unreadable.sort_by_key(|(id, _)| *id);
        Ok(backups)
    }

    /// Reads all manifests, and holds one at a time.
    ///
    /// # Errors
    /// [`ErrorKind::Store`]; what is wrong with one that cannot be read is given in its place.
    pub(crate) async fn for_each_backup(
        &self,
        mut each: impl FnMut(BackupId, Result<Backup>) + Send,
    ) -> Result<()> {
        for object in self.store().list(BACKUPS).await? {
            let ObjectName::Backup(id) = object.name else { continue };
            match self.backup(id).await {
                Err(error) if error.is_of_store() => return Err(error),
                // Forgotten meanwhile; some stores list for a while what is gone.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                backup => each(id, backup),
            }
        }
        Ok(())
    }

    /// Reads one manifest.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Damaged`], [`ErrorKind::Untrusted`].
    pub async fn backup(&self, id: BackupId) -> Result<Backup> {
        let name = ObjectName::Backup(id);
        let body = self.read_of_writer(&name, ObjectType::Manifest).await?;
        let damaged = |error| Error::undecodable(format!("object \"{name}\""), error);
        let (clear, frame) = decode_body(&body).map_err(damaged)?;
        if clear.id != id {
            let message = format!("object \"{name}\" is the manifest of backup {}", clear.id);
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        if clear.kind == BackupKind::Physical {
            let message = format!("backup {id} is of a kind that this version does not read");
            return Err(Error::new(ErrorKind::UnsupportedFormat, message)
                .hint("Use a newer version of pgkeep."));
        }
        let header = FrameHeader::decode(frame).map_err(damaged)?;
        // Whoever has no key still sees the clear part.
        let sealed = if header.suite != Suite::None && !self.inner.keys.reads() {
            None
        } else {
            let opened = self.open_frame(header, Bytes::copy_from_slice(frame)).await?;
            let sealed: SealedPart = cbor::decode("manifest", &opened.plain).map_err(damaged)?;
            sealed.validate().map_err(damaged)?;
            Some(sealed)
        };
        Ok(Backup { clear, sealed, manifest_len: body.len() as u64 })
    }

    /// Finds a backup by the first digits of its id, or the newest by `latest`, which is never a
    /// copy of tables for a change stream.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none, [`ErrorKind::Usage`] when several begin
    /// so; what reading its manifest gives.
    pub async fn find(&self, wanted: &str) -> Result<Backup> {
        let hint = "Run: pgkeep list";
        if wanted == "latest" {
            let backups = self.backups().await?;
            if let Some((id, error)) = backups.unreadable.into_iter().next() {
                let message = format!("backup {id} cannot be read, it may be the latest");
                return Err(Error::new(error.kind(), message)
                    .because(error)
                    .hint("Name a backup that can be read: pgkeep list"));
            }
            let is_backup = |backup: &Backup| backup.clear.kind != BackupKind::Copy;
            return backups.good.into_iter().rfind(is_backup).ok_or_else(|| {
                let message = format!("repository \"{}\" has no backup", self.store().location());
                Error::new(ErrorKind::NotFound, message).hint("Run: pgkeep backup")
            });
        }
        let mut matching = Vec::new();
        for object in self.store().list(BACKUPS).await? {
            if let ObjectName::Backup(id) = object.name
                && !wanted.is_empty()
                && id.to_string().starts_with(wanted)
            {
                matching.push(id);
            }
        }
        match matching[..] {
            [id] => self.backup(id).await,
            [] => {
                let message = format!("backup \"{wanted}\" does not exist");
                Err(Error::new(ErrorKind::NotFound, message).hint(hint))
            }
            _ => {
                let message = format!("{} backups begin with \"{wanted}\"", matching.len());
                Err(Error::new(ErrorKind::Usage, message).hint(hint))
            }
        }
    }

    /// Makes and stores a data key for one run; absent where nothing is encrypted.
    ///
    /// # Errors
    /// What writing to the store gives.
    pub async fn new_data_key(&self) -> Result<Option<(DataKey, u64)>> {
        if !self.config().encrypted {
            return Ok(None);
        }
        let key = DataKey::generate()?;
        let material = KeyMaterial::Data(key.key);
        let recipients = &self.config().recipients;
        let (_, bytes) =
            keys::write(self.store(), self.id(), key.id, &material, recipients).await?;
        Ok(Some((key, bytes.len() as u64)))
    }

    /// Writes the manifest. All that it names must be durable; when this returns, the
    /// backup exists. Returns the manifest's length in bytes.
    ///
    /// # Errors
    /// What writing to the store gives.
    pub(super) async fn store_manifest(
        &self,
        backup: &FinishedBackup,
        sealer: &Sealer,
    ) -> Result<u64> {
        let plain = cbor::encode(&backup.sealed);
        let id = chunk_id(self.secrets()?, FrameType::Manifest, 0, &plain);
        let frame = sealer.seal(FrameType::Manifest, id, false, &plain)?;
        let body = encode_body(&backup.clear, &frame);
        let name = ObjectName::Backup(backup.clear.id);
        let signing = self.signing_key()?;
        signed::write(self.store(), &name, ObjectType::Manifest, self.id(), &body, signing).await
    }
}

impl ChunkReader {
    /// Reads the entries of a stream of entries: [`Database::entries_stream`] or
    /// [`SealedPart::globals_stream`].
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`].
    pub async fn entries(&self, backup: &Backup, stream: u32) -> Result<Vec<Entry>> {
        let damaged = |why: &str| Error::new(ErrorKind::Damaged, format!("entries {why}"));
        let mut entries: Vec<Entry> = Vec::new();
        let read = self.for_each_entry(backup, stream, |entry| {
            let position = u32::try_from(entries.len()).map_err(|_| damaged("are too many"))?;
            if entry.depends_on.iter().any(|needed| *needed >= position) {
                return Err(damaged("do not come in the order of their dependencies"));
            }
            entries.push(entry);
            Ok(())
        });
        read.await?;
        let refers_outside = |entry: &Entry| {
            entry.belongs_to.is_some_and(|whole| whole as usize >= entries.len())
                || entry
                    .data
                    .as_ref()
                    .is_some_and(|data| data.stream as usize >= backup.clear.streams.len())
        };
        if entries.iter().any(refers_outside) {
            return Err(damaged("refer to what is not there"));
        }
        Ok(entries)
    }

    /// Gives each entry of a stream of entries; holds a chunk of them at a time.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`]; what `each` gives.
    pub(crate) async fn for_each_entry(
        &self,
        backup: &Backup,
        stream: u32,
        mut each: impl FnMut(Entry) -> Result<()> + Send,
    ) -> Result<()> {
        let stream = backup.stream(stream)?;
        // Where an entry goes on, what is there of it.
        let (mut held, mut len) = (Vec::new(), 0);
        for reference in self.references(stream).await? {
            let plain = self.read_whole(&reference, FrameType::Entries).await?;
            len += plain.len();
            if len > ENTRIES_LEN_MAX {
                return Err(Error::new(ErrorKind::Damaged, "stream is longer than it may be"));
            }
            match held.is_empty() {
                true => held = plain,
                false => held.extend_from_slice(&plain),
            }
            if reference.row_continues {
                continue;
            }
            let mut rest = &held[..];
            while !rest.is_empty() {
                let (entry, len) = cbor::decode_first::<Entry>("entry", rest)
                    .map_err(|error| Error::undecodable("entry", error))?;
                each(entry)?;
                rest = &rest[len..];
            }
            held.clear();
        }
        Ok(())
    }
}

impl Backup {
    /// The stream at a position that an entry gives.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when there is none.
    pub fn stream(&self, position: u32) -> Result<&Stream> {
        self.clear.streams.get(position as usize).ok_or_else(|| {
            let message = "backup refers to a stream of chunks that is not there";
            Error::new(ErrorKind::Damaged, message)
        })
    }

    /// The stream of its roles and tablespaces.
    ///
    /// # Errors
    /// [`ErrorKind::WrongKey`] when it was read without the identity,
    /// [`ErrorKind::NotFound`] when it has none.
    pub fn globals_stream(&self) -> Result<u32> {
        self.sealed_part()?.globals_stream.ok_or_else(|| {
            let message = format!("backup {} holds no roles and tablespaces", self.clear.id);
            Error::new(ErrorKind::NotFound, message)
                .hint("Take one that does: pgkeep backup --globals")
        })
    }

    /// The database of this name, or without a name the only one.
    ///
    /// # Errors
    /// [`ErrorKind::WrongKey`] when it was read without the identity,
    /// [`ErrorKind::NotFound`] when it has no such database, [`ErrorKind::Usage`] when it has
    /// several and none was named.
    pub fn database(&self, name: Option<&str>) -> Result<&Database> {
        let databases = &self.sealed_part()?.databases;
        let listed = || {
            let names = databases.iter().map(|database| format!("\"{}\"", database.name));
            let names: Vec<String> = names.take(DATABASES_NAMED_MAX).collect();
            format!("It has {}.", names.join(", "))
        };
        match (name, &databases[..]) {
            (None, [database]) => Ok(database),
            (None, _) => {
                let message = format!("backup {} has {} databases", self.clear.id, databases.len());
                Err(Error::new(ErrorKind::Usage, message)
                    .hint("Name one: --database NAME")
                    .hint(listed()))
            }
            (Some(name), _) => {
                databases.iter().find(|database| database.name == name).ok_or_else(|| {
                    let message = format!("backup {} has no database \"{name}\"", self.clear.id);
                    Error::new(ErrorKind::NotFound, message).hint(listed())
                })
            }
        }
    }

    /// What the manifest says under the seal.
    ///
    /// # Errors
    /// [`ErrorKind::WrongKey`] when it was read without the identity.
    pub fn sealed_part(&self) -> Result<&SealedPart> {
        self.sealed.as_ref().ok_or_else(|| {
            let message =
                format!("backup {} is encrypted and no identity was given", self.clear.id);
            Error::new(ErrorKind::WrongKey, message)
                .hint("Give the identity that was made with this repository: --identity FILE")
        })
    }
}
