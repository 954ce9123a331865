//! Packs with damage: their good frames go into new packs, as they are.

use super::indexes::Indexes;
use super::{DamagedPack, RepairOptions, RepairReport, chain, harm};
use crate::progress::{Event, Progress};
use crate::repository::{NewFrame, PACK_TARGET, Packer, Repository, pack_lengths};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::frame::FrameType;
use pgkeep_format::id::{ChunkId, KeyId, PackId};
use pgkeep_format::name::ObjectName;
use pgkeep_format::pack::FooterEntry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A pack with damage, and what is good of it.
struct Broken {
    pack: PackId,
    good: Vec<FooterEntry>,
    bad: Vec<ChunkId>,
    why: String,
}

/// What reading a pack gave.
enum Looked {
    Whole,
    Broken(Broken),
    /// It is no pack that this version, or this repository, may touch; why.
    NotOurs(String),
    /// It is gone since it was listed.
    Gone,
}

pub(super) async fn repair(
    repository: &Repository,
    options: &RepairOptions,
    progress: &Arc<dyn Progress>,
) -> Result<RepairReport> {
    let mut report = RepairReport::default();
    let keys = repository.check_keys(&repository.store().list("").await?, false).await?.good;
    let mut packs = pack_lengths(repository).await?;
    progress.event(Event::Phase("reading packs".to_owned()));
    let asked = asked(&packs, options)?;
    let bytes = asked.iter().map(|(_, len)| len).sum();
    progress.event(Event::Plan { tables: asked.len() as u64, bytes });
    let mut broken = Vec::new();
    let wanted_keys = options.lost_keys.then_some(&keys);
    for (pack, len) in asked {
        match look(repository, pack, len, wanted_keys, progress).await? {
            Looked::Whole | Looked::Gone => {}
            Looked::Broken(one) => broken.push(one),
            Looked::NotOurs(why) => {
                report.warnings.push(format!("pack {pack} stays as it is: {why}"));
            }
        }
    }
    progress.event(Event::Phase("following backups".to_owned()));
    let going: HashSet<PackId> = broken.iter().map(|one| one.pack).collect();
    let saved: HashSet<ChunkId> =
        broken.iter().flat_map(|one| &one.good).map(|entry| entry.chunk).collect();
    harm::find(repository, &going, &saved, &keys, &mut report).await?;
    report.damaged = broken.iter().map(Broken::report).collect();
    if broken.is_empty() {
        return Ok(report);
    }
    if !options.dry_run {
        progress.event(Event::Phase("writing new packs".to_owned()));
        save(repository, &broken, wanted_keys).await?;
    }
    packs.retain(|pack, _| !going.contains(pack));
    let mut indexes = Indexes::read(repository, &packs, &going, &mut report).await?;
    indexes.carry_over(&packs).await?;
    indexes.replace(options.dry_run, &mut report).await?;
    if !options.dry_run {
        for one in &broken {
            repository.store().delete(&ObjectName::Pack(one.pack)).await?;
        }
    }
    Ok(report)
}

/// The packs that were asked for.
fn asked(packs: &HashMap<PackId, u64>, options: &RepairOptions) -> Result<Vec<(PackId, u64)>> {
    let mut asked = Vec::new();
    for pack in &options.packs {
        let len = packs.get(pack).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("pack {pack} is not in the repository"))
                .hint("Run: pgkeep verify")
        })?;
        asked.push((*pack, *len));
    }
    if options.packs.is_empty() {
        asked.extend(packs.iter().map(|(pack, len)| (*pack, *len)));
    }
    asked.sort_unstable();
    asked.dedup();
    Ok(asked)
}

/// Reads a pack from its first byte to its last.
async fn look(
    repository: &Repository,
    pack: PackId,
    len: u64,
    keys: Option<&HashSet<KeyId>>,
    progress: &Arc<dyn Progress>,
) -> Result<Looked> {
    let name = ObjectName::Pack(pack);
    let mut broken = Broken { pack, good: Vec::new(), bad: Vec::new(), why: String::new() };
    match repository.check_pack_header(&name, len).await {
        Ok(()) => {}
        Err(error) => match error.kind() {
            _ if error.is_of_store() => return Err(error),
            ErrorKind::NotFound => return Ok(Looked::Gone),
            ErrorKind::Untrusted | ErrorKind::UnsupportedFormat => {
                return Ok(Looked::NotOurs(chain(&error)));
            }
            _ => broken.note(&error),
        },
    }
    let entries = match repository.pack_footer(name, len).await {
        Ok(entries) => entries,
        Err(error) => match error.kind() {
            _ if error.is_of_store() => return Err(error),
            ErrorKind::NotFound => return Ok(Looked::Gone),
            ErrorKind::UnsupportedFormat => return Ok(Looked::NotOurs(chain(&error))),
            _ => {
                broken.note(&error);
                repository.walk_pack(&name, len).await?
            }
        },
    };
    for entry in entries {
        match repository.check_frame(&name, &entry, keys, false).await {
            Ok(_) => broken.good.push(entry),
            Err(error) if error.is_of_store() => return Err(error),
            Err(error) => match error.kind() {
                ErrorKind::NotFound => return Ok(Looked::Gone),
                ErrorKind::UnsupportedFormat => return Ok(Looked::NotOurs(chain(&error))),
                _ => {
                    let at = format!("chunk {} at byte {}", entry.chunk, entry.offset);
                    broken.note(&Error::new(ErrorKind::Damaged, at).because(error));
                    broken.bad.push(entry.chunk);
                }
            },
        }
        progress.event(Event::Advanced { rows: 0, bytes: entry.frame_len(), stored: 0 });
    }
    Ok(if broken.why.is_empty() { Looked::Whole } else { Looked::Broken(broken) })
}

impl Broken {
    /// Notes what is wrong, if it is the first of it.
    fn note(&mut self, error: &Error) {
        if self.why.is_empty() {
            self.why = chain(error);
        }
    }

    fn report(&self) -> DamagedPack {
        DamagedPack {
            pack: self.pack,
            good: self.good.len() as u64,
            bad: self.bad.clone(),
            message: self.why.clone(),
        }
    }
}

/// Moves the good frames of damaged packs into new ones; all are durable then, and indexed.
async fn save(
    repository: &Repository,
    broken: &[Broken],
    keys: Option<&HashSet<KeyId>>,
) -> Result<()> {
    let mut packer = Packer::new(repository, PACK_TARGET);
    let mut saved: HashSet<(ChunkId, FrameType)> = HashSet::new();
    for one in broken {
        let name = ObjectName::Pack(one.pack);
        for entry in &one.good {
            if !saved.insert((entry.chunk, entry.frame_type)) {
                continue;
            }
            let frame = repository.check_frame(&name, entry, keys, false).await?;
            let frame_type = entry.frame_type;
            packer
                .add(NewFrame { chunk: entry.chunk, frame_type, bytes: frame.bytes.into() })
                .await?;
        }
    }
    packer.finish().await.map(drop)
}
