//! Rows and keys as 128 random-looking bits: the hash is keyed with random numbers of this
//! process, so that nobody can make two keys meet, and by chance none do.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// The hash of a key or row.
pub(super) type Hash = u128;

/// A set of hashes, which need no hashing again.
pub(super) type HashSet128 = HashSet<Hash, BuildHasherDefault<AsIs>>;

/// A map from hashes.
pub(super) type HashMap128<T> = HashMap<Hash, T, BuildHasherDefault<AsIs>>;

/// Makes hashes.
#[derive(Debug, Clone, Default)]
pub(super) struct Hasher128 {
    halves: [RandomState; 2],
}

impl Hasher128 {
    pub(super) fn hash(&self, bytes: &[u8]) -> Hash {
        let half = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            hasher.write(bytes);
            u128::from(hasher.finish())
        };
        half(&self.halves[0]) << 64 | half(&self.halves[1])
    }
}

/// The upper and the lower half.
fn halves(hash: Hash) -> [u64; 2] {
    let bytes = hash.to_be_bytes();
    let half = |at: usize| {
        let mut half = [0; 8];
        half.copy_from_slice(&bytes[at..at + 8]);
        u64::from_be_bytes(half)
    };
    [half(0), half(8)]
}

/// Takes the lower half of a hash as it is.
#[derive(Debug, Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut half = [0; 8];
            half[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(half);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = halves(hash)[1];
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// One of several shares of all hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// Which one, from 0.
    pub(super) number: u64,
    /// How many there are.
    pub(super) of: u64,
}

impl Share {
    /// All of them.
    pub(super) const WHOLE: Self = Self { number: 0, of: 1 };

    /// Whether a hash belongs to it.
    pub(super) fn has(self, hash: Hash) -> bool {
        // The upper half: sets look at the lower.
        halves(hash)[0] % self.of == self.number
    }

    /// The two halves of it.
    pub(super) fn halves(self) -> [Self; 2] {
        let of = self.of * 2;
        [Self { of, ..self }, Self { number: self.number + self.of, of }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_shares_have_each_hash_once() {
        let mut shares = vec![Share::WHOLE];
        for at in [0, 1, 0] {
            let halves = shares.remove(at).halves();
            shares.extend(halves);
        }
        let hasher = Hasher128::default();
        for number in 0..1000u32 {
            let hash = hasher.hash(&number.to_le_bytes());
            assert_eq!(shares.iter().filter(|share| share.has(hash)).count(), 1);
        }
    }
}
