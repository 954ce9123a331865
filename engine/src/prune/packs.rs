//! What lies in which pack.

use super::live::Live;
use crate::repository::{Repository, indexed_packs, list_indexes, pack_lengths};
use crate::{ErrorKind, Result};
use pgkeep_format::id::PackId;
use pgkeep_format::name::{CHANGES, ObjectName};
use pgkeep_format::pack::FooterEntry;
use std::collections::HashMap;

/// A pack of chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pack {
    /// Bytes of the whole pack.
    pub(super) len: u64,
    /// Its frames, in their order.
    pub(super) entries: Vec<FooterEntry>,
    /// Whether a signed index says so, not only the pack's own footer.
    pub(super) is_signed: bool,
}

/// All packs of a repository.
#[derive(Debug, Default)]
pub(super) struct Packs {
    pub(super) chunks: HashMap<PackId, Pack>,
    /// Packs of changes, with their lengths in bytes.
    pub(super) changes: HashMap<PackId, u64>,
    /// Packs of which neither an index nor a footer says what they hold; they stay.
    pub(super) unreadable: Vec<PackId>,
}

impl Packs {
    /// Looks at what is there.
    ///
    /// # Errors
    /// What reading the store gives.
    pub(super) async fn look(repository: &Repository) -> Result<Self> {
        let mut packs = Self::default();
        let mut lengths = pack_lengths(repository).await?;
        let chunks = &mut packs.chunks;
        let mut contradicted: Vec<PackId> = Vec::new();
        indexed_packs(repository, list_indexes(repository).await?, |indexed| {
            if lengths.get(&indexed.pack) != Some(&indexed.len) {
                return;
            }
            let pack = Pack { len: indexed.len, entries: indexed.entries, is_signed: true };
            match chunks.get(&indexed.pack) {
                Some(known) if *known != pack => contradicted.push(indexed.pack),
                Some(_) => {}
                None => drop(chunks.insert(indexed.pack, pack)),
            }
        })
        .await?;
        for pack in contradicted {
            packs.chunks.remove(&pack);
            lengths.remove(&pack);
            packs.unreadable.push(pack);
        }
        for (id, len) in lengths {
            if packs.chunks.contains_key(&id) {
                continue;
            }
            match repository.pack_footer(ObjectName::Pack(id), len).await {
                Ok(entries) => {
                    packs.chunks.insert(id, Pack { len, entries, is_signed: false });
                }
                Err(error) if error.is_of_store() => return Err(error),
                // Removed just now.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!("pack {id} is left alone: {error:?}");
                    packs.unreadable.push(id);
                }
            }
        }
        packs.unreadable.sort_unstable();
        packs.unreadable.dedup();
        for object in repository.store().list(CHANGES).await? {
            if let ObjectName::ChangePack(pack) = object.name {
                packs.changes.insert(pack, object.len);
            }
        }
        Ok(packs)
    }
}

impl Pack {
    /// Bytes of the frames that something needs.
    pub(super) fn live_bytes(&self, live: &Live) -> u64 {
        self.live_entries(live).map(FooterEntry::frame_len).sum()
    }

    /// Bytes of all frames.
    pub(super) fn frame_bytes(&self) -> u64 {
        self.entries.iter().map(FooterEntry::frame_len).sum()
    }

    /// The frames that something needs, in their order.
    pub(super) fn live_entries<'a>(
        &'a self,
        live: &'a Live,
    ) -> impl Iterator<Item = &'a FooterEntry> + 'a {
        self.entries.iter().filter(|entry| live.needs(&entry.chunk))
    }
}
