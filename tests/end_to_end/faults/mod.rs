//! Every single call to the store of a backup, a stream, a forget and a prune goes wrong in every
//! way that it can. Afterwards the repository verifies, what was reported as done is there, and the
//! next run does what it should.
//!
//! The run is the engine's own, in this process, so that it can be stopped between two calls; the
//! server is a real one. A killed process is one of which no call comes back.

mod store;

use crate::logins::{block_on, settings};
use crate::moments::{dedicated_with, tables};
use crate::repository;
use async_trait::async_trait;
use pgkeep_engine::backup::{self, BackupOptions, BackupReport, Databases, WithGlobals};
use pgkeep_engine::catalog::Selection;
use pgkeep_engine::forget::{self, ForgetOptions, Rules};
use pgkeep_engine::postgres::{Settings, SnapshotOptions};
use pgkeep_engine::progress::{Progress, Silent, interrupt};
use pgkeep_engine::prune::{self, PruneOptions, PruneReport};
use pgkeep_engine::repository::{Access, Identity, Repository, WriterCredential};
use pgkeep_engine::store::{LocalStore, Store};
use pgkeep_engine::stream::{self, StreamOptions, StreamReport, TableCopier};
use pgkeep_engine::verify::{self, VerifyOptions};
use pgkeep_engine::{Error, ErrorKind, Result};
use pgkeep_format::id::BackupId;
use pgkeep_tests::{Database, Server};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::{Fault, FaultyStore};

/// No run may take longer, whatever goes wrong.
const RUN_LIMIT: Duration = Duration::from_secs(60);

/// A repository with its keys, opened in this process.
pub(crate) struct Place {
    _home: pgkeep_tests::Repository,
    pub(crate) directory: PathBuf,
    pub(crate) access: Access,
}

impl Place {
    pub(crate) fn new() -> Self {
        let home = repository();
        let identity = std::fs::read_to_string(home.identity()).unwrap();
        let keys = home.directory().parent().unwrap().join(".config/pgkeep");
        let writer = std::fs::read_dir(keys).unwrap().map(|entry| entry.unwrap().path());
        let mut writer =
            writer.filter(|path| path.extension().is_some_and(|extension| extension == "writer"));
        let writer = std::fs::read_to_string(writer.next().unwrap()).unwrap();
        let access = Access {
            identity: Some(Identity::parse(&identity).unwrap()),
            writer: Some(WriterCredential::parse(&writer).unwrap()),
        };
        Self { directory: home.directory(), _home: home, access }
    }

    /// Another directory with the same objects.
    fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_directory(&self.directory, &copy.path().join("repository"));
        copy
    }
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy_directory(&from, &to);
        } else {
            // Objects are never changed, so another name for one will do.
            std::fs::hard_link(from, to).unwrap();
        }
    }
}

pub(crate) async fn open(store: Arc<dyn Store>, access: &Access) -> Result<Repository> {
    Repository::open(store, access.clone()).await
}

pub(crate) fn local(directory: &Path) -> Arc<dyn Store> {
    Arc::new(LocalStore::open(directory).unwrap())
}

pub(crate) fn silent() -> Arc<dyn Progress> {
    Arc::new(Silent)
}

/// What has to be true whatever happened: nothing that is stored is damaged.
async fn assert_verifies(directory: &Path, access: &Access, what: &str) {
    let repository = open(local(directory), access).await.unwrap();
    let (_keep, interrupt) = interrupt();
    let report = verify::run(&repository, &VerifyOptions::default(), &silent(), interrupt).await;
    assert_eq!(report.unwrap().problems, [], "after {what}");
}

async fn listed(directory: &Path, access: &Access) -> Vec<BackupId> {
    let backups = open(local(directory), access).await.unwrap().backups().await.unwrap();
    assert!(backups.unreadable.is_empty());
    backups.good.iter().map(|backup| backup.clear.id).collect()
}

