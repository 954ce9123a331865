//! Reads packs from their first byte to their last: all, or some chosen at random.

use super::{Counted, Findings, PacksRead, VerifyOptions};
use crate::progress::{Event, Progress};
use crate::repository::Repository;
use crate::seal::{Opened, random};
use crate::store::StoredObject;
use crate::{Error, ErrorKind, Result};
use futures_util::{StreamExt, stream};
use pgkeep_format::frame::FrameType;
use pgkeep_format::id::{KeyId, PackId};
use pgkeep_format::name::ObjectName;
use pgkeep_format::pack::FooterEntry;
use pgkeep_format::tuple;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

/// Packs that are read at the same time.
const PACKS_AT_ONCE: usize = 4;

/// What reading one pack gave.
#[derive(Default)]
struct PackFindings {
    proven: Vec<(FooterEntry, Option<Counted>)>,
    chunks: u64,
    damaged: u64,
    /// The first damaged chunk.
    first: Option<Error>,
}

/// The packs to read. Where that is not all, or may not be, they come in an order of chance, so
/// that in time each is read.
pub(super) fn choose(
    objects: &[StoredObject],
    options: &VerifyOptions,
) -> Result<Vec<StoredObject>> {
    let packs = objects.iter().filter(|object| is_pack(&object.name)).copied();
    if options.read_percent.is_none() && options.budget.is_none() {
        return Ok(packs.collect());
    }
    let shuffled: Result<Vec<([u8; 8], StoredObject)>> =
        packs.map(|pack| Ok((random()?, pack))).collect();
    let mut shuffled = shuffled?;
    shuffled.sort_unstable_by_key(|(chance, _)| *chance);
    let percent = usize::from(options.read_percent.unwrap_or(100).min(100));
    shuffled.truncate(shuffled.len().saturating_mul(percent).div_ceil(100));
    Ok(shuffled.into_iter().map(|(_, pack)| pack).collect())
}

pub(super) async fn verify_all(
    repository: &Repository,
    objects: &[StoredObject],
    chosen: &[StoredObject],
    deadline: Option<Instant>,
    progress: &Arc<dyn Progress>,
    findings: &mut Findings,
) -> Result<()> {
    let mut share = PacksRead::default();
    for pack in objects.iter().filter(|object| is_pack(&object.name)) {
        share.all += 1;
        share.bytes += pack.len;
    }
    let (keys, opens) = (Arc::new(std::mem::take(&mut findings.keys)), findings.opens);
    let checks = chosen.iter().copied().map(|StoredObject { name, len }| {
        let (repository, progress, keys) = (repository.clone(), progress.clone(), keys.clone());
        async move {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return None;
            }
            let pack = Pack { repository, name, len, keys, opens };
            let mut found = PackFindings::default();
            let checked = pack.verify(&progress, &mut found).await;
            Some((name, len, found, checked))
        }
    });
    let mut checks = stream::iter(checks).buffer_unordered(PACKS_AT_ONCE);
    while let Some(checked) = checks.next().await {
        let Some((name, len, found, checked)) = checked else {
            share.out_of_time = true;
            continue;
        };
        share.read += 1;
        share.bytes_read += len;
        findings.add(&name, len, found);
        findings.note(&name, checked)?;
    }
    drop(checks);
    findings.keys = Arc::unwrap_or_clone(keys);
    findings.report.packs = Some(share);
    Ok(())
}

impl Findings {
    fn add(&mut self, name: &ObjectName, len: u64, found: PackFindings) {
        let pack = pack_id(name);
        self.read.insert(pack);
        self.report.objects += 1;
        self.report.bytes += len;
        self.report.chunks += found.chunks;
        for (entry, counted) in found.proven {
            match name {
                ObjectName::ChangePack(_) => {
                    self.changes.insert((pack, entry.offset), entry.chunk);
                }
                _ => {
                    self.proven.insert(entry.chunk, counted);
                }
            }
        }
    }
}

/// Whether an object is a pack, of rows and entries or of changes.
pub(super) fn is_pack(name: &ObjectName) -> bool {
    matches!(name, ObjectName::Pack(_) | ObjectName::ChangePack(_))
}

pub(super) fn pack_id(name: &ObjectName) -> PackId {
    match name {
        ObjectName::Pack(id) | ObjectName::ChangePack(id) => *id,
        _ => PackId::default(),
    }
}

/// A pack to read.
struct Pack {
    repository: Repository,
    name: ObjectName,
    len: u64,
    keys: Arc<HashSet<KeyId>>,
    opens: bool,
}

impl Pack {
    async fn verify(&self, progress: &Arc<dyn Progress>, found: &mut PackFindings) -> Result<()> {
        self.repository.check_pack_header(&self.name, self.len).await?;
        for entry in self.repository.pack_footer(self.name, self.len).await? {
            found.chunks += 1;
            let keys = Some(&*self.keys);
            match self.repository.check_frame(&self.name, &entry, keys, self.opens).await {
                Ok(_) if matches!(entry.frame_type, FrameType::Ancillary(_)) => {}
                Ok(frame) => found.proven.push((entry, frame.opened.as_ref().map(counted))),
                Err(error) if error.is_of_store() || error.kind() == ErrorKind::NotFound => {
                    return Err(error);
                }
                Err(error) => {
                    found.damaged += 1;
                    found.first.get_or_insert_with(|| {
                        let message =
                            format!("chunk {} at byte {} is damaged", entry.chunk, entry.offset);
                        Error::new(ErrorKind::Damaged, message).because(error)
                    });
                }
            }
            progress.event(Event::Advanced { rows: 0, bytes: entry.frame_len(), stored: 0 });
        }
        let Some(first) = found.first.take() else { return Ok(()) };
        if found.damaged == 1 {
            return Err(first);
        }
        let message =
            format!("{} of {} chunks are damaged, the first", found.damaged, found.chunks);
        Err(Error::new(ErrorKind::Damaged, message).because(first))
    }
}

pub(super) fn counted(opened: &Opened) -> Counted {
    // PLAIN_LEN_MAX keeps both within u32.
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let lines = memchr::memchr_iter(b'\n', &opened.plain).count();
    let tuples = tuple::whole_rows(&opened.plain);
    Counted {
        plain_len: count(opened.plain.len()),
        lines: count(lines),
        tuples: tuples.map(|rows| u32::try_from(rows).unwrap_or(u32::MAX)),
        row_continues: opened.row_continues,
    }
}
