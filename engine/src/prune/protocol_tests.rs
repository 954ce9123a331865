//! The protocol of writers and prunes, explored: writers, prunes, someone who forgets and crashes
//! take turns at every single call to the store, in an order drawn at random. Whatever the order,
//! a backup that was reported as stored reads back whole.
//!
//! The clock of each prune is drawn too: it may be a year behind or ahead. Sleep is a writer that
//! gets no turn for long. That the search finds what it looks for is shown with actors that break
//! a rule: it must then find a lost backup.

use super::{PruneOptions, run};
use crate::fixture::{Fixture, Made, back_up};
use crate::progress::{Progress, Silent, interrupt};
use crate::store::{MemoryStore, Store, StoredObject, Upload};
use crate::{Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use pgkeep_format::id::BackupId;
use pgkeep_format::name::{BACKUPS, ObjectName, PRUNES, WRITERS};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Numbers that look random; the same from the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.next(len as u64)).unwrap()
    }
}

/// Which rule an actor breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breaks {
    Nothing,
    /// A prune that does not see leases.
    Leases,
    /// A writer that does not see lists.
    Lists,
    /// A writer that does not see that it was taken for dead.
    Death,
    /// A prune that does not look again for backups.
    SecondLook,
}

/// A store whose every call waits for its actor's turn.
#[derive(Debug)]
struct Turns {
    store: MemoryStore,
    turns: Arc<Turn>,
    breaks: Breaks,
    looked: AtomicUsize,
}

#[derive(Debug)]
struct Turn {
    permits: Semaphore,
    waiting: AtomicUsize,
}

