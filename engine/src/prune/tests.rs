//! What goes and what stays, without a server.

use super::{PruneOptions, PruneReport, run};
use crate::fixture::{Fixture, Made, back_up, stream_segment};
use crate::progress::{Progress, Silent, interrupt};
use crate::repository::{NewFrame, Packer, Repository};
use crate::seal::{Sealer, chunk_id};
use crate::{ErrorKind, Result};
use pgkeep_format::frame::FrameType;
use pgkeep_format::id::BackupId;
use pgkeep_format::name::{BACKUPS, CHANGES, INDEXES, ObjectName, PACKS, PRUNES, WRITERS, Work};
use std::sync::Arc;
use std::time::Duration;

const HOUR: i64 = 3_600_000_000;

fn options() -> PruneOptions {
    PruneOptions {
        dry_run: false,
        max_repack: None,
        dead_after: Duration::from_secs(24 * 3600),
        now: 0,
    }
}

async fn prune_with(repository: &Repository, options: &PruneOptions) -> Result<PruneReport> {
    let progress: Arc<dyn Progress> = Arc::new(Silent);
    let (_keep, interrupt) = interrupt();
    run(repository, options, &progress, interrupt).await
}

async fn prune(fixture: &Fixture) -> PruneReport {
    prune_with(&fixture.open_to_write().await, &options()).await.unwrap()
}

async fn forget(fixture: &Fixture, id: BackupId) {
    fixture.store.tamper(|objects| objects.remove(&ObjectName::Backup(id)));
}

/// Two backups that share a chunk, the first of which is forgotten.
async fn one_of_two_forgotten() -> (Fixture, BackupId, Made) {
    let fixture = Fixture::new().await;
    let repository = fixture.open_to_write().await;
    let first = back_up(&repository, &Made::of(&["a", "b", "c"])).await.unwrap();
    let made = Made { with_list: true, ..Made::of(&["c", "d"]) };
    let second = back_up(&repository, &made).await.unwrap();
    forget(&fixture, first).await;
    (fixture, second, made)
}

