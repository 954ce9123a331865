//! Workers that restore rows, indexes, constraints and the like side by side: each takes
//! the largest step that can begin, which is one whose needs are done and whose tables
//! nobody else holds.

use super::load::{Group, Loader};
use super::plan::{Plan, Step};
use super::{Run, describe, failed};
use crate::catalog::creation;
use crate::postgres::WireSession;
use crate::progress::{Event, Progress};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::Entry;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Runs all steps of a plan.
pub(super) async fn run(
    run: &Run<'_>,
    plan: &Plan,
    loader: Loader,
    jobs: NonZeroUsize,
) -> Result<()> {
    if plan.beside.is_empty() {
        return Ok(());
    }
    let mut groups = HashMap::new();
    for (number, step) in plan.beside.iter().enumerate() {
        if run.entries[step.entry].data.is_some() {
            groups.insert(number, loader.groups(step.entry).await?);
        }
    }
    let shared = Arc::new(Shared {
        entries: run.entries.clone(),
        steps: plan.beside.clone(),
        state: Mutex::new(State::new(&plan.beside, groups)),
        changed: Notify::new(),
        loader,
        progress: run.progress.clone(),
    });
    // Under a schema's other name each statement is wrapped in renames, which exclude each
    // other: a second connection would only wait.
    let jobs = if run.rename.is_none() { jobs.get() } else { 1 };
    let mut workers = JoinSet::new();
    for _ in 0..jobs.min(shared.work_units()) {
        let wire = run.connect().await?;
        let (shared, rename) = (shared.clone(), run.rename.clone());
        workers.spawn(async move { shared.work(wire, &rename).await });
    }
    while let Some(ended) = workers.join_next().await {
        ended.map_err(|error| {
            Error::new(ErrorKind::Internal, "restoring did not end").because(error)
        })??;
    }
    shared.check_all_done()
}

struct Shared {
    entries: Arc<Vec<Entry>>,
    steps: Vec<Step>,
    state: Mutex<State>,
    changed: Notify,
    loader: Loader,
    progress: Arc<dyn Progress>,
}

struct State {
    /// Of each step: how many others it still waits for.
    waiting: Vec<usize>,
    /// Of each step: who waits for it.
    followers: Vec<Vec<usize>>,
    /// Steps that wait for nobody, not begun.
    ready: Vec<usize>,
    /// Of each table's entry: how many share it, or -1 where one has it alone.
    held: HashMap<usize, i64>,
    /// Of each step with rows: the groups not begun, and how many are not done.
    groups: HashMap<usize, (Vec<Group>, usize)>,
    loaded: HashMap<usize, u64>,
    undone: usize,
}

/// What a worker does next.
enum Task {
    Statement(usize),
    Load(usize, Group),
}

impl State {
    fn new(steps: &[Step], groups: HashMap<usize, Vec<Group>>) -> Self {
        let mut followers = vec![Vec::new(); steps.len()];
        for (number, step) in steps.iter().enumerate() {
            step.waits_for.iter().for_each(|needed| followers[*needed].push(number));
        }
        let waiting: Vec<usize> = steps.iter().map(|step| step.waits_for.len()).collect();
        let ready = (0..steps.len()).filter(|number| waiting[*number] == 0).collect();
        let groups = groups.into_iter().map(|(step, mut groups)| {
            let count = groups.len();
            groups.reverse();
            (step, (groups, count))
        });
        Self {
            waiting,
            followers,
            ready,
            held: HashMap::new(),
            groups: groups.collect(),
            loaded: HashMap::new(),
            undone: steps.len(),
        }
    }

