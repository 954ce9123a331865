//! Which chunks the repository has, and where; for readers. What a writer may rely on is
//! [`KnownChunks`](super::KnownChunks).
//!
//! Learned from signed indexes; packs that no index speaks of are asked for their footers.

use super::shelves::{Entry, Shelves};
use super::{Repository, signed};
use crate::seal::{self, random};
use crate::store::StoredObject;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::frame::{FrameHeader, FrameType, HEADER_LEN};
use pgkeep_format::id::{ChunkId, ObjectId, PackId};
use pgkeep_format::index::{self, IndexedPack};
use pgkeep_format::name::{INDEXES, ObjectName, PACKS};
use pgkeep_format::object::ObjectType;
use pgkeep_format::pack::{FOOTER_ENTRY_LEN, FooterEntry, TRAILER_LEN, Trailer, decode_footer};
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Indexes that are read at the same time.
const INDEXES_AT_ONCE: usize = 8;

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
///
/// Of a chunk id it holds 76 bits: whoever reads a frame compares all of them.
#[derive(Debug, Default)]
pub struct ChunkIndex {
    packs: Vec<PackId>,
    chunks: Shelves<Place>,
}

/// Where a copy of a chunk lies, with the pack by its place in the list: there are many more chunks
/// than packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    key: u64,
    pack: u32,
    offset: u32,
    stored_len: u32,
    frame_type: u8,
}

impl Entry for Place {
    const KEY_BITS: u32 = 64;

    fn key(&self) -> u64 {
        self.key
    }
}

/// The chunks that an index holds.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// All.
    All,
    /// Those of these types.
    OfTypes(&'static [FrameType]),
    /// Those of rows whose ids begin so.
    Rows(Arc<HashSet<u64>>),
}

impl Wanted {
    /// The beginning of an id, as [`Wanted::Rows`] has it.
    pub(super) fn beginning(chunk: &ChunkId) -> u64 {
        chunk.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn takes(&self, entry: &FooterEntry) -> bool {
        match self {
            Self::All => true,
            Self::OfTypes(types) => types.contains(&entry.frame_type),
            Self::Rows(beginnings) => {
                entry.frame_type == FrameType::Rows
                    && beginnings.contains(&Self::beginning(&entry.chunk))
            }
        }
    }
}

impl ChunkIndex {
    /// What a reader can find: what indexes say, the footers of all other packs, and every copy of a
    /// chunk.
    ///
    /// # Errors
    /// What reading the store gives. A pack that cannot be read is passed over: whoever
    /// needs a chunk of it is told then.
    pub async fn for_reading(repository: &Repository) -> Result<Self> {
        Self::load(repository, &Wanted::All).await
    }

    /// Where the chunks that are `wanted` lie.
    ///
    /// # Errors
    /// As [`ChunkIndex::for_reading`].
    pub(super) async fn load(repository: &Repository, wanted: &Wanted) -> Result<Self> {
        let (mut index, unknown) = Self::from_indexes(repository, wanted).await?;
        for (pack, len) in unknown {
            match read_footer(repository, ObjectName::Pack(pack), len).await {
                Ok(entries) => index.add(&IndexedPack { pack, len, entries }, wanted),
                Err(error) => {
                    tracing::warn!("pack {pack} has no footer that can be read: {error:?}")
                }
            }
        }
        index.chunks.sort();
        Ok(index)
    }

    /// The index, and the packs (with lengths) that it does not cover.
    async fn from_indexes(
        repository: &Repository,
        wanted: &Wanted,
    ) -> Result<(Self, HashMap<PackId, u64>)> {
        let mut packs = pack_lengths(repository).await?;
        let indexes = list_indexes(repository).await?;
        let room = match wanted {
            Wanted::All => expected_chunks(&indexes),
            Wanted::OfTypes(_) => 0,
            Wanted::Rows(beginnings) => beginnings.len(),
        };
        let mut index = Self { packs: Vec::new(), chunks: Shelves::with_room(room) };
        let mut said: HashMap<PackId, Vec<u64>> = HashMap::new();
        indexed_packs(repository, indexes, |pack| {
            // One that is gone or of another length is not there.
            if packs.get(&pack.pack) != Some(&pack.len) {
                return;
            }
            // A pack may be in several indexes. Once is enough, unless they contradict each other:
            // then all that any says is looked for, and what is not true is found not to be.
            let (what, said) = (digest(&pack), said.entry(pack.pack).or_default());
            if !said.contains(&what) {
                said.push(what);
                index.add(&pack, wanted);
            }
        })
        .await?;
        packs.retain(|pack, _| !said.contains_key(pack));
        Ok((index, packs))
    }