#[tokio::test]
async fn what_nothing_refers_to_goes_and_what_a_backup_needs_stays() {
    let (fixture, second, made) = one_of_two_forgotten().await;
    assert_eq!(fixture.count(PACKS).await, 5, "three, one and a list");
    let report = prune(&fixture).await;
    assert_eq!((report.removed_packs, report.waiting_packs), (2, 0));
    assert_eq!(fixture.count(PACKS).await, 3);
    assert_eq!(fixture.read(second).await.unwrap(), made.chunks);
    assert_eq!((fixture.count(PRUNES).await, fixture.count(WRITERS).await), (0, 0));
    let again = prune(&fixture).await;
    assert_eq!((again.removed_packs, again.unused_bytes), (0, 0));
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_removes_nothing() {
    let (fixture, ..) = one_of_two_forgotten().await;
    let before = fixture.count("").await;
    let dry = PruneOptions { dry_run: true, ..options() };
    let planned = prune_with(&fixture.open_to_write().await, &dry).await.unwrap();
    assert_eq!(fixture.count("").await, before);
    assert_eq!(prune(&fixture).await, planned);
}

#[tokio::test]
async fn what_is_pruned_is_stored_again_when_it_comes_again() {
    let (fixture, ..) = one_of_two_forgotten().await;
    prune(&fixture).await;
    let made = Made::of(&["a", "b", "c"]);
    let again = back_up(&fixture.open_to_write().await, &made).await.unwrap();
    assert_eq!(fixture.read(again).await.unwrap(), made.chunks);
}

#[tokio::test]
async fn needed_chunks_of_a_pack_that_is_mostly_unused_are_copied_without_a_key() {
    let fixture = Fixture::new().await;
    let repository = fixture.open_to_write().await;
    let secrets = repository.secrets().unwrap().clone();
    // One pack with all of them.
    let made = Made::of(&["a", "b", "c", "d", "e"]);
    let (key, _) = repository.new_data_key().await.unwrap().unwrap();
    let sealer = Sealer::new(Some(key));
    let mut packer = Packer::new(&repository, 1 << 20);
    for plain in &made.chunks {
        let chunk = chunk_id(&secrets, FrameType::Rows, 0, plain);
        let bytes = sealer.seal(FrameType::Rows, chunk, false, plain).unwrap();
        packer.add(NewFrame { chunk, frame_type: FrameType::Rows, bytes }).await.unwrap();
    }
    packer.finish().await.unwrap();
    let made = Made::of(&["b", "e"]);
    let id = back_up(&repository, &made).await.unwrap();
    assert_eq!(fixture.count(PACKS).await, 1, "all was known");

    let little = PruneOptions { max_repack: Some(10), ..options() };
    let report = prune_with(&repository, &little).await.unwrap();
    assert_eq!((report.repacked_packs, report.removed_packs), (0, 0), "more than may be copied");
    assert!(report.unused_bytes > 0);

    let before = fixture.store.tamper(|objects| {
        objects
            .iter()
            .filter(|(name, _)| matches!(name, ObjectName::Pack(_)))
            .map(|(name, _)| *name)
            .next()
            .unwrap()
    });
    let report = prune(&fixture).await;
    assert_eq!((report.repacked_packs, report.removed_packs, report.unused_bytes), (1, 1, 0));
    assert_eq!((fixture.count(PACKS).await, fixture.count(INDEXES).await), (1, 1));
    assert!(fixture.store.tamper(|objects| !objects.contains_key(&before)));
    assert_eq!(fixture.read(id).await.unwrap(), made.chunks);
    // The copy is relied upon.
    back_up(&repository, &made).await.unwrap();
    assert_eq!(fixture.count(PACKS).await, 1);
}

#[tokio::test]
async fn changes_that_no_segment_names_go() {
    let fixture = Fixture::new().await;
    let repository = fixture.open_to_write().await;
    stream_segment(&repository, 1, 5).await.unwrap();
    let gone = stream_segment(&repository, 5, 9).await.unwrap();
    fixture.store.tamper(|objects| {
        objects.retain(|name, _| !matches!(name, ObjectName::Segment(name) if name.id == gone.id));
    });
    let streaming = repository.lease(Work::Changes).await.unwrap();
    let report = prune(&fixture).await;
    assert_eq!((report.removed_packs, report.waiting_packs, report.waiting_for), (0, 1, 1));
    assert_eq!(fixture.count(CHANGES).await, 2);
    streaming.end().await;
    let backing_up = repository.lease(Work::Chunks).await.unwrap();
    assert_eq!(prune(&fixture).await.removed_packs, 1, "a backup needs no packs of changes");
    assert_eq!(fixture.count(CHANGES).await, 1);
    backing_up.end().await;
}

#[tokio::test]
async fn a_prune_waits_for_writers_and_the_next_one_goes_on() {
    let (fixture, second, made) = one_of_two_forgotten().await;
    let repository = fixture.open_to_write().await;
    // It knows the forgotten backup's chunks.
    let run = repository.begin_run().await.unwrap();
    let report = prune(&fixture).await;
    assert_eq!((report.removed_packs, report.waiting_packs, report.waiting_for), (0, 2, 1));
    let later = Made::of(&["a", "x"]);
    let newer = back_up(&repository, &later).await.unwrap();
    assert_eq!(fixture.count(PACKS).await, 7, "a writer that began later stores \"a\" again");
    assert_eq!(prune(&fixture).await.waiting_packs, 2);
    run.end().await;
    assert_eq!(prune(&fixture).await.removed_packs, 2);
    assert_eq!(fixture.count(PRUNES).await, 0);
    assert_eq!(fixture.read(second).await.unwrap(), made.chunks);
    assert_eq!(fixture.read(newer).await.unwrap(), later.chunks);
}

#[tokio::test]
async fn a_pack_that_a_writer_relied_on_meanwhile_stays() {
    let (fixture, ..) = one_of_two_forgotten().await;
    let repository = fixture.open_to_write().await;
    let blocker = repository.lease(Work::Chunks).await.unwrap();
    let run = repository.begin_run().await.unwrap();
    assert_eq!(prune(&fixture).await.waiting_packs, 2);
    // As if the run above had stored this; it knows "a" from before the list.
    assert!(run.known().len() >= 4);
    blocker.end().await;
    let made = Made::of(&["a"]);
    let id = crate::fixture::take(&repository, &run, &made).await.unwrap();
    run.end().await;
    let report = prune(&fixture).await;
    assert_eq!(report.removed_packs, 1, "\"b\" goes, \"a\" stays");
    assert_eq!(fixture.read(id).await.unwrap(), made.chunks);
}

#[tokio::test]
async fn a_writer_that_was_taken_for_dead_reports_nothing_as_stored() {
    let (fixture, ..) = one_of_two_forgotten().await;
    let repository = fixture.open_to_write().await;
    let run = repository.begin_run().await.unwrap();
    assert_eq!(prune(&fixture).await.waiting_for, 1);
    let later = PruneOptions { now: 25 * HOUR, ..options() };
    let report = prune_with(&repository, &later).await.unwrap();
    assert_eq!((report.dead_writers, report.removed_packs), (1, 2));
    let failed = crate::fixture::take(&repository, &run, &Made::of(&["a", "y"])).await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Changed);
    assert_eq!(fixture.count(BACKUPS).await, 1, "nothing of it is listed");
    run.end().await;
    // Run again, it is whole.
    let made = Made::of(&["a", "y"]);
    let id = back_up(&repository, &made).await.unwrap();
    assert_eq!(fixture.read(id).await.unwrap(), made.chunks);
}

