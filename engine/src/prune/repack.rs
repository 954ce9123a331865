//! Copies what is needed of packs into new ones, sealed as it is: no key is needed for that.

use super::live::Live;
use super::packs::{Pack, Packs};
use crate::progress::{Event, Progress};
use crate::repository::{NewFrame, PACK_TARGET, Packer, Repository};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::frame::{FrameHeader, HEADER_LEN};
use pgkeep_format::id::PackId;
use pgkeep_format::name::ObjectName;
use pgkeep_format::pack::FooterEntry;
use std::sync::Arc;

/// Bytes that are read at a time, or one frame.
const READ_TARGET: u64 = 8 << 20;

/// What was copied.
#[derive(Debug, Default)]
pub(super) struct Repacked {
    /// Packs of which all that is needed lies in new ones now, durable and indexed.
    pub(super) packs: Vec<PackId>,
    /// Packs that stay since they are damaged, and how.
    pub(super) damaged: Vec<(PackId, Error)>,
}

/// Copies the needed frames of packs.
pub(super) async fn repack(
    repository: &Repository,
    packs: &Packs,
    wanted: &[PackId],
    live: &Live,
    progress: &Arc<dyn Progress>,
) -> Result<Repacked> {
    let mut repacked = Repacked::default();
    let mut packer = Packer::new(repository, PACK_TARGET);
    for id in wanted {
        let Some(pack) = packs.chunks.get(id) else { continue };
        match copy(repository, *id, pack, live, &mut packer, progress).await {
            Ok(()) => repacked.packs.push(*id),
            Err(error) if error.kind() == ErrorKind::Damaged => {
                repacked.damaged.push((*id, error));
            }
            Err(error) => return Err(error),
        }
    }
    packer.finish().await?;
    Ok(repacked)
}

async fn copy(
    repository: &Repository,
    id: PackId,
    pack: &Pack,
    live: &Live,
    packer: &mut Packer,
    progress: &Arc<dyn Progress>,
) -> Result<()> {
    let name = ObjectName::Pack(id);
    let entries: Vec<FooterEntry> = pack.live_entries(live).copied().collect();
    for run in runs(&entries).collect::<Vec<_>>() {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        let range = first.offset..last.offset + last.frame_len();
        let bytes = repository.store().read(&name, range).await?;
        for entry in run {
            let at = usize::try_from(entry.offset - first.offset).unwrap_or(usize::MAX);
            let end = at.saturating_add(usize::try_from(entry.frame_len()).unwrap_or(usize::MAX));
            let frame = bytes.get(at..end).ok_or_else(|| {
                Error::new(ErrorKind::Damaged, format!("object \"{name}\" is truncated"))
            })?;
            check(frame, entry)?;
            let (chunk, frame_type) = (entry.chunk, entry.frame_type);
            packer.add(NewFrame { chunk, frame_type, bytes: frame.to_vec() }).await?;
            progress.event(Event::Advanced { rows: 0, bytes: entry.frame_len(), stored: 0 });
        }
    }
    Ok(())
}

/// Frames that lie side by side, as many as are read at a time.
fn runs(entries: &[FooterEntry]) -> impl Iterator<Item = &[FooterEntry]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let mut end = first.offset;
        let len = rest
            .iter()
            .take_while(|entry| {
                let follows = entry.offset == end
                    && (end == first.offset || end - first.offset < READ_TARGET);
                end += entry.frame_len();
                follows
            })
            .count();
        let (run, others) = rest.split_at(len.max(1));
        rest = others;
        Some(run)
    })
}

/// Compares a frame with its checksums and with what the index says of it.
fn check(frame: &[u8], entry: &FooterEntry) -> Result<()> {
    let damaged = |error| Error::undecodable(format!("chunk {}", entry.chunk), error);
    let header = FrameHeader::decode(frame).map_err(damaged)?;
    let is_listed = header.chunk == entry.chunk
        && header.frame_type == entry.frame_type
        && header.stored_len == entry.stored_len;
    if !is_listed {
        let message = format!("chunk {} is not where the index says", entry.chunk);
        return Err(Error::new(ErrorKind::Damaged, message));
    }
    header.check_payload(&frame[HEADER_LEN..]).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgkeep_format::frame::FrameType;
    use pgkeep_format::id::ChunkId;

    #[test]
    fn frames_side_by_side_are_read_together_up_to_a_limit() {
        let entry = |offset, stored_len| FooterEntry {
            chunk: ChunkId([1; 32]),
            frame_type: FrameType::Rows,
            stored_len,
            offset,
        };
        let small = HEADER_LEN as u64 + 4;
        let large = u32::try_from(READ_TARGET).unwrap();
        let entries = [
            entry(64, 4),
            entry(64 + small, large),
            entry(64 + small + u64::from(large) + HEADER_LEN as u64, 4),
            entry(1 << 40, 4),
        ];
        let lens: Vec<usize> = runs(&entries).map(<[FooterEntry]>::len).collect();
        assert_eq!(lens, [2, 1, 1]);
    }
}