    fn take(&mut self, steps: &[Step]) -> Option<Task> {
        let can_begin = |number: &usize| {
            steps[*number].locks.iter().all(|(table, alone)| {
                let held = self.held.get(table).copied().unwrap_or(0);
                held == 0 || (held > 0 && !alone)
            })
        };
        let candidates = self.ready.iter().enumerate().filter(|(_, number)| can_begin(number));
        let (at, number) = candidates
            .max_by_key(|(_, number)| (steps[**number].weight, std::cmp::Reverse(**number)))?;
        let number = *number;
        if let Some((groups, _)) = self.groups.get_mut(&number)
            && let Some(group) = groups.pop()
        {
            if groups.is_empty() {
                self.ready.swap_remove(at);
            }
            return Some(Task::Load(number, group));
        }
        self.ready.swap_remove(at);
        for (table, alone) in &steps[number].locks {
            let held = self.held.entry(*table).or_insert(0);
            *held = if *alone { -1 } else { *held + 1 };
        }
        Some(Task::Statement(number))
    }

    fn done(&mut self, steps: &[Step], number: usize) {
        for (table, alone) in &steps[number].locks {
            let held = self.held.entry(*table).or_insert(0);
            *held = if *alone { 0 } else { *held - 1 };
        }
        self.undone -= 1;
        for follower in std::mem::take(&mut self.followers[number]) {
            self.waiting[follower] -= 1;
            if self.waiting[follower] == 0 {
                self.ready.push(follower);
            }
        }
    }
}

impl Shared {
    fn work_units(&self) -> usize {
        let state = self.lock();
        state.undone.max(state.groups.values().map(|(groups, _)| groups.len()).sum())
    }

    async fn work(self: Arc<Self>, mut wire: WireSession, rename: &super::Rename) -> Result<()> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change is missed between.
            changed.as_mut().enable();
            let (task, undone) = {
                let mut state = self.lock();
                (state.take(&self.steps), state.undone)
            };
            match task {
                Some(Task::Statement(number)) => self.restore(&mut wire, number, rename).await?,
                Some(Task::Load(number, group)) => self.load(&mut wire, number, group).await?,
                None if undone == 0 => {
                    wire.close().await;
                    return Ok(());
                }
                None => changed.await,
            }
            self.changed.notify_waiters();
        }
    }

    async fn restore(
        &self,
        wire: &mut WireSession,
        number: usize,
        rename: &super::Rename,
    ) -> Result<()> {
        let entry = &self.entries[self.steps[number].entry];
        if !entry.create.is_empty() {
            rename.begin_on(wire).await?;
            wire.execute(&creation(entry)).await.map_err(|error| failed(entry, error))?;
            rename.end_on(wire).await?;
            self.progress.event(Event::Step(describe(entry)));
        }
        self.lock().done(&self.steps, number);
        Ok(())
    }

    async fn load(&self, wire: &mut WireSession, number: usize, group: Group) -> Result<()> {
        let position = self.steps[number].entry;
        let entry = &self.entries[position];
        let table = format!("{}.{}", entry.schema.as_deref().unwrap_or_default(), entry.name);
        if group.is_first() {
            self.progress.event(Event::TableStarted { table: table.clone() });
        }
        let rows = self.loader.load(wire, position, &group, &self.progress).await;
        let rows = rows.map_err(|error| {
            let message = format!("could not load the rows of \"{table}\"");
            Error::new(error.kind(), message).because(error)
        })?;
        let mut state = self.lock();
        let loaded = state.loaded.entry(number).or_insert(0);
        *loaded += rows;
        let loaded = *loaded;
        let Some((_, left)) = state.groups.get_mut(&number) else { return Ok(()) };
        *left -= 1;
        if *left > 0 {
            return Ok(());
        }
        let data = entry.data.as_ref();
        let expected = data.map_or(0, |data| data.rows);
        if loaded != expected {
            let message =
                format!("table \"{table}\" has {loaded} rows, the backup says {expected}");
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        let bytes = data.map_or(0, |data| data.bytes);
        self.progress.event(Event::TableFinished { table, rows: loaded, bytes });
        state.done(&self.steps, number);
        Ok(())
    }

    fn check_all_done(&self) -> Result<()> {
        match self.lock().undone {
            0 => Ok(()),
            undone => {
                let message = format!("{undone} entries could not begin");
                Err(Error::new(ErrorKind::Internal, message))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