impl Turns {
    async fn turn(&self) {
        self.turns.waiting.fetch_add(1, Ordering::SeqCst);
        let permit = self.turns.permits.acquire().await.expect("turns go on");
        permit.forget();
        self.turns.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Store for Turns {
    fn location(&self) -> String {
        self.store.location()
    }

    async fn create(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        self.turn().await;
        let upload = self.store.create(name).await?;
        Ok(Box::new(TurnsUpload { upload, turns: self.turns.clone() }))
    }

    async fn read(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes> {
        self.turn().await;
        self.store.read(name, range).await
    }

    async fn len(&self, name: &ObjectName) -> Result<Option<u64>> {
        self.turn().await;
        match (self.breaks, name) {
            (Breaks::Death, ObjectName::Lease(_)) => Ok(Some(1)),
            _ => self.store.len(name).await,
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        self.turn().await;
        let hidden = match self.breaks {
            Breaks::Leases => prefix == WRITERS,
            Breaks::Lists => prefix == PRUNES,
            Breaks::SecondLook if prefix == BACKUPS => {
                self.looked.fetch_add(1, Ordering::SeqCst) > 0
            }
            _ => false,
        };
        if hidden { Ok(Vec::new()) } else { self.store.list(prefix).await }
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        self.turn().await;
        self.store.delete(name).await
    }
}

struct TurnsUpload {
    upload: Box<dyn Upload>,
    turns: Arc<Turn>,
}

#[async_trait]
impl Upload for TurnsUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.upload.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.turns.waiting.fetch_add(1, Ordering::SeqCst);
        let permit = self.turns.permits.acquire().await.expect("turns go on");
        permit.forget();
        self.turns.waiting.fetch_sub(1, Ordering::SeqCst);
        self.upload.finish().await
    }
}

/// Somebody at work.
struct Actor {
    turn: Arc<Turn>,
    task: tokio::task::JoinHandle<Option<(BackupId, Vec<Vec<u8>>)>>,
    /// How often it gets a turn, beside others.
    weight: u64,
}

impl Actor {
    /// Whether it can take a turn; waits until that is known.
    async fn is_ready(&self) -> bool {
        loop {
            if self.task.is_finished() {
                return false;
            }
            if self.turn.permits.available_permits() == 0
                && self.turn.waiting.load(Ordering::SeqCst) > 0
            {
                return true;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// What a backup holds: some chunks of a few, so that backups share them.
fn contents(random: &mut Random) -> Made {
    let all = ["a", "b", "c", "d", "e", "f"];
    let mut chunks: Vec<&str> = all.into_iter().filter(|_| random.next(2) == 0).collect();
    chunks.push("always");
    Made { with_list: random.next(3) == 0, ..Made::of(&chunks) }
}

struct World {
    fixture: Fixture,
    random: Random,
    breaks: Breaks,
    /// What was reported as stored and not forgotten.
    stored: Vec<(BackupId, Vec<Vec<u8>>)>,
    actors: Vec<Actor>,
    turns: u64,
}

impl World {
    async fn new(seed: u64, breaks: Breaks) -> Self {
        let fixture = Fixture::new().await;
        let mut world = Self {
            fixture,
            random: Random(seed),
            breaks,
            stored: Vec::new(),
            actors: Vec::new(),
            turns: 0,
        };
        let repository = world.fixture.open_to_write().await;
        for _ in 0..3 {
            let made = contents(&mut world.random);
            let id = back_up(&repository, &made).await.unwrap();
            world.stored.push((id, made.chunks));
        }
        world
    }

    fn store(&self, breaks: &[Breaks]) -> (Arc<dyn Store>, Arc<Turn>) {
        let turns = Arc::new(Turn { permits: Semaphore::new(0), waiting: AtomicUsize::new(0) });
        let breaks = if breaks.contains(&self.breaks) { self.breaks } else { Breaks::Nothing };
        let store = Turns {
            store: self.fixture.store.clone(),
            turns: turns.clone(),
            breaks,
            looked: AtomicUsize::new(0),
        };
        (Arc::new(store), turns)
    }

    fn begin(
        &mut self,
        turn: Arc<Turn>,
        work: impl Future<Output = Option<(BackupId, Vec<Vec<u8>>)>> + Send + 'static,
    ) {
        // Some are slow: they sleep while others do a lot.
        let weight = [1, 1, 4, 16][self.random.index(4)];
        self.actors.push(Actor { turn, task: tokio::spawn(work), weight });
    }

    fn begin_writer(&mut self) {
        let (store, turn) = self.store(&[Breaks::Lists, Breaks::Death]);
        let made = contents(&mut self.random);
        let access = crate::repository::Access {
            identity: None,
            writer: self.fixture.access.writer.clone(),
        };
        self.begin(turn, async move {
            let repository = crate::repository::Repository::open(store, access).await.unwrap();
            match back_up(&repository, &made).await {
                Ok(id) => Some((id, made.chunks)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Changed, "{error:?}");
                    None
                }
            }
        });
    }

    fn begin_prune(&mut self) {
        let (store, turn) = self.store(&[Breaks::Leases, Breaks::SecondLook]);
        let year = 365 * 24 * 3_600_000_000_i64;
        let options = PruneOptions {
            dry_run: false,
            max_repack: None,
            dead_after: Duration::from_secs(24 * 3600),
            now: [0, 0, 3_600_000_000, year, -year][self.random.index(5)],
        };
        let access = crate::repository::Access {
            identity: None,
            writer: self.fixture.access.writer.clone(),
        };
        self.begin(turn, async move {
            let repository = crate::repository::Repository::open(store, access).await.unwrap();
            let progress: Arc<dyn Progress> = Arc::new(Silent);
            let (_keep, interrupt) = interrupt();
            match run(&repository, &options, &progress, interrupt).await {
                // A backup was forgotten while it was followed, and another prune was faster.
                Err(error) if error.kind() == ErrorKind::Damaged => {
                    let said = format!("{error:?}");
                    assert!(said.contains("is lost") || said.contains("is not in"), "{said}");
                }
                pruned => drop(pruned.unwrap()),
            }
            None
        });
    }

    /// Somebody forgets a backup, in one call.
    fn forget(&mut self) {
        if self.stored.len() > 1 {
            let at = self.random.index(self.stored.len());
            let (id, _) = self.stored.swap_remove(at);
            self.fixture.store.tamper(|objects| objects.remove(&ObjectName::Backup(id)));
        }
    }

    /// One turn of somebody who can take it.
    async fn step(&mut self) {
        let mut ready = Vec::new();
        for (at, actor) in self.actors.iter().enumerate() {
            if actor.is_ready().await {
                ready.push((at, actor.weight));
            }
        }
        let all: u64 = ready.iter().map(|(_, weight)| weight).sum();
        if all > 0 {
            let mut drawn = self.random.next(all);
            for (at, weight) in ready {
                if drawn < weight {
                    self.actors[at].turn.permits.add_permits(1);
                    self.turns += 1;
                    break;
                }
                drawn -= weight;
            }
        }
        let mut at = 0;
        while at < self.actors.len() {
            if self.actors[at].task.is_finished() {
                let actor = self.actors.swap_remove(at);
                self.stored.extend(actor.task.await.expect("an actor does not panic"));
            } else {
                at += 1;
            }
        }
    }

    /// The first backup that was reported as stored and does not read back.
    async fn lost(&self) -> Option<String> {
        for (id, chunks) in &self.stored {
            match self.fixture.read(*id).await {
                Ok(read) if read == *chunks => {}
                Ok(_) => return Some(format!("backup {id} has other rows")),
                Err(error) => return Some(format!("backup {id}: {error:?}")),
            }
        }
        None
    }
}

/// One history; says what was lost.
async fn history(seed: u64, breaks: Breaks) -> (Option<String>, u64) {
    let mut world = World::new(seed, breaks).await;
    for _ in 0..4 {
        for _ in 0..1 + world.random.next(3) {
            match world.random.next(3) {
                0 => world.begin_writer(),
                _ => world.begin_prune(),
            }
        }
        if world.random.next(2) == 0 {
            world.begin_writer();
        }
        for _ in 0..world.random.next(120) {
            match world.random.next(60) {
                0 => world.forget(),
                1 if !world.actors.is_empty() => {
                    // A crash: nothing of it ends in good order.
                    let at = world.random.index(world.actors.len());
                    let actor = world.actors.swap_remove(at);
                    actor.task.abort();
                    if let Ok(Some(stored)) = actor.task.await {
                        world.stored.push(stored);
                    }
                }
                _ => world.step().await,
            }
        }
    }
    while !world.actors.is_empty() {
        world.step().await;
    }
    (world.lost().await, world.turns)
}

/// Histories up to the first that loses a backup.
async fn search(breaks: Breaks, histories: u64) -> Result<u64> {
    let mut turns = 0;
    for number in 0..histories {
        let seed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (lost, taken) = history(seed, breaks).await;
        turns += taken;
        if let Some(lost) = lost {
            let message = format!("history {number} of {breaks:?}: {lost}");
            return Err(Error::new(ErrorKind::Internal, message));
        }
    }
    Ok(turns)
}

#[tokio::test]
async fn no_order_of_writers_prunes_and_crashes_loses_a_backup() {
    let histories = std::env::var("PGKEEP_HISTORIES").ok().and_then(|text| text.parse().ok());
    let histories = histories.unwrap_or(400);
    let turns = search(Breaks::Nothing, histories).await.unwrap();
    println!("{histories} histories, {turns} turns");
}

#[tokio::test]
async fn each_rule_is_needed_without_it_the_search_finds_a_lost_backup() {
    for breaks in [Breaks::Leases, Breaks::Lists, Breaks::Death, Breaks::SecondLook] {
        let found = search(breaks, 3000).await;
        assert!(found.is_err(), "{breaks:?} was broken and nothing was lost");
        println!("{}", found.unwrap_err());
    }
}
