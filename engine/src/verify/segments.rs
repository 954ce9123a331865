//! Follows every segment of change streams to its last chunk.

use super::Findings;
use super::packs::is_pack;
use crate::repository::Repository;
use crate::store::StoredObject;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::id::PackId;
use pgkeep_format::name::{ObjectName, SegmentName};
use std::collections::HashSet;

pub(super) async fn verify_all(
    repository: &Repository,
    objects: &[StoredObject],
    findings: &mut Findings,
) -> Result<()> {
    let packs: HashSet<PackId> = objects
        .iter()
        .filter(|object| is_pack(&object.name))
        .filter_map(|object| match object.name {
            ObjectName::ChangePack(pack) => Some(pack),
            _ => None,
        })
        .collect();
    for object in objects {
        let ObjectName::Segment(name) = object.name else { continue };
        findings.report.objects += 1;
        findings.report.bytes += object.len;
        let checked = verify(repository, name, &packs, findings).await;
        findings.note(&object.name, checked)?;
    }
    Ok(())
}

async fn verify(
    repository: &Repository,
    name: SegmentName,
    packs: &HashSet<PackId>,
    findings: &Findings,
) -> Result<()> {
    let segment = repository.segment(name).await?;
    if let Some(pack) = segment.clear.packs.iter().find(|pack| !packs.contains(pack)) {
        let message = format!("change pack {pack} is not in the repository");
        return Err(Error::new(ErrorKind::Damaged, message));
    }
    let sealed = segment.sealed.iter();
    let images = sealed.clone().flat_map(|sealed| &sealed.image).flat_map(|image| &image.chunks);
    let runs = sealed.flat_map(|sealed| &sealed.runs).flat_map(|run| &run.chunks);
    for chunk in runs.chain(images) {
        if !findings.proven.contains_key(&chunk.id) {
            let message = format!("chunk {} of changes is not in the repository", chunk.id);
            return Err(Error::new(ErrorKind::Damaged, message));
        }
    }
    Ok(())
}
