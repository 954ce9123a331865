//! Removes what nothing refers to any more, beside writers that are at work.
//!
//! ```text
//! look     packs, then what backups and segments need -> plan
//! copy     needed chunks of packs that are mostly unused -> new packs, indexes
//! condemn  a list of the packs that go; from now on no new writer relies on them
//! wait     for the leases that are there; what remains goes with a later prune
//! look     again: what a backup needs by now stays
//! remove   indexes that name the packs, the packs, the list
//! ```
//!
//! Nothing here needs a lock, a conditional write or a clock that is right. A writer takes its
//! lease, then reads the lists; a prune writes its list, then reads the leases: one of them sees
//! the other. A writer that is taken for dead finds its lease gone after it wrote its manifest; a
//! prune looks for manifests after it removed the lease. A prune that is stopped anywhere is taken
//! up by the next one. It reads nothing that is sealed.

mod leases;
mod live;
mod packs;
mod plan;
#[cfg(test)]
mod protocol_tests;
mod repack;
mod sweep;
#[cfg(test)]
mod tests;

use crate::progress::{Event, Interrupt, Progress};
use crate::repository::Repository;
use crate::{Error, ErrorKind, Result};
use leases::Leases;
use live::{Lists, Live};
use packs::Packs;
use pgkeep_format::id::{ObjectId, PackId};
use pgkeep_format::name::ObjectName;
use pgkeep_format::prune::PruneList;
use plan::Plan;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How a prune goes about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneOptions {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Bytes that may be copied into new packs; absent for no limit.
    pub max_repack: Option<u64>,
    /// A writer of which nothing was heard for so long is taken for dead.
    pub dead_after: Duration,
    /// This machine's clock, microseconds since 1970 UTC. A wrong one makes a prune wait too long,
    /// or a writer fail; it loses nothing.
    pub now: i64,
}

/// What was done, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Packs that were removed.
    pub removed_packs: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Packs that the store does not let go, or the indexes that name them; a later prune tries again.
    pub retained_packs: u64,
    /// Their bytes.
    pub retained_bytes: u64,
    /// Packs whose needed chunks were copied into new ones.
    pub repacked_packs: u64,
    /// Bytes that were copied.
    pub repacked_bytes: u64,
    /// Packs that go as soon as writers have ended which are at work.
    pub waiting_packs: u64,
    /// How many writers that are.
    pub waiting_for: u64,
    /// Leases of writers that were taken for dead.
    pub dead_writers: u64,
    /// Bytes of all that something needs.
    pub live_bytes: u64,
    /// Bytes that nothing needs, in packs that stay.
    pub unused_bytes: u64,
    /// Packs that are left as they are, with what is wrong with them.
    pub problems: Vec<(PackId, String)>,
}

/// Prunes a repository.
///
/// # Errors
/// What the store gives; the first backup or segment that cannot be read, [`ErrorKind::WrongKey`]
/// when the repository was opened without a writer's credential, [`ErrorKind::Interrupted`]. Nothing
/// that something needs is lost in any case.
pub async fn run(
    repository: &Repository,
    options: &PruneOptions,
    progress: &Arc<dyn Progress>,
    mut interrupt: Interrupt,
) -> Result<PruneReport> {
    tokio::select! {
        biased;
        () = interrupt.wait() => {
            Err(Error::new(ErrorKind::Interrupted, "prune was interrupted")
                .hint("Run it again: it goes on where this one stopped."))
        }
        report = prune(repository, options, progress) => report,
    }
}

async fn prune(
    repository: &Repository,
    options: &PruneOptions,
    progress: &Arc<dyn Progress>,
) -> Result<PruneReport> {
    let phase = |text: &str| progress.event(Event::Phase(text.to_owned()));
    repository.check_may_sign()?;
    phase("reading indexes");
    let earlier = repository.prune_lists().await?;
    let mut packs = Packs::look(repository).await?;
    phase("following backups and change streams");
    let mut live = Live::default();
    live.look(repository, &mut Lists::default()).await?;
    let listed: HashSet<PackId> =
        earlier.iter().flat_map(|(_, list)| list.packs.iter().copied()).collect();
    packs.chunks.retain(|id, _| !listed.contains(id));
    let plan = Plan::make(&packs, &live, options.max_repack);
    let mut report = PruneReport::of(&plan, &packs);
    if options.dry_run {
        report.planned(&plan, &packs, &earlier);
        return Ok(report);
    }
    if !plan.repack.is_empty() {
        phase("copying chunks into new packs");
        progress.event(Event::Plan { tables: 0, bytes: plan.repack_bytes });
    }
    let repacked = repack::repack(repository, &packs, &plan.repack, &live, progress).await?;
    report.repacked(&repacked, &packs, &live);
    let mut lists = earlier;
    lists.extend(condemn(repository, &plan, &repacked.packs, &lists, options.now).await?);
    phase("removing");
    let ready = wait(repository, lists, options, &mut report).await?;
    sweep::sweep(repository, &ready, &mut live, &mut report).await?;
    repository.store().remove_unfinished(options.dead_after).await?;
    Ok(report)
}

