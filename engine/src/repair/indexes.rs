//! Indexes: which are of use, and new ones in the place of those that are not.

use super::{RepairOptions, RepairReport, chain};
use crate::progress::{Event, Progress};
use crate::repository::{Repository, pack_lengths, read_index};
use crate::{ErrorKind, Result};
use pgkeep_format::id::PackId;
use pgkeep_format::index::IndexedPack;
use pgkeep_format::name::{INDEXES, ObjectName};
use pgkeep_format::object;
use pgkeep_format::pack::FooterEntry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A new index is written when so many lines are gathered for it.
const LINES_PER_INDEX: usize = 1 << 16;

pub(super) async fn repair(
    repository: &Repository,
    options: &RepairOptions,
    progress: &Arc<dyn Progress>,
) -> Result<RepairReport> {
    progress.event(Event::Phase("reading indexes".to_owned()));
    let mut report = RepairReport::default();
    let mut packs = pack_lengths(repository).await?;
    // A prune is about to remove them: no index is to name them any more.
    for (_, list) in repository.prune_lists().await? {
        for pack in &list.packs {
            packs.remove(pack);
        }
    }
    let mut indexes = Indexes::read(repository, &packs, &HashSet::new(), &mut report).await?;
    let unnamed: Vec<(PackId, u64)> = packs
        .iter()
        .filter(|(pack, _)| !indexes.named.contains(*pack))
        .map(|(pack, len)| (*pack, *len))
        .collect();
    let carried = indexes.carry_over(&packs).await?;
    progress.event(Event::Phase("reading packs that no index names".to_owned()));
    let bytes = unnamed.iter().map(|(_, len)| len).sum();
    progress.event(Event::Plan { tables: unnamed.len() as u64, bytes });
    for (pack, len) in unnamed {
        if carried.contains(&pack) {
            continue;
        }
        match whole_pack(repository, pack, len).await? {
            Ok(entries) => {
                report.indexed.push(pack);
                indexes.add(IndexedPack { pack, len, entries }, options.dry_run).await?;
            }
            Err(why) => report.warnings.push(format!(
                "pack {pack} is damaged and gets no index: {why}; pgkeep repair packs saves what \
                 is left of it"
            )),
        }
        progress.event(Event::Advanced { rows: 0, bytes: len, stored: 0 });
    }
    indexes.replace(options.dry_run, &mut report).await?;
    Ok(report)
}

/// The frames of a pack that is good from its first frame to its last; else why it is not.
async fn whole_pack(
    repository: &Repository,
    pack: PackId,
    len: u64,
) -> Result<Result<Vec<FooterEntry>, String>> {
    let name = ObjectName::Pack(pack);
    let checked = async {
        repository.check_pack_header(&name, len).await?;
        let entries = match repository.pack_footer(name, len).await {
            Err(error) if error.kind() == ErrorKind::Damaged => {
                repository.walk_pack(&name, len).await?
            }
            entries => entries?,
        };
        for entry in &entries {
            repository.check_frame(&name, entry, None, repository.can_read()).await?;
        }
        Ok(entries)
    };
    match checked.await {
        Ok(entries) if is_back_to_back(&entries) => Ok(Ok(entries)),
        Ok(_) => Ok(Err("frames are missing between others".to_owned())),
        Err(error) if crate::Error::is_of_store(&error) => Err(error),
        Err(error) => Ok(Err(chain(&error))),
    }
}

/// An index has no room for a gap.
fn is_back_to_back(entries: &[FooterEntry]) -> bool {
    let mut expected = object::HEADER_LEN as u64;
    entries.iter().all(|entry| {
        let follows = entry.offset == expected;
        expected = entry.offset + entry.frame_len();
        follows
    })
}

/// The indexes of a repository, and those that take the place of the useless ones.
pub(super) struct Indexes<'a> {
    repository: &'a Repository,
    /// Packs that an index of use names.
    pub(super) named: HashSet<PackId>,
    /// Indexes to remove; whether they can be read.
    useless: Vec<(ObjectName, bool)>,
    waiting: Vec<IndexedPack>,
    lines: usize,
}

