//! The changes of one table, read in units: runs of chunks that begin and end between
//! changes.

use super::recovery::{Recovery, UsedSegment};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::change::{self, Change};
use pgkeep_format::segment::{ChangeChunk, RelationVersion};
use std::sync::Arc;

/// Longest unit; PostgreSQL's rows are shorter.
const UNIT_BYTES_MAX: usize = 3 << 30;

/// Where a unit lies.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    /// Position of the segment.
    segment: usize,
    pub(super) version: Arc<RelationVersion>,
    chunks: Vec<ChangeChunk>,
}

/// The units of a table, oldest first, and how many changes they have.
pub(super) fn units(recovery: &Recovery, table: u32) -> (Vec<Unit>, u64) {
    let (mut units, mut changes) = (Vec::new(), 0u64);
    for (number, segment) in recovery.segments.iter().enumerate() {
        for (version, run) in segment.runs.iter().filter(|(version, _)| version.oid == table) {
            changes = changes.saturating_add(run.changes);
            for chunks in run.chunks.split_inclusive(|chunk| !chunk.continues) {
                let (version, chunks) = (version.clone(), chunks.to_vec());
                units.push(Unit { segment: number, version, chunks });
            }
        }
    }
    (units, changes)
}

/// The bytes of a unit with where its changes begin.
pub(super) struct Read {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
}

impl Read {
    /// Reads a unit.
    pub(super) async fn unit(recovery: &Recovery, unit: &Unit) -> Result<Self> {
        let clear = &recovery.segments[unit.segment].clear;
        let mut bytes = Vec::new();
        for chunk in &unit.chunks {
            let opened = recovery.repository.change_chunk(clear, chunk).await?;
            if bytes.len() + opened.plain.len() > UNIT_BYTES_MAX {
                return Err(Error::new(ErrorKind::Damaged, "change is longer than any row"));
            }
            bytes.extend_from_slice(&opened.plain);
        }
        let offsets = change::offsets(&bytes).map_err(undecodable)?;
        Ok(Self { bytes, offsets })
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// The change at a position; absent when it does not count.
    pub(super) fn change(&self, segment: &UsedSegment, at: usize) -> Result<Option<Change<'_>>> {
        let change = change::decode_at(&self.bytes, self.offsets[at]).map_err(undecodable)?;
        Ok(Some(change).filter(|change| segment.counts.takes(change.member)))
    }
}

impl Unit {
    /// The segment that it lies in.
    pub(super) fn segment<'a>(&self, recovery: &'a Recovery) -> &'a UsedSegment {
        &recovery.segments[self.segment]
    }
}

fn undecodable(error: pgkeep_format::FormatError) -> Error {
    Error::undecodable("chunk of changes", error)
}
