//! The repository: what is stored, under which keys, signed by whom.
//!
//! ```text
//! write  frames -> packer -> packs -> indexes -> manifest (the backup exists)
//! read   manifest -> streams -> index -> frames -> chunks
//! ```
//!
//! It knows stores and seals, and nothing of servers. What it reads from a store it does
//! not believe: signatures come before content, checksums before seals, names after them.

mod checks;
mod chunks;
mod credentials;
mod damage;
mod head;
mod index;
mod init;
mod keys;
mod known;
mod lease;
mod lists;
mod manifests;
mod packer;
mod prune_lists;
mod recipients;
#[cfg(test)]
mod rights_tests;
#[cfg(test)]
pub(crate) mod sample;
mod segments;
mod settings;
mod shelves;
mod signed;
mod vouchers;
mod walk;
mod whole_rows;
mod writer;
mod writers;
mod writing;

pub use chunks::ChunkReader;
pub use credentials::{Identity, WriterCredential};
pub use damage::{ChunkState, LostSpan, MissingRows, RowSpan, RowsSeen, lost_spans};
pub use head::Head;
pub use index::{ChunkIndex, Location};
pub(crate) use index::{indexed_packs, list_indexes, pack_lengths, read_index};
pub use init::{InitOptions, Initialized, init};
pub use known::KnownChunks;
pub use lease::Lease;
pub use manifests::{Backup, Backups, FinishedBackup};
pub use packer::{NewFrame, PACK_TARGET, Packed, Packer};
pub use recipients::{KeyOutcome, KeyReport, rotate};
pub use segments::Segment;
pub use whole_rows::{Whole, WholeRows};
pub(crate) use writer::ChunkWriter;
pub use writers::{Revocation, WriterReport};
pub use writing::WriteRun;

use crate::seal::{Secrets, SigningKey};
use crate::store::{self, Counted, SingleFileWriter, Store};
use crate::{Error, ErrorKind, Result};
use keys::KeyRing;
use pgkeep_format::config::Config;
use pgkeep_format::id::{RepositoryId, VerifyKey};
use pgkeep_format::limits;
use pgkeep_format::name::{CONFIGS, ObjectName};
use pgkeep_format::object::{ObjectType, decode_signed};
use std::sync::Arc;
use vouchers::Vouchers;

/// With which rights a repository is opened.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Reads what is sealed.
    pub identity: Option<Identity>,
    /// Writes backups.
    pub writer: Option<WriterCredential>,
}

/// An open repository; cheap to clone.
#[derive(Debug, Clone)]
pub struct Repository {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Counted,
    /// Whether others may write into it too.
    shared: bool,
    id: RepositoryId,
    owner: VerifyKey,
    config: Config,
    config_number: u32,
    keys: KeyRing,
    writer: Option<WriterCredential>,
    owner_secret: Option<SigningKey>,
    vouchers: Vouchers,
}

/// The id of the repository in a store, believed without proof; for finding its key files.
///
/// # Errors
/// [`ErrorKind::NoRepository`] when there is none, [`ErrorKind::Damaged`].
pub async fn repository_id(store: &dyn Store) -> Result<RepositoryId> {
    let (name, _) = newest_config(store).await?;
    let bytes = store::get(store, &name, limits::BODY_LEN_MAX).await?;
    let object = decode_signed(&bytes)
        .map_err(|error| Error::undecodable(format!("object \"{name}\""), error))?;
    Ok(object.header.repository)
}

async fn newest_config(store: &dyn Store) -> Result<(ObjectName, u32)> {
    let configs = store.list(CONFIGS).await?;
    let numbers = configs.iter().filter_map(|object| match object.name {
        ObjectName::Config(number) => Some(number),
        _ => None,
    });
    let number = numbers.max().ok_or_else(|| {
        let message = format!("\"{}\" is not a repository", store.location());
        Error::new(ErrorKind::NoRepository, message)
            .hint(format!("Run: pgkeep init --repo {}", store.location()))
    })?;
    Ok((ObjectName::Config(number), number))
}