impl<'a> Indexes<'a> {
    /// Reads all indexes. One is of use if it can be read, all its packs are there, and none of
    /// them is among those that go.
    pub(super) async fn read(
        repository: &'a Repository,
        packs: &HashMap<PackId, u64>,
        going: &HashSet<PackId>,
        report: &mut RepairReport,
    ) -> Result<Self> {
        let mut indexes = Self {
            repository,
            named: HashSet::new(),
            useless: Vec::new(),
            waiting: Vec::new(),
            lines: 0,
        };
        for object in repository.store().list(INDEXES).await? {
            let name = object.name;
            match read_index(repository, &name).await {
                Ok(indexed) => match indexes.why_useless(&indexed, packs, going).await? {
                    None => indexes.named.extend(indexed.iter().map(|pack| pack.pack)),
                    Some(why) => {
                        indexes.useless.push((name, true));
                        report.removed_indexes.push((name, why));
                    }
                },
                Err(error) if error.is_of_store() => return Err(error),
                // Removed by somebody else meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::UnsupportedFormat => {
                    report.warnings.push(format!("{} and stays as it is", chain(&error)));
                }
                Err(error) => {
                    indexes.useless.push((name, false));
                    report.removed_indexes.push((name, chain(&error)));
                }
            }
        }
        Ok(indexes)
    }

    async fn why_useless(
        &self,
        indexed: &[IndexedPack],
        packs: &HashMap<PackId, u64>,
        going: &HashSet<PackId>,
    ) -> Result<Option<String>> {
        for pack in indexed {
            let name = ObjectName::Pack(pack.pack);
            let len = match packs.get(&pack.pack) {
                Some(len) => Some(*len),
                // Written since the list was made, if it is there.
                None => self.repository.store().len(&name).await?,
            };
            if going.contains(&pack.pack) {
                return Ok(Some(format!("it names pack {}, which is damaged", pack.pack)));
            }
            if len.is_none() {
                return Ok(Some(format!("it names pack {}, which is gone", pack.pack)));
            }
            if len != Some(pack.len) {
                let why = format!("it names pack {}, which has another length", pack.pack);
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    /// Takes over what useless indexes say of packs among `stay` that no other names: it was signed
    /// for. Returns these packs.
    pub(super) async fn carry_over(
        &mut self,
        stay: &HashMap<PackId, u64>,
    ) -> Result<HashSet<PackId>> {
        let mut carried = HashSet::new();
        let readable = self.useless.iter().filter(|(_, readable)| *readable);
        let names: Vec<ObjectName> = readable.map(|(name, _)| *name).collect();
        for name in names {
            for pack in read_index(self.repository, &name).await? {
                let stays = stay.get(&pack.pack) == Some(&pack.len);
                if stays && !self.named.contains(&pack.pack) && carried.insert(pack.pack) {
                    // Written with the others: nothing is removed before.
                    self.waiting.push(pack);
                }
            }
        }
        Ok(carried)
    }

    /// Names a pack in a new index.
    pub(super) async fn add(&mut self, pack: IndexedPack, dry_run: bool) -> Result<()> {
        if dry_run {
            return Ok(());
        }
        self.lines += pack.entries.len();
        self.waiting.push(pack);
        if self.lines >= LINES_PER_INDEX { self.write().await } else { Ok(()) }
    }

    async fn write(&mut self) -> Result<()> {
        self.lines = 0;
        let packs = std::mem::take(&mut self.waiting);
        if !packs.is_empty() {
            self.repository.store_index(&packs).await?;
        }
        Ok(())
    }

    /// Writes what is left of the new indexes, then removes the useless ones.
    pub(super) async fn replace(mut self, dry_run: bool, report: &mut RepairReport) -> Result<()> {
        report.indexed.sort_unstable();
        if dry_run {
            return Ok(());
        }
        self.write().await?;
        for (name, _) in &self.useless {
            self.repository.store().delete(name).await?;
        }
        Ok(())
    }
}
