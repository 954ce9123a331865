//! Prune lists: which packs are about to be removed.

use super::{Repository, signed};
use crate::seal::random;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::cbor;
use pgkeep_format::id::ObjectId;
use pgkeep_format::name::{ObjectName, PRUNES};
use pgkeep_format::object::ObjectType;
use pgkeep_format::prune::PruneList;
use std::collections::HashSet;

/// How often it is looked for lists that do not go away meanwhile.
const LOOKS: usize = 20;

impl Repository {
    /// All lists that a prune may act on. One that is damaged, or signed by nobody who is trusted,
    /// is none: nobody acts on it.
    ///
    /// # Errors
    /// What reading the store gives; [`ErrorKind::UnsupportedFormat`] for one of a newer format.
    pub(crate) async fn prune_lists(&self) -> Result<Vec<(ObjectId, PruneList)>> {
        let mut gone = HashSet::new();
        for _ in 0..LOOKS {
            if let Some(lists) = self.look_for_prune_lists(&mut gone).await? {
                return Ok(lists);
            }
        }
        Err(Error::new(ErrorKind::Changed, "prune lists change too fast to be read")
            .hint("Wait until other prunes of this repository are done, and run it again."))
    }

    /// Absent when one went away meanwhile: another may have come in its place. What was found to be
    /// gone before is not looked for again: what came in its place is older than this look. Some
    /// stores list for a while what is gone.
    async fn look_for_prune_lists(
        &self,
        gone: &mut HashSet<ObjectId>,
    ) -> Result<Option<Vec<(ObjectId, PruneList)>>> {
        let (mut lists, known) = (Vec::new(), gone.len());
        for object in self.store().list(PRUNES).await? {
            let ObjectName::PruneList(id) = object.name else { continue };
            if gone.contains(&id) {
                continue;
            }
            match self.prune_list(&object.name).await {
                Ok(list) => lists.push((id, list)),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    gone.insert(id);
                }
                Err(error)
                    if error.is_of_store() || error.kind() == ErrorKind::UnsupportedFormat =>
                {
                    return Err(error);
                }
                Err(error) => tracing::warn!("prune list is passed over: {error:?}"),
            }
        }
        Ok((gone.len() == known).then_some(lists))
    }

    /// Reads one list.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Damaged`], [`ErrorKind::Untrusted`],
    /// [`ErrorKind::UnsupportedFormat`].
    pub(crate) async fn prune_list(&self, name: &ObjectName) -> Result<PruneList> {
        let trusted = |signer| self.is_writer(signer);
        let kind = ObjectType::PruneList;
        let body = signed::read(self.store(), name, kind, self.id(), &trusted).await?;
        PruneList::decode(&body)
            .map_err(|error| Error::undecodable(format!("object \"{name}\""), error))
    }

    /// Writes a list; when this returns, no writer that begins relies on its packs.
    ///
    /// # Errors
    /// What writing to the store gives.
    pub(crate) async fn store_prune_list(&self, list: &PruneList) -> Result<ObjectId> {
        let id = ObjectId(random()?);
        let (name, body) = (ObjectName::PruneList(id), cbor::encode(list));
        let signing = self.signing_key()?;
        signed::write(self.store(), &name, ObjectType::PruneList, self.id(), &body, signing)
            .await?;
        Ok(id)
    }
}
