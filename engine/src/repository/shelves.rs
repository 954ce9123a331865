//! What is known of tens of millions of chunks: small entries, on shelves by the first bits of the
//! chunk id, each shelf sorted. Filled first, sorted once, then searched.

use pgkeep_format::id::ChunkId;

/// Bits of a chunk id that choose its shelf.
const SHELF_BITS: u32 = 12;

/// Room is made at once for this many entries at most: who says how many there are may lie.
const ROOM_MAX: usize = 64 << 20;

/// An entry, which holds bits of a chunk id behind those of its shelf.
pub(super) trait Entry: Copy + Ord {
    /// How many bits it holds, 64 at the most.
    const KEY_BITS: u32;

    /// These bits. Entries are in their order first.
    fn key(&self) -> u64;
}

/// Entries by chunk ids.
#[derive(Debug)]
pub(super) struct Shelves<E>(Vec<Vec<E>>);

impl<E> Default for Shelves<E> {
    fn default() -> Self {
        Self((0..1 << SHELF_BITS).map(|_| Vec::new()).collect())
    }
}

impl<E: Entry> Shelves<E> {
    /// With room for about so many entries.
    pub(super) fn with_room(expected: usize) -> Self {
        let mut shelves = Self::default();
        if expected <= ROOM_MAX {
            let each = expected >> SHELF_BITS;
            // Ids are evenly spread; three deviations more is enough for nearly all shelves.
            let each = each + 3 * each.isqrt();
            shelves.0.iter_mut().for_each(|shelf| shelf.reserve_exact(each));
        }
        shelves
    }

    /// Puts an entry on the shelf of its chunk; it is made of the bits that it holds.
    pub(super) fn push(&mut self, chunk: &ChunkId, entry: impl FnOnce(u64) -> E) {
        let (shelf, key) = place::<E>(chunk);
        let shelf = &mut self.0[shelf];
        if shelf.len() == shelf.capacity() {
            // Growing twofold would leave a quarter of the memory empty.
            shelf.reserve_exact(shelf.len() / 8 + 8);
        }
        shelf.push(entry(key));
    }

    /// Makes entries to be found.
    pub(super) fn sort(&mut self) {
        self.0.iter_mut().for_each(|shelf| shelf.sort_unstable());
    }

    /// The entries that have a chunk's bits, in their order.
    pub(super) fn find(&self, chunk: &ChunkId) -> &[E] {
        let (shelf, key) = place::<E>(chunk);
        let shelf = &self.0[shelf];
        let from = shelf.partition_point(|entry| entry.key() < key);
        let len = shelf[from..].iter().take_while(|entry| entry.key() == key).count();
        &shelf[from..from + len]
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }
}

/// The shelf of a chunk, and the bits of its id that an entry holds.
fn place<E: Entry>(chunk: &ChunkId) -> (usize, u64) {
    let mut first = [0; 16];
    first.copy_from_slice(&chunk.0[..16]);
    let bits = u128::from_be_bytes(first) << SHELF_BITS;
    let shelf = u16::from_be_bytes([first[0], first[1]]) >> (16 - SHELF_BITS);
    (usize::from(shelf), u64::try_from(bits >> (128 - E::KEY_BITS)).unwrap_or_default())
}