/// Writes the lists of what goes: packs of chunks, and packs of changes, for these wait for
/// different writers.
async fn condemn(
    repository: &Repository,
    plan: &Plan,
    repacked: &[PackId],
    earlier: &[(ObjectId, PruneList)],
    now: i64,
) -> Result<Vec<(ObjectId, PruneList)>> {
    let known: HashSet<&PackId> = earlier.iter().flat_map(|(_, list)| &list.change_packs).collect();
    let new = |pack: &PackId| !known.contains(pack);
    let changes: Vec<PackId> = plan.remove_changes.iter().copied().filter(new).collect();
    let chunks: Vec<PackId> = plan.remove.iter().chain(repacked).copied().collect();
    let list = PruneList { written_at: now, ..PruneList::default() };
    let lists =
        [PruneList { packs: chunks, ..list.clone() }, PruneList { change_packs: changes, ..list }];
    let mut written = Vec::new();
    for list in lists {
        if !list.packs.is_empty() || !list.change_packs.is_empty() {
            written.push((repository.store_prune_list(&list).await?, list));
        }
    }
    Ok(written)
}

/// Tells the lists that wait for nobody from those that do, which are written again with what was
/// seen now.
async fn wait(
    repository: &Repository,
    mut lists: Vec<(ObjectId, PruneList)>,
    options: &PruneOptions,
    report: &mut PruneReport,
) -> Result<Vec<(ObjectId, PruneList)>> {
    let mut leases = Leases::look(repository).await?;
    leases.tidy(repository).await?;
    if lists.is_empty() && !leases.is_empty() {
        // A list of nothing, which only remembers the leases: so that those of dead writers go.
        let list = PruneList { written_at: options.now, ..PruneList::default() };
        lists.push((repository.store_prune_list(&list).await?, list));
    }
    let mut ready = Vec::new();
    let mut waited_for = HashSet::new();
    for (id, list) in lists {
        let waits = leases.waits(&list, options.now, options.dead_after);
        for dead in &waits.dead {
            leases.remove(repository, *dead).await?;
            report.dead_writers += 1;
        }
        if waits.seen.is_empty() {
            ready.push((id, list));
            continue;
        }
        waited_for.extend(waits.seen.iter().map(|lease| lease.id));
        report.waiting_packs += (list.packs.len() + list.change_packs.len()) as u64;
        if list.leases.as_ref() != Some(&waits.seen) {
            let again = PruneList { leases: Some(waits.seen), ..list };
            // A writer that finds neither would rely on the packs: first the new one, then the old.
            repository.store_prune_list(&again).await?;
            repository.store().delete(&ObjectName::PruneList(id)).await?;
        }
    }
    report.waiting_for = waited_for.len() as u64;
    Ok(ready)
}

impl PruneReport {
    fn of(plan: &Plan, packs: &Packs) -> Self {
        let problem = "neither its index nor its footer says what it holds".to_owned();
        let problems = packs.unreadable.iter().map(|pack| (*pack, problem.clone())).collect();
        Self {
            live_bytes: plan.live_bytes,
            unused_bytes: plan.unused_bytes,
            problems,
            ..Self::default()
        }
    }

    /// What a prune would do that finds nobody at work.
    fn planned(&mut self, plan: &Plan, packs: &Packs, earlier: &[(ObjectId, PruneList)]) {
        let goes = plan.remove.iter().chain(&plan.repack).filter_map(|id| packs.chunks.get(id));
        let changes = plan.remove_changes.iter().filter_map(|id| packs.changes.get(id));
        let bytes = goes.map(|pack| pack.len).chain(changes.copied());
        self.removed_bytes = bytes.sum();
        let removed = plan.remove.len() + plan.repack.len() + plan.remove_changes.len();
        self.removed_packs = removed as u64;
        self.repacked_packs = plan.repack.len() as u64;
        self.repacked_bytes = plan.repack_bytes;
        self.waiting_packs = earlier.iter().map(|(_, list)| list.packs.len() as u64).sum();
    }

    fn repacked(&mut self, repacked: &repack::Repacked, packs: &Packs, live: &Live) {
        let copied = repacked.packs.iter().filter_map(|id| packs.chunks.get(id));
        self.repacked_packs = repacked.packs.len() as u64;
        self.repacked_bytes = copied.map(|pack| pack.live_bytes(live)).sum();
        let damaged = repacked.damaged.iter();
        self.problems.extend(damaged.map(|(id, error)| (*id, error.to_string())));
    }
}
