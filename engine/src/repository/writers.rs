//! Who may write: added, listed, revoked by the owner.

use super::{Repository, WriterCredential, signed};
use crate::progress::{Event, Progress};
use crate::seal::SigningKey;
use crate::{Error, ErrorKind, Result, clock};
use futures_util::{StreamExt, stream};
use pgkeep_format::config::{Config, FormerWriter, Writer};
use pgkeep_format::id::{BackupId, ObjectDigest, VerifyKey};
use pgkeep_format::name::{BACKUPS, CONFIGS, INDEXES, ObjectName, STREAMS};
use pgkeep_format::object::{ObjectType, TAIL_LEN};
use std::collections::HashMap;
use std::sync::Arc;

/// Objects that are read at the same time.
const OBJECTS_AT_ONCE: usize = 16;
/// Bytes of a writer's name; it is a line of a text file and a cell of a table.
const NAME_LEN_MAX: usize = 255;
/// Digits of a key that a command must give at least.
const KEY_DIGITS_MIN: usize = 8;
/// Where the signer lies in a signed object's tail.
const SIGNER: std::ops::Range<usize> = 8..8 + VerifyKey::LEN;

/// A writer as the repository knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterReport {
    /// What its signatures are checked with.
    pub key: VerifyKey,
    /// A name for people.
    pub name: String,
    /// When the settings first named it, microseconds since 1970 UTC; absent where the old
    /// settings cannot be read.
    pub since: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
    /// Of one that was revoked: whether nothing that it signed is believed.
    pub distrusted: bool,
    /// Backups whose signature names it. The signatures are not checked for this list.
    pub backups: u64,
    /// Segments of change streams, likewise.
    pub segments: u64,
    /// Indexes, likewise.
    pub indexes: u64,
}

/// What a revocation would do, or did.
#[derive(Debug)]
pub struct Revocation {
    /// Whom it concerns.
    pub writer: Writer,
    /// The writer's backups.
    pub backups: Vec<BackupId>,
    /// The writer's segments of change streams.
    pub segments: u64,
    /// The writer's indexes.
    pub indexes: u64,
    /// Objects that cannot be read now, so that nobody can vouch for them, and why.
    pub unreadable: Vec<(ObjectName, Error)>,
    digests: Vec<ObjectDigest>,
}

impl Repository {
    /// Makes a writer's credential; it writes nothing until [`Repository::admit`].
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a name that cannot be, [`ErrorKind::AlreadyExists`] for one
    /// that a writer has, [`ErrorKind::WrongKey`] without the identity.
    pub fn new_writer(&self, name: &str) -> Result<WriterCredential> {
        self.owner_key()?;
        if name.trim().is_empty() || name.len() > NAME_LEN_MAX || name.contains(char::is_control) {
            let message = format!("\"{}\" is no name for a writer", name.escape_debug());
            return Err(Error::new(ErrorKind::Usage, message)
                .hint("Take a word or some, such as the host's name."));
        }
        if self.config().writers.iter().any(|writer| writer.name == name) {
            let message = format!("there is a writer \"{name}\" already");
            return Err(Error::new(ErrorKind::AlreadyExists, message)
                .hint("Take another name, or revoke that writer: pgkeep writer revoke NAME"));
        }
        Ok(WriterCredential {
            repository: self.id(),
            owner: self.inner.owner,
            name: name.to_owned(),
            signing: SigningKey::generate()?,
            secrets: self.secrets()?.clone(),
        })
    }

    /// Names a writer in the settings: from then on what it signs is accepted.
    ///
    /// # Errors
    /// [`ErrorKind::WrongKey`], [`ErrorKind::Changed`], and what writing to the store gives.
    pub async fn admit(&self, writer: &WriterCredential) -> Result<Self> {
        let writer = Writer { key: writer.signing.verify_key(), name: writer.name.clone() };
        self.change_settings(|config| config.writers.push(writer)).await
    }