#[tokio::test]
async fn packs_that_went_away_by_other_hands_end_a_run() {
    let (fixture, ..) = one_of_two_forgotten().await;
    let repository = fixture.open_to_write().await;
    let run = repository.begin_run().await.unwrap();
    fixture.store.tamper(|objects| {
        objects.retain(|name, _| !matches!(name, ObjectName::Pack(_)));
    });
    let failed = crate::fixture::take(&repository, &run, &Made::of(&["c"])).await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Changed);
}

#[tokio::test]
async fn nothing_goes_while_a_manifest_cannot_be_read() {
    let (fixture, second, _) = one_of_two_forgotten().await;
    fixture.store.tamper(|objects| {
        let manifest = objects.get_mut(&ObjectName::Backup(second)).unwrap();
        *manifest = manifest.slice(..manifest.len() - 1);
    });
    let before = fixture.count("").await;
    let error = prune_with(&fixture.open_to_write().await, &options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains(&second.to_string()), "{error}");
    assert_eq!(fixture.count("").await, before);
}

#[tokio::test]
async fn an_index_that_lies_about_a_pack_removes_nothing() {
    let (fixture, second, made) = one_of_two_forgotten().await;
    let repository = fixture.open_to_write().await;
    // A writer whose credential was stolen says that all packs hold something else.
    let packs = crate::repository::pack_lengths(&repository).await.unwrap();
    let lies: Vec<_> = packs
        .into_iter()
        .map(|(pack, len)| pgkeep_format::index::IndexedPack { pack, len, entries: Vec::new() })
        .collect();
    let true_ones = fixture.store.tamper(|objects| {
        objects
            .keys()
            .copied()
            .filter(|name| matches!(name, ObjectName::Index(_)))
            .collect::<Vec<_>>()
    });
    repository.store_index(&lies).await.unwrap();
    let report = prune(&fixture).await;
    assert_eq!((report.removed_packs, report.problems.len()), (0, 5));
    // Also where the true index is gone.
    fixture.store.tamper(|objects| objects.retain(|name, _| !true_ones.contains(name)));
    assert_eq!(fixture.count(INDEXES).await, 1);
    let pruned = prune_with(&fixture.open_to_write().await, &options()).await;
    assert!(pruned.is_err() || pruned.is_ok_and(|report| report.removed_packs == 0));
    assert_eq!(fixture.count(PACKS).await, 5);
    fixture.store.tamper(|objects| {
        objects.retain(|name, _| !matches!(name, ObjectName::Index(_)));
    });
    assert_eq!(fixture.read(second).await.unwrap(), made.chunks);
}

