//! What is forgotten and what is kept, without a server.

use super::{Decision, ForgetOptions, Rules, run};
use crate::fixture::{Fixture, Made, back_up, join_point, stream_segment};
use crate::{ErrorKind, Result};
use jiff::tz::TimeZone;
use pgkeep_format::id::BackupId;
use pgkeep_format::manifest::BackupKind;
use pgkeep_format::name::{BACKUPS, ObjectName, STREAMS};
use std::time::Duration;

const DAY: i64 = 24 * 3_600_000_000;

fn options(rules: Rules) -> ForgetOptions {
    ForgetOptions {
        rules,
        names: Vec::new(),
        changes: None,
        last_too: false,
        dry_run: false,
        now: 100 * DAY,
        zone: TimeZone::UTC,
    }
}

fn named(ids: &[BackupId]) -> ForgetOptions {
    let names = ids.iter().map(ToString::to_string).collect();
    ForgetOptions { names, ..options(Rules::default()) }
}

fn last(count: u32) -> Rules {
    Rules { last: count, ..Rules::default() }
}

async fn forget(fixture: &Fixture, options: &ForgetOptions) -> Result<Vec<Decision>> {
    Ok(run(&fixture.open_to_write().await, options).await?.backups)
}

/// Backups on these days, oldest first.
async fn with_backups(days: &[i64]) -> (Fixture, Vec<BackupId>) {
    let fixture = Fixture::new().await;
    let mut ids = Vec::new();
    for day in days {
        let made = Made { finished_at: day * DAY, ..Made::of(&["same", &day.to_string()]) };
        ids.push(back_up(&fixture.open_to_write().await, &made).await.unwrap());
    }
    (fixture, ids)
}

async fn left(fixture: &Fixture) -> Vec<BackupId> {
    let repository = fixture.open().await;
    repository.backups().await.unwrap().good.into_iter().map(|backup| backup.clear.id).collect()
}

#[tokio::test]
async fn backups_that_no_rule_keeps_are_removed_each_with_its_reason() {
    let (fixture, ids) = with_backups(&[1, 2, 3, 4]).await;
    let dry = ForgetOptions { dry_run: true, ..options(last(2)) };
    let planned = forget(&fixture, &dry).await.unwrap();
    assert_eq!(left(&fixture).await, ids);
    let done = forget(&fixture, &options(last(2))).await.unwrap();
    assert_eq!(planned, done);
    let decided: Vec<_> = done.iter().map(|it| (it.id, it.keep, it.reasons.join(", "))).collect();
    assert_eq!(
        decided,
        [
            (ids[3], true, "last 2".to_owned()),
            (ids[2], true, "last 2".to_owned()),
            (ids[1], false, "no rule keeps it".to_owned()),
            (ids[0], false, "no rule keeps it".to_owned()),
        ]
    );
    assert_eq!(left(&fixture).await, ids[2..]);
}

#[tokio::test]
async fn each_database_has_rules_of_its_own() {
    let (fixture, ids) = with_backups(&[1, 2]).await;
    let other = Made { database: "other", finished_at: 1, ..Made::of(&["o"]) };
    let other = back_up(&fixture.open_to_write().await, &other).await.unwrap();
    forget(&fixture, &options(last(1))).await.unwrap();
    assert_eq!(left(&fixture).await, [other, ids[1]]);
}

#[tokio::test]
async fn the_last_good_backup_is_never_forgotten_by_rule() {
    let (fixture, ids) = with_backups(&[1, 2]).await;
    let tag = super::TagRule { tag: "deploy".to_owned(), age: std::time::Duration::MAX };
    let rules = Rules { tags: vec![tag], ..Rules::default() };
    forget(&fixture, &options(rules)).await.unwrap();
    assert_eq!(left(&fixture).await, ids[1..]);
}

#[tokio::test]
async fn a_damaged_backup_counts_for_no_rule() {
    let (fixture, ids) = with_backups(&[1, 2]).await;
    // The newest one's own pack is gone.
    let repository = fixture.open().await;
    let reader = crate::repository::ChunkReader::open(&repository).await.unwrap();
    let newest = repository.backup(ids[1]).await.unwrap();
    let references = reader.references(&newest.clear.streams[0]).await.unwrap();
    let pack = reader.locate(&references[1].id).unwrap().pack;
    fixture.store.tamper(|objects| objects.remove(&ObjectName::Pack(pack)));
    let decisions = forget(&fixture, &options(last(1))).await.unwrap();
    assert!(decisions.iter().all(|decision| decision.keep), "{decisions:?}");
    assert_eq!(forget(&fixture, &named(&ids[..1])).await.unwrap_err().kind(), ErrorKind::Usage);
    forget(&fixture, &named(&ids[1..])).await.unwrap();
    assert_eq!(left(&fixture).await, ids[..1]);
}

