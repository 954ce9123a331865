//! A table's chunks in groups, each of which any connection can load.

use pgkeep_format::stream::ChunkReference;

/// Chunks of one group, at most: some 64 MiB of rows.
pub(super) const GROUP_CHUNKS: usize = 64;

/// Chunks of one group, at least, where the table has them.
const SMALLEST_CHUNKS: usize = 8;

/// A group takes one share of so many of what is left of its table: connections that load it end at
/// about the same time, and its indexes need not wait long for the last of them.
const SHARES: usize = 8;

/// A run of a table's chunks that begins and ends between rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) first: bool,
    pub(super) what: What,
    /// Where in the table its chunks begin.
    pub(super) start: usize,
    pub(super) chunks: Vec<ChunkReference>,
}

/// What a group brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The rows of its chunks, or what they have become.
    Rows,
    /// The rows that changes leave, of the units from one on up to another.
    Changed(usize, usize),
    /// All of it, share by share: together it does not fit into memory.
    InParts,
}

impl Group {
    /// Whether the table begins with it.
    pub(super) fn is_first(&self) -> bool {
        self.first
    }
}

/// Groups of chunks that follow each other; one without chunks where there are none.
pub(super) fn row_groups(references: &[ChunkReference]) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut start = 0;
    let chunks = |left: usize| (left / SHARES).clamp(SMALLEST_CHUNKS, GROUP_CHUNKS);
    for (at, reference) in references.iter().enumerate() {
        let is_last = at + 1 == references.len();
        if is_last
            || (at + 1 - start >= chunks(references.len() - start) && !reference.row_continues)
        {
            groups.push(Group {
                first: start == 0,
                what: What::Rows,
                start,
                chunks: references[start..=at].to_vec(),
            });
            start = at + 1;
        }
    }
    if groups.is_empty() {
        groups.push(Group { first: true, what: What::Rows, start: 0, chunks: Vec::new() });
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgkeep_format::id::ChunkId;

    #[test]
    fn groups_hold_all_chunks_in_order_and_never_part_a_row() {
        let reference = |row_continues| ChunkReference {
            row_continues,
            ..ChunkReference::whole(ChunkId([1; 32]))
        };
        let mut references = vec![reference(false); 8 * GROUP_CHUNKS + 8];
        references[GROUP_CHUNKS - 1].row_continues = true;
        references[GROUP_CHUNKS].row_continues = true;
        let groups = row_groups(&references);
        let lens: Vec<_> = groups.iter().map(|group| group.chunks.len()).collect();
        assert_eq!(lens[..4], [GROUP_CHUNKS + 2, 56, 49, 43]);
        assert_eq!(lens[lens.len() - 3..], [8, 8, 1]);
        assert_eq!(lens.iter().sum::<usize>(), references.len());
        assert!(groups.iter().all(|group| !group.chunks.last().unwrap().row_continues));
        assert_eq!(row_groups(&[]).len(), 1, "an empty table is loaded too");
    }
}
