//! Removes what is on lists that wait for nobody any more, after one more look: what a backup
//! needs by now stays.

use super::PruneReport;
use super::live::{Lists, Live};
use super::packs::Packs;
use crate::repository::{Repository, pack_lengths, read_index};
use crate::{ErrorKind, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use pgkeep_format::id::{ChunkId, ObjectId, PackId};
use pgkeep_format::index::IndexedPack;
use pgkeep_format::name::{INDEXES, ObjectName};
use pgkeep_format::prune::PruneList;
use std::collections::HashSet;

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
    packs: HashSet<PackId>,
    changes: HashSet<PackId>,
    bytes: u64,
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
    let goes = decide(repository, ready, live, &packs).await?;
    rewrite_indexes(repository, &goes.packs, &packs).await?;
    report.removed_packs += (goes.packs.len() + goes.changes.len()) as u64;
    report.removed_bytes += goes.bytes;
    let names = goes.packs.into_iter().map(ObjectName::Pack);
    let names = names.chain(goes.changes.into_iter().map(ObjectName::ChangePack));
    remove_all(repository, names.collect()).await?;
    let lists = ready.iter().map(|(id, _)| ObjectName::PruneList(*id));
    remove_all(repository, lists.collect()).await
}

async fn remove_all(repository: &Repository, names: Vec<ObjectName>) -> Result<()> {
    let removals = names.into_iter().map(|name| {
        let repository = repository.clone();
        async move { repository.store().delete(&name).await }
    });
    stream::iter(removals).buffer_unordered(REMOVALS_AT_ONCE).try_collect().await
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
            && goes.changes.insert(*pack)
        {
            goes.bytes += len;
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
                goes.packs.insert(id);
                goes.bytes += pack.len;
            }
            Ok(_) => tracing::warn!("pack {id} stays: its index and its footer do not agree"),
            Err(error) if error.is_of_store() => return Err(error),
            Err(error) => tracing::warn!("pack {id} stays: {error:?}"),
        }
    }
    Ok(goes)
}

/// Writes indexes again that name packs which go or are gone, and puts many small ones together;
/// what they say of others stays signed.
async fn rewrite_indexes(
    repository: &Repository,
    goes: &HashSet<PackId>,
    packs: &Packs,
) -> Result<()> {
    // In this order: a pack is there before an index names it.
    let objects = repository.store().list(INDEXES).await?;
    let there = pack_lengths(repository).await?;
    let small = objects.iter().filter(|object| object.len < SMALL_INDEX_BYTES).count();
    let (mut replaced, mut kept): (Vec<ObjectName>, Vec<IndexedPack>) = (Vec::new(), Vec::new());
    let (mut lines, mut written) = (0, HashSet::new());
    for object in objects {
        let indexed = match read_index(repository, &object.name).await {
            Ok(indexed) => indexed,
            // Another prune was faster; or it is of somebody who is not believed any more.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Untrusted) => {
                continue;
            }
            // It may name packs that go: whoever reads it later would look for them.
            Err(error) => return Err(error.hint("Run: pgkeep repair index")),
        };
        let stays = |pack: &IndexedPack| {
            !goes.contains(&pack.pack) && there.get(&pack.pack) == Some(&pack.len)
        };
        let is_small = small > SMALL_INDEXES && object.len < SMALL_INDEX_BYTES;
        if !is_small && indexed.iter().all(stays) {
            continue;
        }
        replaced.push(object.name);
        for pack in indexed.into_iter().filter(stays) {
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
    remove_all(repository, replaced).await
}
