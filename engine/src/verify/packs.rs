//! Reads every pack from its first byte to its last.

use super::{Findings, Proven};
use crate::progress::{Event, Progress};
use crate::repository::Repository;
use crate::seal::Opened;
use crate::store::StoredObject;
use crate::{Error, ErrorKind, Result};
use futures_util::{StreamExt, stream};
use pgkeep_format::frame::{FrameHeader, FrameType, HEADER_LEN, Suite};
use pgkeep_format::id::{ChunkId, PackId};
use pgkeep_format::name::ObjectName;
use pgkeep_format::object::{self, ObjectHeader, ObjectType};
use pgkeep_format::pack::FooterEntry;
use std::sync::Arc;

/// Packs that are read at the same time.
const PACKS_AT_ONCE: usize = 4;

/// What reading one pack gave.
#[derive(Default)]
struct PackFindings {
    proven: Vec<(ChunkId, Proven)>,
    chunks: u64,
    problems: Vec<Error>,
}

pub(super) async fn verify_all(
    repository: &Repository,
    objects: &[StoredObject],
    progress: &Arc<dyn Progress>,
    findings: &mut Findings,
) -> Result<()> {
    let packs = objects.iter().filter(|object| is_pack(&object.name)).copied();
    let checks = packs.map(|StoredObject { name, len }| {
        let (repository, progress) = (repository.clone(), progress.clone());
        async move {
            let mut found = PackFindings::default();
            let checked = verify_pack(&repository, name, len, &progress, &mut found).await;
            (name, len, found, checked)
        }
    });
    let mut checks = stream::iter(checks).buffer_unordered(PACKS_AT_ONCE);
    while let Some((name, len, found, checked)) = checks.next().await {
        findings.report.objects += 1;
        findings.report.bytes += len;
        findings.report.chunks += found.chunks;
        findings.proven.extend(found.proven);
        for problem in found.problems {
            findings.note::<()>(&name, Err(problem))?;
        }
        findings.note(&name, checked)?;
    }
    Ok(())
}

/// Whether an object is a pack, of rows and entries or of changes.
pub(super) fn is_pack(name: &ObjectName) -> bool {
    matches!(name, ObjectName::Pack(_) | ObjectName::ChangePack(_))
}

fn pack_id(name: &ObjectName) -> PackId {
    match name {
        ObjectName::Pack(id) | ObjectName::ChangePack(id) => *id,
        _ => PackId::default(),
    }
}

async fn verify_pack(
    repository: &Repository,
    name: ObjectName,
    len: u64,
    progress: &Arc<dyn Progress>,
    found: &mut PackFindings,
) -> Result<()> {
    let store = repository.store();
    let header_len = (object::HEADER_LEN as u64).min(len);
    let header = ObjectHeader::decode(&store.read(&name, 0..header_len).await?)
        .map_err(|error| Error::undecodable("pack header", error))?;
    if header.object_type != ObjectType::Pack || header.id != pack_id(&name).0 {
        return Err(Error::new(ErrorKind::Damaged, "another object lies under the pack's name"));
    }
    if header.repository != repository.id() {
        let message = format!("pack belongs to repository {}", header.repository);
        return Err(Error::new(ErrorKind::Damaged, message));
    }
    let entries = repository.pack_footer(name, len).await?;
    for entry in entries {
        found.chunks += 1;
        match verify_frame(repository, &name, &entry).await {
            Ok(None) => {}
            Ok(Some(proven)) => found.proven.push((entry.chunk, proven)),
            Err(error) if error.is_of_store() => return Err(error),
            Err(error) => {
                let message = format!("chunk {} at byte {} is damaged", entry.chunk, entry.offset);
                found.problems.push(Error::new(ErrorKind::Damaged, message).because(error));
            }
        }
        progress.event(Event::Advanced { rows: 0, bytes: entry.frame_len(), stored: 0 });
    }
    Ok(())
}

/// Proves one frame; nothing where its type is of a later version.
async fn verify_frame(
    repository: &Repository,
    name: &ObjectName,
    entry: &FooterEntry,
) -> Result<Option<Proven>> {
    let range = entry.offset..entry.offset + entry.frame_len();
    let frame = repository.store().read(name, range).await?;
    let undecodable = |error| Error::undecodable("frame", error);
    let header = FrameHeader::decode(&frame).map_err(undecodable)?;
    let as_listed = header.chunk == entry.chunk
        && header.frame_type == entry.frame_type
        && header.stored_len == entry.stored_len;
    if !as_listed {
        return Err(Error::new(ErrorKind::Damaged, "frame is not the one that the footer lists"));
    }
    header.check_payload(&frame[HEADER_LEN..]).map_err(undecodable)?;
    if matches!(header.frame_type, FrameType::Ancillary(_)) {
        return Ok(None);
    }
    if header.suite != Suite::None && !repository.can_read() {
        // The checksums are all that can be compared without a key.
        return Ok(Some(Proven { plain_len: 0, row_ends: 0, row_continues: None }));
    }
    repository.open_frame(header, frame).await.map(|opened| Some(proven(&opened)))
}

pub(super) fn proven(opened: &Opened) -> Proven {
    // PLAIN_LEN_MAX keeps both within u32.
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let row_ends = opened.plain.iter().filter(|byte| **byte == b'\n').count();
    Proven {
        plain_len: count(opened.plain.len()),
        row_ends: count(row_ends),
        row_continues: Some(opened.row_continues),
    }
}
