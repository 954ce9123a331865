//! Removes what is on lists that wait for nobody any more, after one more look: what a backup
//! needs by now stays.
//!
//! What the store does not let go stays on its list, which stays too, so that no writer relies on
//! it: the next prune tries again. A pack goes only after all indexes that name it, for these are
//! relied upon.

use super::PruneReport;
use super::live::{Lists, Live};
use super::packs::Packs;
use crate::repository::{Repository, list_indexes, pack_lengths, read_index};
use crate::{ErrorKind, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use pgkeep_format::id::{ChunkId, ObjectId, PackId};
use pgkeep_format::index::IndexedPack;
use pgkeep_format::name::ObjectName;
use pgkeep_format::prune::PruneList;
use std::collections::{HashMap, HashSet};

/// Objects that are removed at the same time.
const REMOVALS_AT_ONCE: usize = 8;
/// An index that is smaller is put together with others, where there are many.
const SMALL_INDEX_BYTES: u64 = 1 << 20;
/// So many small indexes are left as they are.
const SMALL_INDEXES: usize = 32;
/// Lines of chunks in an index that is written here: 48 MB of them.
const LINES_PER_INDEX: usize = 1_000_000;

/// What goes.
#[derive(Debug, Default)]
struct Goes {
    packs: HashMap<PackId, u64>,
    changes: HashMap<PackId, u64>,
}

/// Removes the packs of `ready` lists, and the lists.
pub(super) async fn sweep(
    repository: &Repository,
    ready: &[(ObjectId, PruneList)],
    live: &mut Live,
    report: &mut PruneReport,
) -> Result<()> {
    if ready.is_empty() {
        return Ok(());
    }
    live.look(repository, &mut Lists::default()).await?;
    let packs = Packs::look(repository).await?;
    let mut goes = decide(repository, ready, live, &packs).await?;
    let still_named = rewrite_indexes(repository, &goes.packs, &packs).await?;
    let mut retained: HashSet<PackId> =
        goes.packs.keys().filter(|pack| still_named.contains(pack)).copied().collect();
    let held_back: Vec<u64> = retained.iter().filter_map(|pack| goes.packs.remove(pack)).collect();
    report.retained_packs += held_back.len() as u64;
    report.retained_bytes += held_back.iter().sum::<u64>();
    let names = goes.packs.iter().map(|(pack, len)| (ObjectName::Pack(*pack), *pack, *len));
    let changes = goes.changes.iter();
    let changes = changes.map(|(pack, len)| (ObjectName::ChangePack(*pack), *pack, *len));
    let goes: Vec<(ObjectName, PackId, u64)> = names.chain(changes).collect();
    let refused = remove_all(repository, goes.iter().map(|(name, ..)| *name).collect()).await?;
    for (name, pack, len) in goes {
        if refused.contains(&name) {
            retained.insert(pack);
            report.retained_packs += 1;
            report.retained_bytes += len;
        } else {
            report.removed_packs += 1;
            report.removed_bytes += len;
        }
    }
    let is_done = |list: &PruneList| {
        !list.packs.iter().chain(&list.change_packs).any(|pack| retained.contains(pack))
    };
    let done = ready.iter().filter(|(_, list)| is_done(list));
    remove_all(repository, done.map(|(id, _)| ObjectName::PruneList(*id)).collect()).await?;
    Ok(())
}

/// Removes objects; returns those that the store does not let go.
async fn remove_all(
    repository: &Repository,
    names: Vec<ObjectName>,
) -> Result<HashSet<ObjectName>> {
    let removals = names.into_iter().map(|name| {
        let repository = repository.clone();
        async move { Ok((!repository.remove(&name).await?).then_some(name)) }
    });
    let refused = stream::iter(removals).buffer_unordered(REMOVALS_AT_ONCE);
    refused.try_filter_map(async |refused| Ok(refused)).try_collect().await
}

/// Of the packs on the lists, those that can go: what something needs of them lies elsewhere, in
/// packs that are on nobody's list.
async fn decide(
    repository: &Repository,
    ready: &[(ObjectId, PruneList)],
    live: &Live,
    packs: &Packs,
) -> Result<Goes> {
    // Our own lists are among them, and so are those of others, who look as we do.
    let lists = repository.prune_lists().await?;
    let condemned: HashSet<PackId> = lists.into_iter().flat_map(|(_, list)| list.packs).collect();
    let mut goes = Goes::default();
    for pack in ready.iter().flat_map(|(_, list)| &list.change_packs) {
        if let Some(len) = packs.changes.get(pack)
            && !live.needs_changes(pack)
        {
            goes.changes.insert(*pack, *len);
        }
    }
    let candidates: HashSet<PackId> =
        ready.iter().flat_map(|(_, list)| list.packs.iter().copied()).collect();
    let mut only_there: HashSet<ChunkId> = HashSet::new();
    for pack in candidates.iter().filter_map(|id| packs.chunks.get(id)) {
        only_there.extend(pack.live_entries(live).map(|entry| entry.chunk));
    }
    if !only_there.is_empty() {
        let stay = packs.chunks.iter().filter(|(id, pack)| {
            pack.is_signed && !candidates.contains(id) && !condemned.contains(id)
        });
        for (_, pack) in stay {
            pack.entries.iter().for_each(|entry| {
                only_there.remove(&entry.chunk);
            });
        }
    }
    for id in candidates {
        let Some(pack) = packs.chunks.get(&id) else { continue };
        let is_needed = pack.live_entries(live).any(|entry| only_there.contains(&entry.chunk));
        if is_needed {
            continue;
        }
        // An index of somebody who lies must not talk us out of a pack of others.
        match repository.pack_footer(ObjectName::Pack(id), pack.len).await {
            Ok(entries) if entries == pack.entries => {
                goes.packs.insert(id, pack.len);
            }
            Ok(_) => tracing::warn!("pack {id} stays: its index and its footer do not agree"),
            Err(error) if error.is_of_store() => return Err(error),
            Err(error) => tracing::warn!("pack {id} stays: {error:?}"),
        }
    }
    Ok(goes)
}

/// Writes indexes again that name packs which go or are gone, and puts many small ones together;
/// what they say of others stays signed. Returns the packs that indexes name which the store does
/// not let go.
async fn rewrite_indexes(
    repository: &Repository,
    goes: &HashMap<PackId, u64>,
    packs: &Packs,
) -> Result<HashSet<PackId>> {
    // In this order: a pack is there before an index names it.
    let objects = list_indexes(repository).await?;
    let there = pack_lengths(repository).await?;
    let stays = |pack: &IndexedPack| {
        !goes.contains_key(&pack.pack) && there.get(&pack.pack) == Some(&pack.len)
    };
    let small = objects.iter().filter(|object| object.len < SMALL_INDEX_BYTES).count();
    // What indexes that stay say is not said again: one that the store does not let go is here
    // with every prune.
    let (mut replaced, mut written) = (Vec::new(), HashSet::new());
    for object in objects {
        let Some(indexed) = read_if_there(repository, &object.name).await? else { continue };
        let is_small = small > SMALL_INDEXES && object.len < SMALL_INDEX_BYTES;
        if !is_small && indexed.iter().all(stays) {
            written.extend(indexed.iter().map(|pack| pack.pack));
        } else {
            replaced.push(object.name);
        }
    }
    let (mut kept, mut lines): (Vec<IndexedPack>, usize) = (Vec::new(), 0);
    for name in &replaced {
        for pack in read_if_there(repository, name).await?.into_iter().flatten().filter(stays) {
            // Where indexes contradict each other, nobody here can tell who is right.
            if !written.insert(pack.pack) && !packs.unreadable.contains(&pack.pack) {
                continue;
            }
            lines += pack.entries.len();
            kept.push(pack);
            if lines >= LINES_PER_INDEX {
                repository.store_index(&std::mem::take(&mut kept)).await?;
                lines = 0;
            }
        }
    }
    if !kept.is_empty() {
        repository.store_index(&kept).await?;
    }
    let mut still_named = HashSet::new();
    for name in remove_all(repository, replaced).await? {
        let indexed = read_if_there(repository, &name).await?.unwrap_or_default();
        still_named.extend(indexed.into_iter().map(|pack| pack.pack));
    }
    Ok(still_named)
}

/// What an index says; absent where another prune was faster, or it is of somebody who is not
/// believed any more.
async fn read_if_there(
    repository: &Repository,
    name: &ObjectName,
) -> Result<Option<Vec<IndexedPack>>> {
    match read_index(repository, name).await {
        Ok(indexed) => Ok(Some(indexed)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Untrusted) => {
            Ok(None)
        }
        // It may name packs that go: whoever reads it later would look for them.
        Err(error) => Err(error.hint("Run: pgkeep repair index")),
    }
}