#[tokio::test]
async fn backups_of_the_future_push_no_others_out() {
    let (fixture, ids) = with_backups(&[1, 2, 900, 901]).await;
    forget(&fixture, &options(last(1))).await.unwrap();
    assert_eq!(left(&fixture).await, ids[1..]);
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_is_kept_until_it_is_named() {
    let (fixture, ids) = with_backups(&[1, 2]).await;
    fixture.store.tamper(|objects| {
        let manifest = objects.get_mut(&ObjectName::Backup(ids[0])).unwrap();
        *manifest = manifest.slice(1..);
    });
    forget(&fixture, &options(last(1))).await.unwrap();
    assert_eq!(fixture.count(BACKUPS).await, 2);
    forget(&fixture, &named(&ids[..1])).await.unwrap();
    assert_eq!(fixture.count(BACKUPS).await, 1);
}

#[tokio::test]
async fn the_last_good_backup_can_be_named_only_with_a_word_more() {
    let (fixture, ids) = with_backups(&[1, 2]).await;
    assert_eq!(forget(&fixture, &named(&ids)).await.unwrap_err().kind(), ErrorKind::Usage);
    assert_eq!(left(&fixture).await, ids);
    forget(&fixture, &ForgetOptions { last_too: true, ..named(&ids) }).await.unwrap();
    assert_eq!(left(&fixture).await, []);
    let unknown = named(&[BackupId([1; 16])]);
    assert_eq!(forget(&fixture, &unknown).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_copy_for_a_change_stream_stays_while_an_older_backup_does() {
    let (fixture, ids) = with_backups(&[1, 3]).await;
    let copy = Made { kind: BackupKind::Copy, finished_at: 2 * DAY, ..Made::of(&["copied"]) };
    let copy = back_up(&fixture.open_to_write().await, &copy).await.unwrap();
    forget(&fixture, &options(last(2))).await.unwrap();
    assert_eq!(left(&fixture).await, [ids[0], copy, ids[1]]);
    forget(&fixture, &options(last(1))).await.unwrap();
    assert_eq!(left(&fixture).await, ids[1..]);
}

#[tokio::test]
async fn without_a_rule_nothing_is_forgotten() {
    let (fixture, ids) = with_backups(&[1]).await;
    let error = forget(&fixture, &options(Rules::default())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert_eq!(left(&fixture).await, ids);
}

/// A stream from 0 to 100 of ten segments, with join points at these positions.
async fn stream(fixture: &Fixture, join_points: &[u64]) {
    let repository = fixture.open_to_write().await;
    stream_segment(&repository, 0, 0).await.unwrap();
    for first in (0..100).step_by(10) {
        stream_segment(&repository, first, first + 10).await.unwrap();
    }
    for at in join_points {
        join_point(&repository, *at).await.unwrap();
    }
}

/// A backup of the stream's database at a position.
async fn backup_at(fixture: &Fixture, lsn: u64) -> BackupId {
    let finished_at = i64::try_from(lsn).unwrap();
    let made = Made { lsn, finished_at, ..Made::of(&["row", &lsn.to_string()]) };
    back_up(&fixture.open_to_write().await, &made).await.unwrap()
}

/// Forgets with these options; where the stream begins then, and how many segments went.
async fn cut(fixture: &Fixture, options: &ForgetOptions) -> (u64, usize) {
    let before = fixture.count(STREAMS).await;
    let decided = run(&fixture.open_to_write().await, options).await.unwrap();
    let gone = before - fixture.count(STREAMS).await;
    assert_eq!(decided.streams[0].forgotten, gone as u64);
    (decided.streams[0].begins[1], gone)
}

/// Ids are random: of two beginnings at one position either may come first.
#[tokio::test]
async fn a_join_point_where_a_stream_begins_begins_no_other_run() {
    for _ in 0..12 {
        let fixture = Fixture::new().await;
        stream(&fixture, &[0, 20, 40, 60]).await;
        backup_at(&fixture, 65).await;
        // Two beginnings, four segments, and the join point at 20.
        assert_eq!(cut(&fixture, &options(last(1))).await, (40, 7));
        assert_eq!(cut(&fixture, &options(last(1))).await, (40, 0));
    }
}

#[tokio::test]
async fn a_stream_is_cut_one_join_point_before_the_one_that_the_oldest_backup_joins() {
    let fixture = Fixture::new().await;
    stream(&fixture, &[20, 40, 60, 80]).await;
    for lsn in [15, 65, 95] {
        backup_at(&fixture, lsn).await;
    }
    assert_eq!(cut(&fixture, &options(last(3))).await, (0, 0));
    // The beginning, four segments, and the join point at 20.
    assert_eq!(cut(&fixture, &options(last(2))).await, (40, 6));
    assert_eq!(cut(&fixture, &options(last(2))).await, (40, 0));
    assert_eq!(cut(&fixture, &options(last(1))).await, (60, 3));
    let left = fixture.open_to_write().await.segment_names(None).await.unwrap();
    let left: Vec<_> = left.iter().map(|name| (name.first, name.last)).collect();
    assert_eq!(left, [(60, 60), (60, 70), (70, 80), (80, 80), (80, 90), (90, 100)]);
}

#[tokio::test]
async fn changes_are_kept_for_a_window_with_the_backup_that_they_begin_with() {
    let fixture = Fixture::new().await;
    stream(&fixture, &[20, 40, 60, 80]).await;
    for lsn in [15, 65, 95] {
        backup_at(&fixture, lsn).await;
    }
    let window =
        |micros| ForgetOptions { changes: Some(Duration::from_micros(micros)), ..options(last(3)) };
    assert_eq!(cut(&fixture, &window(500)).await, (0, 0));
    assert_eq!(cut(&fixture, &window(50)).await, (0, 0), "the one at 15 is the newest before 50");
    assert_eq!(cut(&fixture, &window(30)).await, (40, 6));
    assert_eq!(cut(&fixture, &window(0)).await, (60, 3));
}

#[tokio::test]
async fn a_stream_is_left_alone_where_nobody_can_tell_what_needs_it() {
    let fixture = Fixture::new().await;
    stream(&fixture, &[20, 40, 60, 80]).await;
    let early = backup_at(&fixture, 15).await;
    backup_at(&fixture, 95).await;
    fixture.store.tamper(|objects| {
        let manifest = objects.get_mut(&ObjectName::Backup(early)).unwrap();
        *manifest = manifest.slice(1..);
    });
    assert_eq!(cut(&fixture, &options(last(1))).await, (0, 0));
    forget(&fixture, &named(&[early])).await.unwrap();
    // One of another series may be of several databases, this one among them.
    let several = Made { database: "several", lsn: 30, finished_at: 30, ..Made::of(&["s"]) };
    back_up(&fixture.open_to_write().await, &several).await.unwrap();
    assert_eq!(cut(&fixture, &options(last(1))).await, (0, 0));
}

#[tokio::test]
async fn without_a_backup_that_joins_it_a_stream_stays_whole() {
    let fixture = Fixture::new().await;
    stream(&fixture, &[20, 40, 60, 80]).await;
    backup_at(&fixture, 101).await;
    assert_eq!(cut(&fixture, &options(last(1))).await, (0, 0));
}

#[tokio::test]
async fn copies_from_before_the_cut_go() {
    let fixture = Fixture::new().await;
    stream(&fixture, &[20, 40, 60, 80]).await;
    let mut copies = Vec::new();
    for lsn in [30, 70] {
        let made = Made { kind: BackupKind::Copy, lsn, finished_at: 70, ..Made::of(&["copied"]) };
        copies.push(back_up(&fixture.open_to_write().await, &made).await.unwrap());
    }
    let base = backup_at(&fixture, 65).await;
    assert_eq!(cut(&fixture, &options(last(1))).await, (40, 6));
    assert_eq!(left(&fixture).await.len(), 2);
    assert!(left(&fixture).await.contains(&base) && left(&fixture).await.contains(&copies[1]));
}

#[tokio::test]
async fn what_a_forget_left_that_was_stopped_goes_with_the_next() {
    let fixture = Fixture::new().await;
    stream(&fixture, &[20, 40, 60, 80]).await;
    backup_at(&fixture, 65).await;
    fixture.store.tamper(|objects| {
        objects.retain(|name, _| !matches!(name, ObjectName::Segment(it) if it.last == 0));
    });
    assert_eq!(cut(&fixture, &options(last(1))).await, (40, 5));
}

#[tokio::test]
async fn what_the_store_does_not_let_go_is_told_and_the_rest_is_forgotten() {
    let (fixture, ids) = with_backups(&[1, 2, 3]).await;
    let first = ObjectName::Backup(ids[0]);
    let repository = fixture.open_where_it_stays(move |name| *name == first).await;
    let decisions = run(&repository, &options(last(1))).await.unwrap().backups;
    let kept: Vec<_> = decisions.iter().map(|it| (it.id, it.keep, it.is_retained)).collect();
    assert_eq!(kept, [(ids[2], true, false), (ids[1], false, false), (ids[0], true, true)]);
    assert_eq!(left(&fixture).await, [ids[0], ids[2]]);
}

#[tokio::test]
async fn segments_that_the_store_does_not_let_go_are_told_and_the_others_go() {
    let fixture = Fixture::new().await;
    stream(&fixture, &[20, 40, 60, 80]).await;
    backup_at(&fixture, 65).await;
    let stays = |name: &ObjectName| matches!(name, ObjectName::Segment(it) if it.last == 10);
    let repository = fixture.open_where_it_stays(stays).await;
    let decided = run(&repository, &options(last(1))).await.unwrap();
    let stream = &decided.streams[0];
    assert_eq!((stream.forgotten, stream.retained, decided.retained()), (5, 1, 1));
    assert_eq!(cut(&fixture, &options(last(1))).await, (40, 1));
}