/// Runs `work` on a repository where one call goes wrong; what it returned unless it was killed.
async fn run_with<T: Send + 'static, W>(
    directory: &Path,
    access: &Access,
    (at, fault): (usize, Fault),
    work: impl FnOnce(Repository) -> W + Send + 'static,
) -> (Arc<FaultyStore>, Option<Result<T>>)
where
    W: Future<Output = Result<T>> + Send,
{
    let store = Arc::new(FaultyStore::new(local(directory), at, fault).await);
    let (opened, access) = (store.clone(), access.clone());
    let mut task = tokio::spawn(async move { work(open(opened, &access).await?).await });
    let outcome = tokio::select! {
        done = tokio::time::timeout(RUN_LIMIT, &mut task) => {
            Some(done.expect("a run to end").expect("a run without a panic"))
        }
        () = store.killed() => {
            task.abort();
            // It may have ended at the same moment.
            task.await.ok()
        }
    };
    // What lands late has landed.
    tokio::time::sleep(Duration::from_millis(50)).await;
    (store, outcome)
}

/// Every call of a run with every fault that can befall it; says how many points that were.
async fn for_each_point(
    mut try_point: impl AsyncFnMut((usize, Fault)) -> (Option<String>, usize),
) -> u32 {
    let mut points = 0;
    for fault in Fault::ALL {
        for at in 0.. {
            let (struck, calls) = try_point((at, fault)).await;
            points += u32::from(struck.is_some());
            if calls <= at {
                // It did not come to this call any more.
                break;
            }
        }
    }
    points
}

pub(crate) fn backup_options() -> BackupOptions {
    BackupOptions {
        databases: Databases::Connected,
        selection: Selection::default(),
        globals: WithGlobals::No,
        role_passwords: false,
        snapshot: SnapshotOptions::default(),
        jobs: NonZeroUsize::MIN,
        tags: Vec::new(),
        lock_timeout: Duration::from_secs(10),
        selection_text: Vec::new(),
        reuses_rows: false,
        is_copy: false,
    }
}

async fn back_up(repository: Repository, settings: Settings) -> Result<BackupReport> {
    let (_keep, interrupt) = interrupt();
    backup::run(&repository, &settings, &backup_options(), &silent(), interrupt).await
}

const SMALL: &str = "
    CREATE TABLE one (id int PRIMARY KEY, v text);
    CREATE TABLE two (id int PRIMARY KEY, v text);
    INSERT INTO one SELECT i, md5(i::text) FROM generate_series(1, 500) i;
    INSERT INTO two SELECT i, md5(i::text) FROM generate_series(1, 500) i;";

/// A database and a repository with two backups of it, different in a table.
async fn two_backups(source: &Database<'_>) -> (Place, Settings, Vec<BackupId>) {
    source.query(SMALL);
    let (place, settings) = (Place::new(), settings(&source.uri()).unwrap());
    let mut ids = Vec::new();
    for change in ["UPDATE one SET v = v || 'a'", "UPDATE one SET v = v || 'b'"] {
        source.query(change);
        let repository = open(local(&place.directory), &place.access).await.unwrap();
        ids.push(back_up(repository, settings.clone()).await.unwrap().id);
    }
    (place, settings, ids)
}

#[test]
fn a_backup_survives_every_fault_of_every_call() {
    let source = Server::shared(18).database();
    block_on(async {
        let (place, settings, before) = two_backups(&source).await;
        source.query("UPDATE two SET v = v || 'c'");
        let points = for_each_point(async |point| {
            let copy = place.copy();
            let directory = copy.path().join("repository");
            let to = settings.clone();
            let work = move |repository| back_up(repository, to);
            let (store, outcome) = run_with(&directory, &place.access, point, work).await;
            let struck = store.fault();
            let what = struck.clone().unwrap_or_default();
            assert_verifies(&directory, &place.access, &what).await;
            let there = listed(&directory, &place.access).await;
            assert!(before.iter().all(|id| there.contains(id)), "after {what}");
            if let Some(Ok(report)) = &outcome {
                assert!(there.contains(&report.id), "after {what} it was reported as stored");
            }
            let repository = open(local(&directory), &place.access).await.unwrap();
            let next = back_up(repository, settings.clone()).await.unwrap();
            assert_verifies(&directory, &place.access, &what).await;
            assert!(listed(&directory, &place.access).await.contains(&next.id), "after {what}");
            (struck, store.calls())
        })
        .await;
        println!("a backup: {points} points");
        assert!(points > 100, "{points}");
    });
}