impl Repository {
    /// Opens the repository in a store and checks that its settings are signed by the
    /// owner that the given keys know.
    ///
    /// # Errors
    /// [`ErrorKind::NoRepository`], [`ErrorKind::UnsupportedFormat`], [`ErrorKind::Damaged`];
    /// [`ErrorKind::WrongKey`] when a key is of another repository,
    /// [`ErrorKind::Untrusted`] when somebody else signed the settings.
    pub async fn open(store: Arc<dyn Store>, access: Access) -> Result<Self> {
        let store = Counted::new(store);
        let (name, config_number) = newest_config(&store).await?;
        let id = repository_id(&store).await?;
        let known = [
            access
                .identity
                .as_ref()
                .map(|identity| ("identity", identity.repository, identity.owner)),
            access
                .writer
                .as_ref()
                .map(|writer| ("writer credential", writer.repository, writer.owner)),
        ];
        for (what, repository, _) in known.iter().flatten() {
            if *repository != id {
                let message = format!("{what} is of repository {repository}, this one is {id}");
                return Err(Error::new(ErrorKind::WrongKey, message)
                    .hint("Give the key file that was made with this repository."));
            }
        }
        let owner = known.iter().flatten().map(|(_, _, owner)| *owner).next();
        // Without any key there is nobody to compare the owner with: what can be read then
        // is only what needs no secret.
        let trusted = |signer: VerifyKey| owner.is_none_or(|owner| owner == signer);
        let read =
            signed::read_with_signer(&store, &name, ObjectType::Config, id, &trusted).await?;
        let config = Config::decode(&read.body)
            .map_err(|error| Error::undecodable(format!("object \"{name}\""), error))?;
        let keys = KeyRing::open(&store, id, &config, &access).await?;
        let inner = Inner {
            store,
            shared: true,
            id,
            owner: read.signer,
            config,
            config_number,
            keys,
            writer: access.writer,
            owner_secret: access.identity.and_then(|identity| identity.owner_secret),
            vouchers: Vouchers::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Removes an object; says no where the store does not let it go yet.
    ///
    /// # Errors
    /// As [`Store::delete`], but for [`ErrorKind::Retained`].
    pub(crate) async fn remove(&self, name: &ObjectName) -> Result<bool> {
        match self.store().delete(name).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Retained => {
                tracing::info!("{error:?}");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// A repository with this one's settings and keys and no backup, that is written into
    /// a single file.
    ///
    /// # Errors
    /// As reading this one's settings and writing them to the file.
    pub async fn copy_into(&self, file: &SingleFileWriter) -> Result<Self> {
        let config = ObjectName::Config(self.inner.config_number);
        for name in std::iter::once(config).chain(self.inner.keys.secrets_objects()) {
            let bytes = store::get(self.store(), &name, limits::BODY_LEN_MAX).await?;
            store::put(file, &name, bytes).await?;
        }
        let inner = Inner {
            store: Counted::new(Arc::new(file.clone())),
            shared: false,
            id: self.inner.id,
            owner: self.inner.owner,
            config: self.inner.config.clone(),
            config_number: self.inner.config_number,
            keys: self.inner.keys.clone(),
            writer: self.inner.writer.clone(),
            owner_secret: None,
            vouchers: Vouchers::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The repository's id.
    #[must_use]
    pub fn id(&self) -> RepositoryId {
        self.inner.id
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Where it lies.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &self.inner.store
    }

    /// Whether others may write into it too, unlike into a single file.
    fn is_shared(&self) -> bool {
        self.inner.shared
    }

    /// Bytes of objects read so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.inner.store.bytes_read()
    }

    /// What names chunks and cuts rows.
    ///
    /// # Errors
    /// [`ErrorKind::WrongKey`] when no key that was given tells it.
    pub fn secrets(&self) -> Result<&Secrets> {
        self.inner.keys.secrets().ok_or_else(|| {
            Error::new(ErrorKind::WrongKey, "repository is encrypted and no identity was given")
                .hint("Give the identity that was made with this repository: --identity FILE")
        })
    }

    /// Whether what is sealed can be read.
    pub(crate) fn reads(&self) -> bool {
        !self.inner.config.encrypted || self.inner.keys.reads()
    }

    /// Whether signatures by this key are accepted.
    fn is_writer(&self, key: VerifyKey) -> bool {
        self.inner.config.writers.iter().any(|writer| writer.key == key)
    }

    /// Makes sure that this was opened by somebody who may sign.
    ///
    /// # Errors
    /// [`ErrorKind::WrongKey`] when it was not.
    pub(crate) fn check_may_sign(&self) -> Result<()> {
        self.signing_key().map(drop)
    }

    /// Signs as the writer that this repository was opened with.
    fn signing_key(&self) -> Result<&SigningKey> {
        let writer = self.inner.writer.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::WrongKey, "no writer credential was given")
                .hint("Give the credential that pgkeep init made: --writer FILE")
        })?;
        if !self.is_writer(writer.signing.verify_key()) {
            let (key, name) = (writer.signing.verify_key(), &writer.name);
            let message = match self.former_writer(key) {
                Some(_) => format!("writer \"{name}\" was revoked"),
                None => format!("writer \"{name}\" is not a writer of this repository"),
            };
            return Err(Error::new(ErrorKind::WrongKey, message)
                .hint("Make a credential where the identity is: pgkeep writer add --out FILE"));
        }
        Ok(&writer.signing)
    }
}
