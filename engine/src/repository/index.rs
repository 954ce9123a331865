//! Which chunks the repository has, and where.
//!
//! Learned from signed indexes; packs that no index speaks of are asked for their footers,
//! but only by readers: a writer believes nothing unsigned, or somebody could talk it out
//! of storing a chunk.

use super::{Repository, signed};
use crate::seal;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::frame::{FrameHeader, FrameType, HEADER_LEN};
use pgkeep_format::id::{ChunkId, PackId};
use pgkeep_format::index::{self, IndexedPack};
use pgkeep_format::name::{INDEXES, ObjectName, PACKS};
use pgkeep_format::object::ObjectType;
use pgkeep_format::pack::{FooterEntry, TRAILER_LEN, Trailer, decode_footer};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Where a chunk's frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// The pack.
    pub pack: PackId,
    /// Where in it the frame begins, in bytes.
    pub offset: u64,
    /// Bytes of the frame's payload.
    pub stored_len: u32,
    /// What the frame holds.
    pub frame_type: FrameType,
}

impl Location {
    /// Bytes of the whole frame.
    #[must_use]
    pub fn frame_len(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.stored_len)
    }
}

/// All chunks that a repository is known to have.
#[derive(Debug, Default)]
pub struct ChunkIndex {
    packs: Vec<PackId>,
    chunks: HashMap<ChunkId, Place>,
    /// Further copies of chunks that lie in more than one pack, which few do. A writer needs
    /// none and keeps none.
    copies: HashMap<ChunkId, Vec<Place>>,
    keeps_copies: bool,
}

/// A [`Location`] with the pack by its place in the list: there are many more chunks than
/// packs.
#[derive(Debug, Clone, Copy)]
struct Place {
    pack: u32,
    stored_len: u32,
    offset: u32,
    frame_type: FrameType,
}

impl ChunkIndex {
    /// What a writer may rely on: packs that are there, as long as a signed index says.
    ///
    /// # Errors
    /// What reading the store gives; an index that cannot be read is passed over, its
    /// chunks are then stored again.
    pub async fn for_writing(repository: &Repository) -> Result<Self> {
        let (index, _) = Self::from_indexes(repository, false).await?;
        Ok(index)
    }

    /// What a reader can find: as for writing, the footers of all other packs, and every copy
    /// of a chunk.
    ///
    /// # Errors
    /// What reading the store gives. A pack that cannot be read is passed over: whoever
    /// needs a chunk of it is told then.
    pub async fn for_reading(repository: &Repository) -> Result<Self> {
        let (mut index, unknown) = Self::from_indexes(repository, true).await?;
        for (pack, len) in unknown {
            match read_footer(repository, ObjectName::Pack(pack), len).await {
                Ok(entries) => index.add(&IndexedPack { pack, len, entries }),
                Err(error) => {
                    tracing::warn!("pack {pack} has no footer that can be read: {error:?}")
                }
            }
        }
        Ok(index)
    }

    /// The index, and the packs (with lengths) that it does not cover.
    async fn from_indexes(
        repository: &Repository,
        keeps_copies: bool,
    ) -> Result<(Self, HashMap<PackId, u64>)> {
        let store = repository.store();
        let mut packs = HashMap::new();
        for object in store.list(PACKS).await? {
            if let ObjectName::Pack(pack) = object.name {
                packs.insert(pack, object.len);
            }
        }
        let mut index = Self { keeps_copies, ..Self::default() };
        for object in store.list(INDEXES).await? {
            match read_index(repository, &object.name).await {
                Ok(indexed) => {
                    for pack in indexed {
                        // A pack may be in several indexes; once is enough. One that is gone
                        // or of another length is not there.
                        if packs.get(&pack.pack) == Some(&pack.len) {
                            packs.remove(&pack.pack);
                            index.add(&pack);
                        }
                    }
                }
                Err(error) if error.is_of_store() => return Err(error),
                Err(error) => tracing::warn!("index is passed over: {error:?}"),
            }
        }
        Ok((index, packs))
    }