fn forget_options() -> ForgetOptions {
    ForgetOptions {
        rules: Rules { last: 1, ..Rules::default() },
        names: Vec::new(),
        changes: None,
        last_too: false,
        dry_run: false,
        now: pgkeep_engine::clock::now_micros(),
        zone: jiff::tz::TimeZone::UTC,
    }
}

async fn forget_all_but_one(repository: Repository) -> Result<usize> {
    let decisions = forget::run(&repository, &forget_options()).await?.backups;
    Ok(decisions.iter().filter(|decision| !decision.keep).count())
}

#[test]
fn a_forget_survives_every_fault_of_every_call() {
    let source = Server::shared(18).database();
    block_on(async {
        let (place, _, before) = two_backups(&source).await;
        let points = for_each_point(async |point| {
            let copy = place.copy();
            let directory = copy.path().join("repository");
            let (store, outcome) =
                run_with(&directory, &place.access, point, forget_all_but_one).await;
            let struck = store.fault();
            let what = struck.clone().unwrap_or_default();
            assert_verifies(&directory, &place.access, &what).await;
            let there = listed(&directory, &place.access).await;
            assert!(there.contains(&before[1]), "after {what} the newest is gone");
            if let Some(Ok(1)) = outcome {
                assert_eq!(there, before[1..], "after {what} it was reported as forgotten");
            }
            let repository = open(local(&directory), &place.access).await.unwrap();
            forget_all_but_one(repository).await.unwrap();
            assert_eq!(listed(&directory, &place.access).await, before[1..], "after {what}");
            (struck, store.calls())
        })
        .await;
        println!("a forget: {points} points");
        assert!(points > 20, "{points}");
    });
}

/// How many segments are left.
async fn segments(directory: &Path, access: &Access) -> usize {
    open(local(directory), access).await.unwrap().segment_names(None).await.unwrap().len()
}

#[test]
fn a_forget_that_cuts_a_stream_survives_every_fault_of_every_call() {
    let server = dedicated_with(18, &[]);
    let source = server.database();
    source.query(SMALL);
    let place = Place::new();
    let _ = place._home.run(["setup", "-q", "-d", &source.uri()]).ok();
    for change in ["a", "b", "c", "d"] {
        place._home.backup(&source.uri(), &[]);
        source.query(&format!("UPDATE one SET v = v || '{change}'"));
        let uri = source.uri();
        let join = ["stream", "-q", "--until-caught-up", "--join-interval", "0h", "-d", &uri];
        let _ = place._home.run(join).ok();
    }
    let points = block_on(async {
        let all = segments(&place.directory, &place.access).await;
        let copy = place.copy();
        let whole = copy.path().join("repository");
        forget_all_but_one(open(local(&whole), &place.access).await.unwrap()).await.unwrap();
        let left = segments(&whole, &place.access).await;
        assert!(left < all, "{left} of {all} segments are left");
        for_each_point(async |point| {
            let copy = place.copy();
            let directory = copy.path().join("repository");
            let (store, _) = run_with(&directory, &place.access, point, forget_all_but_one).await;
            let struck = store.fault();
            let what = struck.clone().unwrap_or_default();
            assert_verifies(&directory, &place.access, &what).await;
            let repository = open(local(&directory), &place.access).await.unwrap();
            forget_all_but_one(repository).await.unwrap();
            assert_eq!(segments(&directory, &place.access).await, left, "after {what}");
            (struck, store.calls())
        })
        .await
    });
    println!("a forget that cuts a stream: {points} points");
    assert!(points > 50, "{points}");
    let _ = place._home.run(["forget", "-q", "--keep-last", "1"]).ok();
    let copy = server.database();
    place._home.restore(&copy.uri(), &["--to-latest", "--no-analyze"]);
    assert_eq!(tables(&copy), tables(&source));
}

async fn prune(repository: Repository) -> Result<PruneReport> {
    let (_keep, interrupt) = interrupt();
    let options = PruneOptions {
        dry_run: false,
        max_repack: None,
        // A run that was killed here is dead.
        dead_after: Duration::ZERO,
        now: pgkeep_engine::clock::now_micros(),
    };
    prune::run(&repository, &options, &silent(), interrupt).await
}