    /// All writers, those that were revoked last.
    ///
    /// # Errors
    /// [`ErrorKind::Store`].
    pub async fn writers(&self) -> Result<Vec<WriterReport>> {
        let since = self.first_named().await?;
        let signed = self.count_by_signer().await?;
        let report = |key: VerifyKey, name: &str, former: Option<&FormerWriter>| {
            let [backups, segments, indexes] = signed.get(&key).copied().unwrap_or_default();
            WriterReport {
                key,
                name: name.to_owned(),
                since: since.get(&key).copied(),
                revoked_at: former.map(|former| former.revoked_at),
                distrusted: former.is_some_and(|former| former.vouchers.is_empty()),
                backups,
                segments,
                indexes,
            }
        };
        let now = self.config().writers.iter();
        let former = self.config().former_writers().iter();
        Ok(now
            .map(|writer| report(writer.key, &writer.name, None))
            .chain(former.map(|writer| report(writer.key, &writer.name, Some(writer))))
            .collect())
    }

    /// When each key was first named by settings of the owner.
    async fn first_named(&self) -> Result<HashMap<VerifyKey, i64>> {
        let trusted = |signer| signer == self.inner.owner;
        let mut since: HashMap<VerifyKey, i64> = HashMap::new();
        for object in self.store().list(CONFIGS).await? {
            let (store, kind) = (self.store(), ObjectType::Config);
            let body = match signed::read(store, &object.name, kind, self.id(), &trusted).await {
                Err(error) if error.is_of_store() => return Err(error),
                read => read,
            };
            // What cannot be read is left out here, and told by a verify.
            let Some(config) = body.ok().and_then(|body| Config::decode(&body).ok()) else {
                continue;
            };
            for writer in &config.writers {
                let first = since.entry(writer.key).or_insert(config.written_at);
                *first = config.written_at.min(*first);
            }
        }
        Ok(since)
    }

    /// Backups, segments and indexes by the key that their tails name.
    async fn count_by_signer(&self) -> Result<HashMap<VerifyKey, [u64; 3]>> {
        let mut counts: HashMap<VerifyKey, [u64; 3]> = HashMap::new();
        for (place, folder) in [BACKUPS, STREAMS, INDEXES].into_iter().enumerate() {
            let objects = self.store().list(folder).await?;
            let tails = objects.into_iter().map(|object| async move {
                let start = object.len.checked_sub(TAIL_LEN as u64)?;
                Some(self.store().read(&object.name, start..object.len).await)
            });
            let mut tails = stream::iter(tails).buffer_unordered(OBJECTS_AT_ONCE);
            while let Some(tail) = tails.next().await {
                match tail {
                    Some(Ok(tail)) => {
                        let mut signer = VerifyKey::default();
                        signer.0.copy_from_slice(&tail[SIGNER]);
                        counts.entry(signer).or_default()[place] += 1;
                    }
                    Some(Err(error)) if error.is_of_store() => return Err(error),
                    // Too short to be signed, or gone meanwhile.
                    None | Some(Err(_)) => {}
                }
            }
        }
        Ok(counts)
    }

