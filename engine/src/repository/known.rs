//! Which chunks a writer need not store again.
//!
//! Learned from signed indexes only, or somebody could talk a writer out of storing a chunk; and
//! of no pack that a prune is about to remove. It says that a chunk is there and about how long it
//! is, not where: eight bytes a chunk, so that fifty million fit into less than half a gigabyte.

use super::index::{expected_chunks, indexed_packs, list_indexes, pack_lengths};
use super::shelves::{Entry, Shelves};
use super::{Lease, Repository};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::id::{ChunkId, PackId};
use pgkeep_format::index::IndexedPack;
use pgkeep_format::name::{ObjectName, PACKS};
use std::collections::HashSet;

/// Bits of an entry that tell how long the chunk is.
const LENGTH_BITS: u32 = 8;
/// Steps of length from one power of two to the next.
const STEPS: u32 = 10;

/// The chunks that a writer may rely on.
///
/// Of a chunk id 68 bits are compared, 12 of them by its shelf: that a chunk which is not there passes
/// for one that is has a chance of n / 2⁶⁸ where n are, 2⁻⁴² for fifty million.
#[derive(Debug, Default)]
pub struct KnownChunks {
    chunks: Shelves<Known>,
    /// The packs that they lie in.
    packs: Vec<PackId>,
}

/// 56 bits of a chunk id, then the class of its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Known(u64);

impl Entry for Known {
    const KEY_BITS: u32 = u64::BITS - LENGTH_BITS;

    fn key(&self) -> u64 {
        self.0 >> LENGTH_BITS
    }
}

impl KnownChunks {
    /// Learns what a writer with this lease may rely on: packs that are there as long as a signed
    /// index says.
    ///
    /// # Errors
    /// What reading the store gives; an index that cannot be read is passed over, its chunks are
    /// then stored again.
    pub(super) async fn load(repository: &Repository, _lease: &Lease) -> Result<Self> {
        // In this order: a list that is not there yet waits for the lease, and one that is there no
        // more has removed its packs.
        let lists = repository.prune_lists().await?;
        let condemned: HashSet<PackId> =
            lists.into_iter().flat_map(|(_, list)| list.packs).collect();
        let mut lengths = pack_lengths(repository).await?;
        lengths.retain(|pack, _| !condemned.contains(pack));
        let indexes = list_indexes(repository).await?;
        let chunks = Shelves::with_room(expected_chunks(&indexes));
        let mut known = Self { chunks, packs: Vec::new() };
        indexed_packs(repository, indexes, |pack| {
            if lengths.get(&pack.pack) == Some(&pack.len) {
                // A pack may be in several indexes; once is enough.
                lengths.remove(&pack.pack);
                known.add(&pack);
            }
        })
        .await?;
        known.sort();
        Ok(known)
    }

    fn add(&mut self, pack: &IndexedPack) {
        self.packs.push(pack.pack);
        for entry in &pack.entries {
            let class = length_class(entry.stored_len);
            self.chunks.push(&entry.chunk, |key| Known(key << LENGTH_BITS | class));
        }
    }

    fn sort(&mut self) {
        self.packs.sort_unstable();
        self.chunks.sort();
    }

    /// About how many bytes the payload of a chunk's frame has; absent when the chunk is not
    /// known.
    #[must_use]
    pub fn find(&self, chunk: &ChunkId) -> Option<u32> {
        self.chunks.find(chunk).first().map(|known| length_of(known.0))
    }

    /// Number of chunks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }

    /// Makes sure that all packs are still there.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] when one is not.
    pub(super) async fn check(&self, repository: &Repository) -> Result<()> {
        if self.packs.is_empty() {
            return Ok(());
        }
        let mut there: Vec<PackId> = Vec::new();
        for object in repository.store().list(PACKS).await? {
            if let ObjectName::Pack(pack) = object.name {
                there.push(pack);
            }
        }
        there.sort_unstable();
        match self.packs.iter().find(|pack| there.binary_search(pack).is_err()) {
            None => Ok(()),
            Some(pack) => {
                let message = format!("pack {pack} went away while this run relied on it");
                Err(Error::new(ErrorKind::Changed, message)
                    .hint("Run it again: what is stored so far is used.")
                    .hint("If no prune ran, run: pgkeep verify"))
            }
        }
    }
}

/// A length, to about four in a hundred: the power of two below it, and how far it is to the next.
fn length_class(len: u32) -> u64 {
    let power = len.max(1).ilog2();
    let step = (u64::from(len.max(1) - (1 << power)) * u64::from(STEPS)) >> power;
    u64::from(power * STEPS).saturating_add(step).min((1 << LENGTH_BITS) - 1)
}

/// The length in the middle of an entry's class.
fn length_of(entry: u64) -> u32 {
    let class = u32::try_from(entry & ((1 << LENGTH_BITS) - 1)).unwrap_or_default();
    let (power, step) = (class / STEPS, class % STEPS);
    let base = 1_u64 << power;
    u32::try_from(base + base * u64::from(2 * step + 1) / u64::from(2 * STEPS)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgkeep_format::frame::FrameType;
    use pgkeep_format::pack::FooterEntry;

    fn entry(byte: u8, stored_len: u32) -> FooterEntry {
        let mut chunk = ChunkId([7; 32]);
        chunk.0[3] = byte;
        FooterEntry { chunk, frame_type: FrameType::Rows, stored_len, offset: 64 }
    }

    #[test]
    fn chunks_are_found_with_about_their_lengths_and_others_are_not() {
        let entries: Vec<_> = (0..200).map(|byte| entry(byte, 1000 * u32::from(byte))).collect();
        let mut known = KnownChunks::default();
        known.add(&IndexedPack { pack: PackId([1; 16]), len: 1, entries: entries.clone() });
        known.sort();
        assert_eq!(known.len(), 200);
        for entry in entries.iter().skip(1) {
            let found = f64::from(known.find(&entry.chunk).unwrap());
            let real = f64::from(entry.stored_len);
            assert!((found - real).abs() <= real * 0.06, "{found} for {real}");
        }
        assert_eq!(known.find(&entry(200, 1).chunk), None);
    }

    #[test]
    fn every_length_that_a_frame_may_have_fits_its_class() {
        for len in [0, 1, 2, 3, 1023, 1024, 1 << 20, 16 << 20, 16_842_752] {
            let found = f64::from(length_of(length_class(len)));
            let real = f64::from(len.max(1));
            assert!((found - real).abs() <= real * 0.5 + 1.0, "{found} for {len}");
        }
        let found = f64::from(length_of(length_class(16_842_752)));
        assert!((found / 16_842_752.0 - 1.0).abs() < 0.06, "{found}");
    }
}