#[test]
fn a_prune_survives_every_fault_of_every_call() {
    let source = Server::shared(18).database();
    block_on(async {
        let (place, _, before) = two_backups(&source).await;
        let repository = open(local(&place.directory), &place.access).await.unwrap();
        forget_all_but_one(repository).await.unwrap();
        let points = for_each_point(async |point| {
            let copy = place.copy();
            let directory = copy.path().join("repository");
            let (store, outcome) = run_with(&directory, &place.access, point, prune).await;
            let struck = store.fault();
            let what = struck.clone().unwrap_or_default();
            assert_verifies(&directory, &place.access, &what).await;
            assert_eq!(listed(&directory, &place.access).await, before[1..], "after {what}");
            let again = open(local(&directory), &place.access).await.unwrap();
            let again = prune(again).await.unwrap();
            if matches!(&outcome, Some(Ok(report)) if report.removed_packs > 0) {
                assert_eq!(again.removed_packs, 0, "after {what}: {again:?}");
            }
            assert_verifies(&directory, &place.access, &what).await;
            let last = prune(open(local(&directory), &place.access).await.unwrap()).await.unwrap();
            assert_eq!((last.removed_packs, last.waiting_packs), (0, 0), "after {what}");
            (struck, store.calls())
        })
        .await;
        println!("a prune: {points} points");
        assert!(points > 100, "{points}");
    });
}

/// No table is rewritten here.
struct NoCopies;

#[async_trait]
impl TableCopier for NoCopies {
    async fn copy(&self, _: &[(String, String)]) -> Result<u64> {
        Err(Error::new(ErrorKind::Internal, "nothing is copied here"))
    }
}

async fn catch_up(
    repository: Repository,
    settings: Settings,
    slot: String,
    join_interval: Duration,
) -> Result<StreamReport> {
    let (_keep, interrupt) = interrupt();
    let options = StreamOptions {
        slot,
        publication: "pgkeep".to_owned(),
        segment_time: Duration::from_secs(1),
        segment_bytes: 16 << 20,
        max_lag_bytes: u64::MAX,
        join_interval,
        until_caught_up: true,
    };
    let copier: Arc<dyn TableCopier> = Arc::new(NoCopies);
    stream::run(&repository, &settings, &options, &copier, &silent(), interrupt).await
}

#[test]
fn a_stream_survives_every_fault_of_every_call() {
    let server = dedicated_with(18, &[]);
    let source = server.database();
    source.query(SMALL);
    let place = Place::new();
    let _ = place._home.run(["setup", "-q", "-d", &source.uri()]).ok();
    place._home.backup(&source.uri(), &[]);
    let slot = source.query("SELECT slot_name FROM pg_replication_slots").trim().to_owned();
    let settings = settings(&source.uri()).unwrap();
    let mut changes = 0;
    let points = block_on(for_each_point(async |point| {
        changes += 1;
        source.query(&format!("UPDATE one SET v = 'change {changes}' WHERE id % 50 = 0"));
        let (to, slot_name) = (settings.clone(), slot.clone());
        // With a join point at its end.
        let work = move |repository| catch_up(repository, to, slot_name, Duration::ZERO);
        let (store, outcome) = run_with(&place.directory, &place.access, point, work).await;
        let struck = store.fault();
        let what = struck.clone().unwrap_or_default();
        if changes % 8 == 0 {
            assert_verifies(&place.directory, &place.access, &what).await;
        }
        if let Some(Ok(report)) = outcome {
            // A join point that could not be written is written another time.
            let join_point = |told: &String| told.starts_with("could not write a point");
            let told = report.warnings;
            assert!(told.iter().all(join_point), "after {what}: {told:?}");
        }
        // The server lets go of the slot when it finds the connection gone.
        let free = "SELECT active FROM pg_replication_slots";
        crate::sessions::eventually(&source, free, "f");
        let repository = open(local(&place.directory), &place.access).await.unwrap();
        let next = catch_up(repository, settings.clone(), slot.clone(), Duration::MAX).await;
        let next = next.unwrap();
        assert!(next.warnings.is_empty(), "after {what}: {:?}", next.warnings);
        (struck, store.calls())
    }));
    println!("a stream: {points} points");
    assert!(points > 80, "{points}");
    block_on(assert_verifies(&place.directory, &place.access, "all"));
    let copy = server.database();
    place._home.restore(&copy.uri(), &["--to-latest", "--no-analyze"]);
    assert_eq!(tables(&copy), tables(&source));
}