    /// Finds a writer by its name or the first digits of its key, and reads all that it
    /// signed; changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Usage`] when several are meant,
    /// [`ErrorKind::WrongKey`] without the owner's secret, [`ErrorKind::Store`].
    pub async fn plan_revocation(
        &self,
        wanted: &str,
        progress: &Arc<dyn Progress>,
    ) -> Result<Revocation> {
        self.owner_key()?;
        let writer = self.find_writer(wanted)?.clone();
        let key = writer.key;
        let mut objects = Vec::new();
        for folder in [BACKUPS, STREAMS, INDEXES] {
            objects.extend(self.store().list(folder).await?);
        }
        let bytes = objects.iter().map(|object| object.len).sum();
        progress.event(Event::Phase("reading what the writer signed".to_owned()));
        progress.event(Event::Plan { tables: objects.len() as u64, bytes });
        let mut plan = Revocation {
            writer,
            backups: Vec::new(),
            segments: 0,
            indexes: 0,
            unreadable: Vec::new(),
            digests: Vec::new(),
        };
        let reads = objects
            .into_iter()
            .map(|object| async move { (object, self.digest_if_by(&object.name, key).await) });
        let mut reads = stream::iter(reads).buffer_unordered(OBJECTS_AT_ONCE);
        while let Some((object, read)) = reads.next().await {
            match read {
                Ok(Some(digest)) => plan.add(&object.name, digest),
                Ok(None) => {}
                Err(error) if error.is_of_store() => return Err(error),
                // Deleted since it was listed.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => plan.unreadable.push((object.name, error)),
            }
            progress.event(Event::Advanced { rows: 0, bytes: object.len, stored: 0 });
        }
        plan.backups.sort_unstable();
        Ok(plan)
    }

    fn find_writer(&self, wanted: &str) -> Result<&Writer> {
        let writers = &self.config().writers;
        if let Some(writer) = writers.iter().find(|writer| writer.name == wanted) {
            return Ok(writer);
        }
        let by_key = |writer: &&Writer| writer.key.to_string().starts_with(wanted);
        let enough = wanted.len() >= KEY_DIGITS_MIN;
        let found: Vec<&Writer> = writers.iter().filter(by_key).filter(|_| enough).collect();
        match found[..] {
            [writer] => Ok(writer),
            [] => {
                let former = self.config().former_writers().iter();
                let was = former.map(|writer| &writer.name).any(|name| name == wanted);
                let what = if was { "was revoked before" } else { "does not exist" };
                Err(Error::new(ErrorKind::NotFound, format!("writer \"{wanted}\" {what}"))
                    .hint("Run: pgkeep writer list"))
            }
            _ => {
                let message = format!("{} writers have keys that begin so", found.len());
                Err(Error::new(ErrorKind::Usage, message).hint("Give more digits of the key."))
            }
        }
    }

    /// The digest of an object if this key signed it.
    async fn digest_if_by(
        &self,
        name: &ObjectName,
        key: VerifyKey,
    ) -> Result<Option<ObjectDigest>> {
        let object_type = match name {
            ObjectName::Backup(_) => ObjectType::Manifest,
            ObjectName::Segment(_) => ObjectType::ChangeSegment,
            ObjectName::Index(_) => ObjectType::Index,
            _ => return Ok(None),
        };
        let trusted = |signer| signer == key;
        let (store, id) = (self.store(), self.id());
        match signed::read_with_signer(store, name, object_type, id, &trusted).await {
            Ok(read) => Ok(Some(read.digest())),
            // Somebody else's.
            Err(error) if error.kind() == ErrorKind::Untrusted => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Revokes a writer: nothing that it signs from now on is accepted, and what it had
    /// signed only if the owner vouches for it. With `distrust` the owner vouches for nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`], [`ErrorKind::WrongKey`], what writing to the store gives. The
    /// writer then still is one.
    pub async fn revoke(&self, plan: &Revocation, distrust: bool) -> Result<Self> {
        // Durable before the config that names them.
        let vouchers = match distrust {
            true => Vec::new(),
            false => self.vouch(plan.writer.key, &plan.digests).await?,
        };
        let former = FormerWriter {
            key: plan.writer.key,
            name: plan.writer.name.clone(),
            revoked_at: clock::now_micros(),
            vouchers,
        };
        self.change_settings(|config| {
            config.writers.retain(|writer| writer.key != former.key);
            config.former_writers.get_or_insert_default().push(former);
        })
        .await
    }
}

impl Revocation {
    fn add(&mut self, name: &ObjectName, digest: ObjectDigest) {
        self.digests.push(digest);
        match name {
            ObjectName::Backup(id) => self.backups.push(*id),
            ObjectName::Segment(_) => self.segments += 1,
            _ => self.indexes += 1,
        }
    }
}
