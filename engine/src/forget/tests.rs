//! What is forgotten and what is kept, without a server.

use super::{Decision, ForgetOptions, Rules, run};
use crate::fixture::{Fixture, Made, back_up};
use crate::{ErrorKind, Result};
use jiff::tz::TimeZone;
use pgkeep_format::id::BackupId;
use pgkeep_format::manifest::BackupKind;
use pgkeep_format::name::{BACKUPS, ObjectName};

const DAY: i64 = 24 * 3_600_000_000;

fn options(rules: Rules) -> ForgetOptions {
    ForgetOptions {
        rules,
        names: Vec::new(),
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
    run(&fixture.open_to_write().await, options).await
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

#[tokio::test]
async fn what_the_store_does_not_let_go_is_told_and_the_rest_is_forgotten() {
    let (fixture, ids) = with_backups(&[1, 2, 3]).await;
    let first = ObjectName::Backup(ids[0]);
    let repository = fixture.open_where_it_stays(move |name| *name == first).await;
    let decisions = run(&repository, &options(last(1))).await.unwrap();
    let kept: Vec<_> = decisions.iter().map(|it| (it.id, it.keep, it.is_retained)).collect();
    assert_eq!(kept, [(ids[2], true, false), (ids[1], false, false), (ids[0], true, true)]);
    assert_eq!(left(&fixture).await, [ids[0], ids[2]]);
}
