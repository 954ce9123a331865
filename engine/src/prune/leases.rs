//! Whom a list has to wait for.

use crate::Result;
use crate::repository::Repository;
use pgkeep_format::id::ObjectId;
use pgkeep_format::name::{LeaseName, ObjectName, WRITERS, Work};
use pgkeep_format::prune::{PruneList, SeenLease};
use std::collections::HashMap;
use std::time::Duration;

/// The leases that are there.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// By the run of their writer, whose names they have.
    names: HashMap<ObjectId, Vec<LeaseName>>,
}

/// What a list waits for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waits {
    /// The leases that are still there.
    pub(super) seen: Vec<SeenLease>,
    /// Those whose writers are taken for dead.
    pub(super) dead: Vec<ObjectId>,
}

impl Leases {
    /// Looks for leases. A list that must not miss one is durable before.
    pub(super) async fn look(repository: &Repository) -> Result<Self> {
        let mut leases = Self::default();
        for object in repository.store().list(WRITERS).await? {
            if let ObjectName::Lease(name) = object.name {
                leases.names.entry(name.id).or_default().push(name);
            }
        }
        Ok(leases)
    }

    /// Whom a list waits for, by the clock of this machine, which says `now`. A writer is dead when
    /// nothing was heard of it for `timeout` by the clocks of prunes.
    pub(super) fn waits(&self, list: &PruneList, now: i64, timeout: Duration) -> Waits {
        let timeout = i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX);
        let mut waits = Waits { seen: Vec::new(), dead: Vec::new() };
        let before = list
            .leases
            .as_ref()
            .map(|leases| leases.iter().map(|lease| (lease.id, *lease)).collect::<HashMap<_, _>>());
        for (id, names) in &self.names {
            let watches = list.packs.is_empty() && list.change_packs.is_empty();
            let concerns = |name: &LeaseName| match name.work {
                Work::Chunks => watches || !list.packs.is_empty(),
                Work::Changes => watches || !list.change_packs.is_empty(),
            };
            // Without its beat 0 a lease is over.
            if !names.iter().any(|name| name.beat == 0 && concerns(name)) {
                continue;
            }
            let beat = names.iter().map(|name| name.beat).max().unwrap_or_default();
            let seen = match &before {
                None => SeenLease { id: *id, beat, seen_at: now },
                Some(before) => match before.get(id) {
                    // It began after the list, and relies on nothing of it.
                    None => continue,
                    Some(seen) if seen.beat == beat && seen.seen_at <= now => *seen,
                    // It was heard of, or the clock was wrong.
                    Some(_) => SeenLease { id: *id, beat, seen_at: now },
                },
            };
            if now.saturating_sub(seen.seen_at) >= timeout {
                waits.dead.push(*id);
            } else {
                waits.seen.push(seen);
            }
        }
        waits.seen.sort_unstable_by_key(|lease| lease.id);
        waits.dead.sort_unstable();
        waits
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Takes leases away, beat 0 first: with it the lease is over.
    pub(super) async fn remove(&mut self, repository: &Repository, id: ObjectId) -> Result<()> {
        let mut names = self.names.remove(&id).unwrap_or_default();
        names.sort_unstable_by_key(|name| name.beat);
        for name in names {
            repository.store().delete(&ObjectName::Lease(name)).await?;
        }
        Ok(())
    }

    /// Removes beats that outlived their lease.
    pub(super) async fn tidy(&mut self, repository: &Repository) -> Result<()> {
        let over = self.names.iter().filter(|(_, names)| names.iter().all(|name| name.beat > 0));
        let over: Vec<ObjectId> = over.map(|(id, _)| *id).collect();
        for id in over {
            self.remove(repository, id).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgkeep_format::id::PackId;

    const HOUR: Duration = Duration::from_secs(3600);
    const HOUR_MICROS: i64 = 3_600_000_000;

    fn leases(names: &[(u8, Work, u32)]) -> Leases {
        let mut leases = Leases::default();
        for (id, work, beat) in names {
            let id = ObjectId([*id; 16]);
            leases.names.entry(id).or_default().push(LeaseName { work: *work, id, beat: *beat });
        }
        leases
    }

    fn list(leases: Option<Vec<SeenLease>>) -> PruneList {
        PruneList { packs: vec![PackId([1; 16])], leases, ..PruneList::default() }
    }

    fn seen(id: u8, beat: u32, seen_at: i64) -> SeenLease {
        SeenLease { id: ObjectId([id; 16]), beat, seen_at }
    }

    #[test]
    fn a_new_list_waits_for_all_whose_work_it_concerns() {
        let there = leases(&[(1, Work::Chunks, 0), (1, Work::Chunks, 3), (2, Work::Changes, 0)]);
        let waits = there.waits(&list(None), 7, HOUR);
        assert_eq!(waits, Waits { seen: vec![seen(1, 3, 7)], dead: Vec::new() });
    }

    #[test]
    fn who_came_after_the_list_or_is_gone_is_not_waited_for() {
        let there = leases(&[(1, Work::Chunks, 0), (3, Work::Chunks, 1)]);
        let before = vec![seen(2, 0, 5), seen(3, 0, 5)];
        let waits = there.waits(&list(Some(before)), 7, HOUR);
        assert_eq!(waits, Waits { seen: Vec::new(), dead: Vec::new() });
    }

    #[test]
    fn a_writer_of_which_nothing_was_heard_is_taken_for_dead() {
        let there = leases(&[(1, Work::Chunks, 0), (2, Work::Chunks, 0), (2, Work::Chunks, 9)]);
        let before = vec![seen(1, 0, 0), seen(2, 8, 0)];
        let waits = there.waits(&list(Some(before)), HOUR_MICROS, HOUR);
        assert_eq!(
            waits,
            Waits { seen: vec![seen(2, 9, HOUR_MICROS)], dead: vec![ObjectId([1; 16])] }
        );
    }

    #[test]
    fn a_clock_that_was_a_year_ahead_does_not_make_a_list_wait_a_year() {
        let there = leases(&[(1, Work::Chunks, 0)]);
        let year = 365 * 24 * HOUR_MICROS;
        let waits = there.waits(&list(Some(vec![seen(1, 0, year)])), 10, HOUR);
        assert_eq!(waits.seen, [seen(1, 0, 10)]);
    }
}