    fn add(&mut self, pack: &IndexedPack, wanted: &Wanted) {
        // Lists of more packs than u32 can count do not fit in memory.
        let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        self.packs.push(pack.pack);
        for entry in pack.entries.iter().filter(|entry| wanted.takes(entry)) {
            // PACK_LEN_MAX keeps offsets within u32.
            let Ok(offset) = u32::try_from(entry.offset) else { continue };
            let (stored_len, frame_type) = (entry.stored_len, entry.frame_type.code());
            let place = |key| Place { key, pack: number, offset, stored_len, frame_type };
            self.chunks.push(&entry.chunk, place);
        }
    }

    /// Where a chunk lies.
    #[must_use]
    pub fn find(&self, chunk: &ChunkId) -> Option<Location> {
        self.copies(chunk).next()
    }

    /// Where each copy of a chunk lies; [`ChunkIndex::find`] gives the first.
    pub fn copies(&self, chunk: &ChunkId) -> impl Iterator<Item = Location> + Send + '_ {
        self.chunks.find(chunk).iter().filter_map(|place| self.locate(place))
    }

    fn locate(&self, place: &Place) -> Option<Location> {
        Some(Location {
            pack: *self.packs.get(place.pack as usize)?,
            offset: place.offset.into(),
            stored_len: place.stored_len,
            frame_type: FrameType::from_code(place.frame_type).ok()?,
        })
    }

    /// The packs that are known.
    pub fn packs(&self) -> impl Iterator<Item = &PackId> {
        self.packs.iter()
    }
}

/// Tells apart what indexes say of a pack.
fn digest(pack: &IndexedPack) -> u64 {
    let mut hasher = DefaultHasher::new();
    for entry in &pack.entries {
        (entry.chunk, entry.stored_len, entry.offset).hash(&mut hasher);
    }
    hasher.finish()
}

/// All indexes that are there.
pub(crate) async fn list_indexes(repository: &Repository) -> Result<Vec<StoredObject>> {
    repository.store().list(INDEXES).await
}

/// About how many chunks these indexes speak of, by their lengths, which nobody vouches for.
pub(super) fn expected_chunks(indexes: &[StoredObject]) -> usize {
    let bytes = indexes.iter().fold(0_u64, |sum, index| sum.saturating_add(index.len));
    usize::try_from(bytes).unwrap_or(usize::MAX) / FOOTER_ENTRY_LEN
}

/// All packs that are there, with their lengths in bytes.
pub(crate) async fn pack_lengths(repository: &Repository) -> Result<HashMap<PackId, u64>> {
    let objects = repository.store().list(PACKS).await?;
    let packs = objects.into_iter().filter_map(|object| match object.name {
        ObjectName::Pack(pack) => Some((pack, object.len)),
        _ => None,
    });
    Ok(packs.collect())
}

/// What those of `indexes` that can be read say of packs, each given to `take`; they are read side
/// by side.
pub(crate) async fn indexed_packs(
    repository: &Repository,
    indexes: Vec<StoredObject>,
    mut take: impl FnMut(IndexedPack),
) -> Result<()> {
    let mut names = indexes.into_iter().map(|object| object.name);
    // Tasks of their own: signatures are checked beside what is done with the last ones.
    let mut reading = JoinSet::new();
    loop {
        while reading.len() < INDEXES_AT_ONCE
            && let Some(name) = names.next()
        {
            let repository = repository.clone();
            reading.spawn(async move { read_index(&repository, &name).await });
        }
        let Some(read) = reading.join_next().await else { return Ok(()) };
        let read = read.map_err(|error| {
            Error::new(ErrorKind::Internal, "reading an index did not end").because(error)
        })?;
        match read {
            Ok(packs) => packs.into_iter().for_each(&mut take),
            Err(error) if error.is_of_store() => return Err(error),
            Err(error) => tracing::warn!("index is passed over: {error:?}"),
        }
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
    let body = repository.read_of_writer(name, ObjectType::Index).await?;
    index::decode(&body).map_err(|error| Error::undecodable(format!("object \"{name}\""), error))
}

impl Repository {
    /// Writes an index of packs; returns its length in bytes.
    ///
    /// # Errors
    /// What writing to the store gives.
    pub(crate) async fn store_index(&self, packs: &[IndexedPack]) -> Result<u64> {
        let (body, name) = (index::encode(packs), ObjectName::Index(ObjectId(random()?)));
        let signing = self.signing_key()?;
        signed::write(self.store(), &name, ObjectType::Index, self.id(), &body, signing).await
    }
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
