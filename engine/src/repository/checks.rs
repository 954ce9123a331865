//! What a verify asks of single objects.

use super::index::{read_footer, read_index};
use super::{ChunkReader, Repository, keys, signed};
use crate::store::{self};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::config::Config;
use pgkeep_format::frame::{FrameHeader, HEADER_LEN};
use pgkeep_format::id::ChunkId;
use pgkeep_format::limits;
use pgkeep_format::name::{KeyName, ObjectName};
use pgkeep_format::object::ObjectType;
use pgkeep_format::pack::FooterEntry;

impl Repository {
    /// Whether seals can be opened, or there are none.
    #[must_use]
    pub fn can_read(&self) -> bool {
        self.inner.keys.reads() || !self.config().encrypted
    }

    /// Checks a config, also one that a newer one has replaced.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`], [`ErrorKind::Untrusted`].
    pub(crate) async fn check_config(&self, name: &ObjectName) -> Result<()> {
        let trusted = |signer| signer == self.inner.owner;
        let body =
            signed::read(self.store(), name, ObjectType::Config, self.id(), &trusted).await?;
        Config::decode(&body).map(drop).map_err(|error| Error::undecodable("config", error))
    }

    /// Checks a key object: its checksum, and with the identity that it opens.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`].
    pub(crate) async fn check_key(&self, name: KeyName) -> Result<()> {
        if self.can_read() {
            return self.inner.keys.read_object(self.store(), name).await.map(drop);
        }
        let object = ObjectName::Key(name);
        let bytes = store::get(self.store(), &object, limits::KEY_OBJECT_LEN_MAX).await?;
        keys::check(&object, name, &bytes)
    }

    /// Checks an index: its signature, and that it says of each pack what the pack's own
    /// footer says.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`], [`ErrorKind::Untrusted`].
    pub(crate) async fn check_index(&self, name: &ObjectName) -> Result<()> {
        for indexed in read_index(self, name).await? {
            let pack = ObjectName::Pack(indexed.pack);
            let len = self.store().len(&pack).await?;
            if len != Some(indexed.len) {
                let message = format!("object \"{pack}\" is missing or has another length");
                return Err(Error::new(ErrorKind::Damaged, message));
            }
            if read_footer(self, ObjectName::Pack(indexed.pack), indexed.len).await?
                != indexed.entries
            {
                let message = format!("index and footer of object \"{pack}\" do not agree");
                return Err(Error::new(ErrorKind::Damaged, message));
            }
        }
        Ok(())
    }

    /// The footer of a pack of `len` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`].
    pub(crate) async fn pack_footer(&self, name: ObjectName, len: u64) -> Result<Vec<FooterEntry>> {
        read_footer(self, name, len).await
    }
}
