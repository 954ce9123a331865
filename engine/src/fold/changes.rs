//! The changes of one table, read in units: runs of chunks that begin and end between
//! changes.

use super::mapping::Mapping;
use super::recovery::{Counts, Recovery, UsedSegment};
use crate::repository::Repository;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::change::{self, Change};
use pgkeep_format::segment::{ChangeChunk, ClearPart, RelationVersion};
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
    /// How many changes it has, about.
    pub(super) changes: u64,
    /// How its rows become those of the table as the fold sees it.
    pub(super) mapping: Mapping,
    /// Whether its columns are not known: none of its changes may count.
    pub(super) is_unknown: bool,
}

/// The units of a table, oldest first.
pub(super) fn units(recovery: &Recovery, table: u32) -> Vec<Unit> {
    let mut units = Vec::new();
    for (number, segment) in recovery.segments.iter().enumerate() {
        for (version, run) in segment.runs.iter().filter(|(version, _)| version.oid == table) {
            // It is known of all of them together; each has about as many.
            let of = run.chunks.iter().filter(|chunk| !chunk.continues).count() as u64;
            let changes = run.changes.div_ceil(of.max(1));
            for chunks in run.chunks.split_inclusive(|chunk| !chunk.continues) {
                let (version, chunks) = (version.clone(), chunks.to_vec());
                let mapping = Mapping::none();
                let is_unknown = false;
                units.push(Unit { segment: number, version, chunks, changes, mapping, is_unknown });
            }
        }
    }
    units
}

/// The bytes of a unit with where its changes begin.
pub(crate) struct Read {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
}

impl Read {
    /// Reads a unit.
    pub(super) async fn unit(recovery: &Recovery, unit: &Unit) -> Result<Self> {
        let clear = &recovery.segments[unit.segment].clear;
        let read = Self::chunks(&recovery.repository, clear, &unit.chunks).await?;
        if unit.is_unknown {
            let counts = unit.counts(recovery);
            for at in 0..read.len() {
                if read.change(counts, at)?.is_some() {
                    return Err(unknown());
                }
            }
            return Ok(Self { bytes: Vec::new(), offsets: Vec::new() });
        }
        if unit.mapping.is_same() { Ok(read) } else { read.mapped(&unit.mapping) }
    }

    /// Reads chunks of which the last ends with a change.
    pub(crate) async fn chunks(
        repository: &Repository,
        clear: &ClearPart,
        chunks: &[ChangeChunk],
    ) -> Result<Self> {
        let mut bytes = Vec::new();
        for chunk in chunks {
            let opened = repository.change_chunk(clear, chunk).await?;
            if bytes.len() + opened.plain.len() > UNIT_BYTES_MAX {
                return Err(Error::new(ErrorKind::Damaged, "change is longer than any row"));
            }
            match bytes.is_empty() {
                true => bytes = opened.plain,
                false => bytes.extend_from_slice(&opened.plain),
            }
        }
        let offsets = change::offsets(&bytes).map_err(undecodable)?;
        Ok(Self { bytes, offsets })
    }

    fn mapped(&self, mapping: &Mapping) -> Result<Self> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut offsets = Vec::with_capacity(self.offsets.len());
        for offset in &self.offsets {
            let change = change::decode_at(&self.bytes, *offset).map_err(undecodable)?;
            offsets.push(bytes.len());
            mapping.change(&change, &mut bytes)?;
        }
        Ok(Self { bytes, offsets })
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// The change at a position; absent when it does not count.
    pub(crate) fn change(&self, counts: &Counts, at: usize) -> Result<Option<Change<'_>>> {
        let change = change::decode_at(&self.bytes, self.offsets[at]).map_err(undecodable)?;
        Ok(Some(change).filter(|change| counts.takes(change.member)))
    }
}

impl Unit {
    fn segment<'a>(&self, recovery: &'a Recovery) -> &'a UsedSegment {
        &recovery.segments[self.segment]
    }

    /// Which of its changes count.
    pub(super) fn counts<'a>(&self, recovery: &'a Recovery) -> &'a Counts {
        &self.segment(recovery).counts
    }

    /// The position in the run of the segment that it lies in.
    pub(super) fn index(&self, recovery: &Recovery) -> usize {
        self.segment(recovery).index
    }
}

fn unknown() -> Error {
    let message = "its definition changed between the backup and the moment";
    Error::new(ErrorKind::UnsupportedFormat, message)
        .hint("Restore to a moment before the change, or after a later backup.")
}

fn undecodable(error: pgkeep_format::FormatError) -> Error {
    Error::undecodable("chunk of changes", error)
}