#[tokio::test]
async fn a_damaged_pack_is_not_copied_and_named() {
    let fixture = Fixture::new().await;
    let repository = fixture.open_to_write().await;
    let secrets = repository.secrets().unwrap().clone();
    let mut packer = Packer::new(&repository, 1 << 20);
    for plain in Made::of(&["a", "b", "c"]).chunks {
        let chunk = chunk_id(&secrets, FrameType::Rows, 0, &plain);
        let bytes = Sealer::new(None).seal(FrameType::Rows, chunk, false, &plain).unwrap();
        packer.add(NewFrame { chunk, frame_type: FrameType::Rows, bytes }).await.unwrap();
    }
    packer.finish().await.unwrap();
    back_up(&repository, &Made::of(&["b"])).await.unwrap();
    fixture.store.tamper(|objects| {
        for (name, bytes) in objects.iter_mut() {
            if matches!(name, ObjectName::Pack(_)) {
                let mut changed = bytes.to_vec();
                let middle = changed.len() / 2;
                changed[middle - 60..middle].fill(0);
                *bytes = changed.into();
            }
        }
    });
    let report = prune(&fixture).await;
    assert_eq!((report.repacked_packs, report.removed_packs), (0, 0));
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    assert_eq!(fixture.count(PACKS).await, 1);
}

#[tokio::test]
async fn many_small_indexes_become_one() {
    let fixture = Fixture::new().await;
    let repository = fixture.open_to_write().await;
    let mut last = None;
    for number in 0..40 {
        let made = Made::of(&[&format!("chunk {number}"), "same"]);
        last = Some((back_up(&repository, &made).await.unwrap(), made));
    }
    assert_eq!(fixture.count(INDEXES).await, 40);
    let (id, made) = last.unwrap();
    for object in crate::store::Store::list(&fixture.store, BACKUPS).await.unwrap() {
        if object.name != ObjectName::Backup(id) {
            fixture.store.tamper(|objects| objects.remove(&object.name));
        }
    }
    prune(&fixture).await;
    assert_eq!((fixture.count(INDEXES).await, fixture.count(PACKS).await), (1, 2));
    assert_eq!(fixture.read(id).await.unwrap(), made.chunks);
}

#[tokio::test]
async fn what_the_store_does_not_let_go_stays_listed_and_goes_later() {
    let kept: [fn(&ObjectName) -> bool; 3] = [
        |name| matches!(name, ObjectName::Pack(_)),
        |name| matches!(name, ObjectName::Index(_)),
        |name| matches!(name, ObjectName::Pack(_) | ObjectName::Index(_)),
    ];
    for keeps in kept {
        let (fixture, second, made) = one_of_two_forgotten().await;
        let repository = fixture.open_where_it_stays(keeps).await;
        let mut indexes = Vec::new();
        for _ in 0..3 {
            let report = prune_with(&repository, &options()).await.unwrap();
            assert_eq!((report.removed_packs, report.retained_packs), (0, 2));
            assert!(report.retained_bytes > 0);
            assert!(fixture.count(PRUNES).await > 0, "no writer relies on them");
            indexes.push(fixture.count(INDEXES).await);
        }
        assert_eq!(indexes[1..], [indexes[0]; 2], "nothing piles up");
        assert_eq!(fixture.count(PACKS).await, 5);
        // A backup that comes meanwhile stores again what is about to go.
        let again = Made::of(&["a", "c"]);
        let third = back_up(&fixture.open_to_write().await, &again).await.unwrap();
        assert_eq!(fixture.count(PACKS).await, 6);
        let report = prune(&fixture).await;
        assert_eq!((report.removed_packs, report.retained_packs), (2, 0));
        assert_eq!((fixture.count(PACKS).await, fixture.count(PRUNES).await), (4, 0));
        assert_eq!(fixture.read(second).await.unwrap(), made.chunks);
        assert_eq!(fixture.read(third).await.unwrap(), again.chunks);
    }
}
