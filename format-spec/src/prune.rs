//! How writers and a prune keep out of each other's way without locks: a lease says that a
//! writer is at work, a prune list says which packs are about to be removed. Both are bodies
//! of signed objects.
//!
//! A writer makes its lease, then reads the lists, and relies on no pack that is on one. A
//! prune writes its list, then looks for leases, and removes nothing while a lease that it
//! found is there. So one of the two always sees the other.

use crate::FormatError;
use crate::cbor;
use crate::id::{ObjectId, PackId};
use minicbor::{Decode, Encode};

/// That a writer is at work.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Lease {
    /// When it was written, microseconds since 1970 UTC by the writer's clock; for people.
    #[n(1)]
    pub written_at: i64,
    /// The program that wrote it, with version.
    #[n(2)]
    pub program: String,
}

/// What a prune is about to remove.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct PruneList {
    /// When it was written, microseconds since 1970 UTC by the pruner's clock.
    #[n(1)]
    pub written_at: i64,
    /// Features that a reader must know.
    #[n(2)]
    pub features: Vec<String>,
    /// Packs of chunks that are about to go.
    #[n(3)]
    pub packs: Vec<PackId>,
    /// Packs of changes that are about to go.
    #[n(4)]
    pub change_packs: Vec<PackId>,
    /// Leases that were there when a list of these packs was: it waits for their ends. Absent
    /// before it was looked for them.
    #[n(5)]
    pub leases: Option<Vec<SeenLease>>,
}

/// A lease as a prune saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SeenLease {
    /// The run of the writer.
    #[n(1)]
    pub id: ObjectId,
    /// The greatest beat.
    #[n(2)]
    pub beat: u32,
    /// When a prune first saw that beat, microseconds since 1970 UTC by its clock.
    #[n(3)]
    pub seen_at: i64,
}

impl Lease {
    /// Reads the body of a lease.
    ///
    /// # Errors
    /// [`FormatError`] when it breaks a rule.
    pub fn decode(body: &[u8]) -> Result<Self, FormatError> {
        cbor::decode("lease", body)
    }
}

impl PruneList {
    /// Reads and checks the body of a prune list.
    ///
    /// # Errors
    /// [`FormatError`] when it breaks a rule.
    pub fn decode(body: &[u8]) -> Result<Self, FormatError> {
        let list: Self = cbor::decode("prune list", body)?;
        crate::manifest::check_features("prune list", &list.features)?;
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prune_list_reads_back_and_an_unknown_feature_is_refused() {
        let list = PruneList {
            written_at: 5,
            features: Vec::new(),
            packs: vec![PackId([1; 16]), PackId([2; 16])],
            change_packs: vec![PackId([9; 16])],
            leases: Some(vec![SeenLease { id: ObjectId([3; 16]), beat: 4, seen_at: -1 }]),
        };
        assert_eq!(PruneList::decode(&cbor::encode(&list)), Ok(list.clone()));
        let newer = PruneList { features: vec!["later".to_owned()], ..list };
        assert!(PruneList::decode(&cbor::encode(&newer)).is_err());
    }
}