    fn add(&mut self, pack: &IndexedPack) {
        // Lists of more packs than u32 can count do not fit in memory.
        let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        self.packs.push(pack.pack);
        for entry in &pack.entries {
            // PACK_LEN_MAX keeps offsets within u32.
            let Ok(offset) = u32::try_from(entry.offset) else { continue };
            let place = Place {
                pack: number,
                stored_len: entry.stored_len,
                offset,
                frame_type: entry.frame_type,
            };
            match self.chunks.entry(entry.chunk) {
                Entry::Vacant(vacant) => {
                    vacant.insert(place);
                }
                Entry::Occupied(_) if self.keeps_copies => {
                    self.copies.entry(entry.chunk).or_default().push(place);
                }
                Entry::Occupied(_) => {}
            }
        }
    }

    /// Where a chunk lies.
    #[must_use]
    pub fn find(&self, chunk: &ChunkId) -> Option<Location> {
        self.locate(self.chunks.get(chunk)?)
    }

    /// Where each copy of a chunk lies; [`ChunkIndex::find`] gives the first. More than one only
    /// for readers.
    pub fn copies(&self, chunk: &ChunkId) -> impl Iterator<Item = Location> + Send + '_ {
        let first = self.chunks.get(chunk);
        let others = first.and_then(|_| self.copies.get(chunk)).into_iter().flatten();
        first.into_iter().chain(others).filter_map(|place| self.locate(place))
    }

    fn locate(&self, place: &Place) -> Option<Location> {
        Some(Location {
            pack: *self.packs.get(place.pack as usize)?,
            offset: place.offset.into(),
            stored_len: place.stored_len,
            frame_type: place.frame_type,
        })
    }

    /// The packs that are known.
    pub fn packs(&self) -> impl Iterator<Item = &PackId> {
        self.packs.iter()
    }

    /// Number of chunks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

/// Reads a signed index.
///
/// # Errors
/// [`ErrorKind::Damaged`], [`ErrorKind::Untrusted`], [`ErrorKind::Store`].
pub(crate) async fn read_index(
    repository: &Repository,
    name: &ObjectName,
) -> Result<Vec<IndexedPack>> {
    let trusted = |signer| repository.is_writer(signer);
    let (store, id) = (repository.store(), repository.id());
    let body = signed::read(store, name, ObjectType::Index, id, &trusted).await?;
    index::decode(&body).map_err(|error| Error::undecodable(format!("object \"{name}\""), error))
}

/// Reads the footer of a pack of `len` bytes.
///
/// # Errors
/// [`ErrorKind::Damaged`] when trailer or footer is not as it was written.
pub(crate) async fn read_footer(
    repository: &Repository,
    name: ObjectName,
    len: u64,
) -> Result<Vec<FooterEntry>> {
    let store = repository.store();
    let damaged = |error| Error::undecodable(format!("object \"{name}\""), error);
    let trailer_at = len
        .checked_sub(TRAILER_LEN as u64)
        .ok_or_else(|| Error::new(ErrorKind::Damaged, format!("object \"{name}\" is truncated")))?;
    let trailer =
        Trailer::decode(&store.read(&name, trailer_at..len).await?, len).map_err(damaged)?;
    let frame = store.read(&name, trailer.footer_offset..trailer_at).await?;
    let header = FrameHeader::decode(&frame).map_err(damaged)?;
    let payload = &frame[HEADER_LEN..];
    if header.frame_type != FrameType::Footer {
        return Err(Error::new(ErrorKind::Damaged, format!("object \"{name}\" has no footer")));
    }
    header.check_payload(payload).map_err(damaged)?;
    let footer = seal::open(&header, payload, None, None)?;
    let entries = decode_footer(&footer.plain).map_err(damaged)?;
    let ends_at = entries
        .last()
        .map_or(pgkeep_format::object::HEADER_LEN as u64, |entry| entry.offset + entry.frame_len());
    if entries.len() as u64 != u64::from(trailer.frames) || ends_at != trailer.footer_offset {
        let message = format!("object \"{name}\" has a footer that does not fit its frames");
        return Err(Error::new(ErrorKind::Damaged, message));
    }
    Ok(entries)
}
