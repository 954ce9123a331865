//! What is asked of single objects by who looks for damage.

use super::index::{read_footer, read_index};
use super::{Repository, keys, signed};
use crate::seal::Opened;
use crate::store::{self, StoredObject};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use pgkeep_format::config::Config;
use pgkeep_format::frame::{FrameHeader, FrameType, HEADER_LEN, Suite};
use pgkeep_format::id::{KeyId, ObjectId, PackId};
use pgkeep_format::limits;
use pgkeep_format::name::{KeyName, ObjectName};
use pgkeep_format::object::{self, ObjectHeader, ObjectType};
use pgkeep_format::pack::FooterEntry;
use std::collections::{HashMap, HashSet};

/// The keys of a repository, one by one.
#[derive(Debug, Default)]
pub(crate) struct KeyChecks {
    /// Keys of which one object at the least is good.
    pub(crate) good: HashSet<KeyId>,
    /// Key objects that are not, and why.
    pub(crate) bad: Vec<(KeyName, Error)>,
}

/// A frame that is as it was stored.
#[derive(Debug)]
pub(crate) struct CheckedFrame {
    /// The whole frame.
    pub(crate) bytes: Bytes,
    /// What is in it, where it was opened.
    pub(crate) opened: Option<Opened>,
}

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

    /// Checks all key objects: their checksums, and with `opens` that they open.
    ///
    /// # Errors
    /// What reading the store gives.
    pub(crate) async fn check_keys(
        &self,
        objects: &[StoredObject],
        opens: bool,
    ) -> Result<KeyChecks> {
        let mut checks = KeyChecks::default();
        for object in objects {
            let ObjectName::Key(name) = object.name else { continue };
            match self.check_key(name, opens).await {
                Ok(()) => {
                    checks.good.insert(name.id);
                }
                Err(error) if error.is_of_store() => return Err(error),
                Err(error) => checks.bad.push((name, error)),
            }
        }
        let KeyChecks { good, bad } = &mut checks;
        // Wrapped for somebody else, and again for this identity.
        bad.retain(|(name, error)| error.kind() != ErrorKind::WrongKey || !good.contains(&name.id));
        Ok(checks)
    }

    async fn check_key(&self, name: KeyName, opens: bool) -> Result<()> {
        if opens {
            return self.inner.keys.read_object(self.store(), name).await.map(drop);
        }
        let object = ObjectName::Key(name);
        let bytes = store::get(self.store(), &object, limits::KEY_OBJECT_LEN_MAX).await?;
        keys::check(&object, name, &bytes)
    }

    /// Checks an index: its signature, that its packs are there, and that it says of those among
    /// `compared` what their own footers say. `lens` has the packs that are known to be there.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`], [`ErrorKind::Untrusted`].
    pub(crate) async fn check_index(
        &self,
        name: &ObjectName,
        lens: &HashMap<PackId, u64>,
        compared: &HashSet<PackId>,
    ) -> Result<()> {
        for indexed in read_index(self, name).await? {
            let pack = ObjectName::Pack(indexed.pack);
            let len = match lens.get(&indexed.pack) {
                Some(len) => Some(*len),
                // Written since the list was made, if it is there.
                None => self.store().len(&pack).await?,
            };
            if len != Some(indexed.len) {
                let message = format!("object \"{pack}\" is missing or has another length");
                return Err(Error::new(ErrorKind::Damaged, message));
            }
            if compared.contains(&indexed.pack)
                && read_footer(self, pack, indexed.len).await? != indexed.entries
            {
                let message = format!("index and footer of object \"{pack}\" do not agree");
                return Err(Error::new(ErrorKind::Damaged, message));
            }
        }
        Ok(())
    }

    /// Checks the header of a pack of `len` bytes: that it is this repository's, under its own
    /// name.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`]; [`ErrorKind::Untrusted`] where it is whole and of another
    /// repository.
    pub(crate) async fn check_pack_header(&self, name: &ObjectName, len: u64) -> Result<()> {
        let header_len = (object::HEADER_LEN as u64).min(len);
        let header = ObjectHeader::decode(&self.store().read(name, 0..header_len).await?)
            .map_err(|error| Error::undecodable("pack header", error))?;
        if header.repository != self.id() {
            let message = format!("pack belongs to repository {}", header.repository);
            return Err(Error::new(ErrorKind::Untrusted, message));
        }
        if header.object_type != ObjectType::Pack || header.id != signed::object_id(name) {
            let message = "another object lies under the pack's name";
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        Ok(())
    }

    /// Checks a voucher: that the owner signed it.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`], [`ErrorKind::Untrusted`].
    pub(crate) async fn check_voucher(&self, id: ObjectId) -> Result<()> {
        self.voucher(id, None).await.map(drop)
    }

    /// The footer of a pack of `len` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`].
    pub(crate) async fn pack_footer(&self, name: ObjectName, len: u64) -> Result<Vec<FooterEntry>> {
        read_footer(self, name, len).await
    }

    /// Checks a frame that a footer lists: its checksums, that its key is among `keys` where they are
    /// given, and with `opens` its seal and its name. Nothing of frames of a later version is opened.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`].
    pub(crate) async fn check_frame(
        &self,
        name: &ObjectName,
        entry: &FooterEntry,
        keys: Option<&HashSet<KeyId>>,
        opens: bool,
    ) -> Result<CheckedFrame> {
        let range = entry.offset..entry.offset + entry.frame_len();
        let bytes = self.store().read(name, range).await?;
        let undecodable = |error| Error::undecodable("frame", error);
        let header = FrameHeader::decode(&bytes).map_err(undecodable)?;
        let as_listed = header.chunk == entry.chunk
            && header.frame_type == entry.frame_type
            && header.stored_len == entry.stored_len;
        if !as_listed {
            let message = "frame is not the one that the footer lists";
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        header.check_payload(&bytes[HEADER_LEN..]).map_err(undecodable)?;
        let is_lost = |keys: &HashSet<KeyId>| !keys.contains(&header.key);
        if header.suite != Suite::None && keys.is_some_and(is_lost) {
            let message = format!("it is sealed under key {}, which is lost", header.key);
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        let opened = match header.frame_type {
            FrameType::Ancillary(_) => None,
            _ if !opens => None,
            _ => Some(self.open_frame(header, bytes.clone()).await?),
        };
        Ok(CheckedFrame { bytes, opened })
    }
}
