//! Workers that restore tables, rows, indexes, constraints and the like side by side: each takes
//! the step that can begin and that most work hangs on. It can begin when its needs are done
//! and nobody else holds its tables.

use super::Run;
use super::failures::Failures;
use super::load::Loader;
use super::names::title;
use super::parallel::{Processors, WORK_MIN, Workers};
use super::plan::{Part, Plan, Step};
use super::refusal::failed;
use super::row_groups::Group;
use super::sessions::Sessions;
use crate::catalog::{creation, creation_of_index};
use crate::postgres::WireSession;
use crate::progress::{Event, Progress};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::Entry;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// With less work and fewer steps than these, one worker does them all.
const WORK_FOR_ONE: u64 = 1 << 20;
pub(super) const STEPS_FOR_ONE: usize = 16;

/// Runs steps that bring no rows.
pub(super) async fn define(run: &Run<'_>, steps: Vec<Step>, jobs: NonZeroUsize) -> Result<()> {
    run_all(run, steps, HashMap::new(), None, jobs).await
}

/// Runs the rows of a plan, and what comes after them.
pub(super) async fn run(
    run: &Run<'_>,
    plan: &Plan,
    mut loader: Loader,
    jobs: NonZeroUsize,
) -> Result<()> {
    let mut groups = HashMap::new();
    for (number, step) in plan.beside.iter().enumerate() {
        if run.entries[step.entry].data.is_some() {
            groups.insert(number, loader.groups(step.entry).await?);
        }
    }
    let mut steps = plan.beside.clone();
    loader.routes().wait(run.entries, &mut steps);
    run_all(run, steps, groups, Some(loader), jobs).await
}

async fn run_all(
    run: &Run<'_>,
    steps: Vec<Step>,
    groups: HashMap<usize, Vec<Group>>,
    loader: Option<Loader>,
    jobs: NonZeroUsize,
) -> Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let shared = Arc::new(Shared {
        entries: run.entries.clone(),
        sessions: run.sessions.clone(),
        failures: run.failures.clone(),
        state: Mutex::new(State::new(&steps, groups)?),
        processors: Mutex::new(Processors::of(run.sessions.settings())),
        steps,
        changed: Notify::new(),
        loader,
        progress: run.progress.clone(),
    });
    let jobs = run.sessions.side_by_side(jobs.get());
    let mut workers = JoinSet::new();
    for _ in 0..jobs.min(shared.workers()) {
        let wire = run.sessions.take().await?;
        workers.spawn(shared.clone().work(Worker { wire, workers: Workers::default() }));
    }
    while let Some(ended) = workers.join_next().await {
        ended.map_err(|error| {
            Error::new(ErrorKind::Internal, "restoring did not end").because(error)
        })??;
    }
    Ok(())
}

struct Shared {
    entries: Arc<Vec<Entry>>,
    sessions: Arc<Sessions>,
    failures: Arc<Failures>,
    steps: Vec<Step>,
    state: Mutex<State>,
    processors: Mutex<Processors>,
    changed: Notify,
    /// Absent where no step brings rows.
    loader: Option<Loader>,
    progress: Arc<dyn Progress>,
}

struct State {
    /// Of each step: how many others it still waits for.
    waiting: Vec<usize>,
    /// Of each step: who waits for it.
    followers: Vec<Vec<usize>>,
    /// Of each step: the work of the longest chain of steps that begins with it.
    ranks: Vec<u64>,
    /// Steps that wait for nobody, not begun; the one to begin with first.
    ready: BTreeSet<(Reverse<u64>, usize)>,
    /// Of each table's entry: how many share it, or -1 where one has it alone.
    held: HashMap<usize, i64>,
    /// Of each step with rows: the groups not begun, and how many are not done.
    groups: HashMap<usize, (Vec<Group>, usize)>,
    loaded: HashMap<usize, u64>,
    undone: usize,
}

/// A connection at work.
struct Worker {
    wire: WireSession,
    workers: Workers,
}

/// What a worker does next.
enum Task {
    Statement(usize),
    Load(usize, Group),
}

impl State {
    /// # Errors
    /// [`ErrorKind::Damaged`] when steps wait for each other: workers would wait for ever.
    fn new(steps: &[Step], groups: HashMap<usize, Vec<Group>>) -> Result<Self> {
        let mut followers = vec![Vec::new(); steps.len()];
        for (number, step) in steps.iter().enumerate() {
            step.waits_for.iter().for_each(|needed| followers[*needed].push(number));
        }
        let waiting: Vec<usize> = steps.iter().map(|step| step.waits_for.len()).collect();
        let ranks = ranks(steps, &followers)?;
        let ready = (0..steps.len()).filter(|number| waiting[*number] == 0);
        let ready = ready.map(|number| (Reverse(ranks[number]), number)).collect();
        let groups = groups.into_iter().map(|(step, mut groups)| {
            let count = groups.len();
            groups.reverse();
            (step, (groups, count))
        });
        Ok(Self {
            waiting,
            ranks,
            followers,
            ready,
            held: HashMap::new(),
            groups: groups.collect(),
            loaded: HashMap::new(),
            undone: steps.len(),
        })
    }

    fn take(&mut self, steps: &[Step]) -> Option<Task> {
        let can_begin = |number: usize| {
            steps[number].locks.iter().all(|(table, alone)| {
                let held = self.held.get(table).copied().unwrap_or(0);
                held == 0 || (held > 0 && !alone)
            })
        };
        let first = *self.ready.iter().find(|(_, number)| can_begin(*number))?;
        let (_, number) = first;
        if let Some((groups, _)) = self.groups.get_mut(&number)
            && let Some(group) = groups.pop()
        {
            if groups.is_empty() {
                self.ready.remove(&first);
            }
            return Some(Task::Load(number, group));
        }
        self.ready.remove(&first);
        for (table, alone) in &steps[number].locks {
            let held = self.held.entry(*table).or_insert(0);
            *held = if *alone { -1 } else { *held + 1 };
        }
        Some(Task::Statement(number))
    }

    /// Counts the rows of a group; all rows of the table when it was the last one.
    fn loaded(&mut self, number: usize, rows: u64) -> Option<u64> {
        let loaded = self.loaded.entry(number).or_insert(0);
        *loaded += rows;
        let (_, left) = self.groups.get_mut(&number)?;
        *left -= 1;
        (*left == 0).then_some(*loaded)
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
                self.ready.insert((Reverse(self.ranks[follower]), follower));
            }
        }
    }
}

/// Of each step the work of the longest chain that begins with it.
fn ranks(steps: &[Step], followers: &[Vec<usize>]) -> Result<Vec<u64>> {
    let mut ranks = vec![0; steps.len()];
    let mut unknown = steps.len();
    let mut open: Vec<usize> = followers.iter().map(Vec::len).collect();
    let mut known: Vec<usize> = (0..steps.len()).filter(|number| open[*number] == 0).collect();
    while let Some(number) = known.pop() {
        let longest = followers[number].iter().map(|follower| ranks[*follower]).max();
        ranks[number] = steps[number].work.saturating_add(longest.unwrap_or(0));
        unknown -= 1;
        for needed in &steps[number].waits_for {
            open[*needed] -= 1;
            if open[*needed] == 0 {
                known.push(*needed);
            }
        }
    }
    match unknown {
        0 => Ok(ranks),
        _ => Err(Error::new(
            ErrorKind::Damaged,
            "entries of the backup wait for each other in a circle",
        )),
    }
}

/// The SQL of a step.
fn sql(entry: &Entry, part: Part) -> Cow<'_, str> {
    match (part, &entry.by_index) {
        (Part::Index, Some(by_index)) => creation_of_index(entry, by_index),
        (Part::Constraint, Some(by_index)) => Cow::Borrowed(&by_index.constraint),
        _ => creation(entry),
    }
}

impl Shared {
    /// How many workers have something to do: for little, to connect takes longer.
    fn workers(&self) -> usize {
        let work = self.steps.iter().fold(0, |sum: u64, step| sum.saturating_add(step.work));
        let state = self.lock();
        let units = state.undone.max(state.groups.values().map(|(groups, _)| groups.len()).sum());
        if work < WORK_FOR_ONE && units < STEPS_FOR_ONE { 1 } else { units }
    }

    async fn work(self: Arc<Self>, mut worker: Worker) -> Result<()> {
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
                Some(task) => self.perform(&mut worker, task).await?,
                None if undone == 0 => {
                    self.sessions.put(worker.wire);
                    return Ok(());
                }
                None => changed.await,
            }
            self.changed.notify_waiters();
        }
    }

    async fn perform(&self, worker: &mut Worker, task: Task) -> Result<()> {
        self.processors().take();
        match task {
            Task::Statement(number) => {
                let lent = self.lend(worker, number).await?;
                self.restore(&mut worker.wire, number).await?;
                self.processors().give(lent);
            }
            Task::Load(number, group) => self.load(&mut worker.wire, number, group).await?,
        }
        self.processors().give(1);
        Ok(())
    }

    /// Lets a statement have the processors that are free; gives how many.
    async fn lend(&self, worker: &mut Worker, number: usize) -> Result<usize> {
        if self.steps[number].work < WORK_MIN || !self.processors().are_known() {
            return Ok(0);
        }
        let most = worker.workers.most(&mut worker.wire).await?;
        let lent = self.processors().lend(most);
        worker.workers.tell(&mut worker.wire, lent).await?;
        Ok(lent)
    }

    async fn restore(&self, wire: &mut WireSession, number: usize) -> Result<()> {
        let at = self.steps[number].entry;
        let entry = &self.entries[at];
        let part = self.steps[number].part;
        if !self.failures.skips(at) && !entry.create.is_empty() {
            match self.sessions.execute(wire, &sql(entry, part)).await {
                Ok(()) if part == Part::Index => {}
                Ok(()) => self.progress.event(Event::Step(title(&self.entries, at))),
                Err(error) => self.failures.note(at, failed(&self.entries, at, error))?,
            }
        }
        self.lock().done(&self.steps, number);
        Ok(())
    }

    async fn load(&self, wire: &mut WireSession, number: usize, group: Group) -> Result<()> {
        let at = self.steps[number].entry;
        let entry = &self.entries[at];
        let loader = self.loader.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Internal, "rows were to be loaded among definitions")
        })?;
        let table = format!("{}.{}", entry.schema.as_deref().unwrap_or_default(), entry.name);
        let mut rows = 0;
        // Once a table failed, what is left of it only passes by.
        if !self.failures.skips(at) {
            if group.is_first() {
                self.progress.event(Event::TableStarted { table: table.clone() });
            }
            match loader.load(wire, at, &group, &self.progress).await {
                Ok(loaded) => rows = loaded,
                Err(error) => {
                    let message = format!("could not load the rows of \"{table}\"");
                    self.failures.note(at, Error::new(error.kind(), message).because(error))?;
                }
            }
        }
        let Some(loaded) = self.lock().loaded(number, rows) else { return Ok(()) };
        if !self.failures.has(at) {
            loader.check(at, loaded)?;
        }
        let bytes = entry.data.as_ref().map_or(0, |data| data.bytes);
        self.progress.event(Event::TableFinished { table, rows: loaded, bytes });
        self.lock().done(&self.steps, number);
        Ok(())
    }

    fn processors(&self) -> MutexGuard<'_, Processors> {
        self.processors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_first_whose_indexes_take_longest() {
        let step = |work, waits_for| Step {
            entry: 0,
            part: Part::Whole,
            waits_for,
            locks: Vec::new(),
            work,
        };
        let steps = [
            step(50, vec![]),
            step(40, vec![]),
            step(10, vec![0]),
            step(80, vec![1]),
            step(1, vec![0, 3]),
        ];
        let mut state = State::new(&steps, HashMap::new()).unwrap();
        assert_eq!(state.ranks, [60, 121, 10, 81, 1]);
        let mut order = Vec::new();
        while let Some(Task::Statement(number)) = state.take(&steps) {
            order.push(number);
            state.done(&steps, number);
        }
        assert_eq!(order, [1, 3, 0, 2, 4]);
    }

    #[test]
    fn steps_in_a_circle_are_refused_and_not_waited_for() {
        let step =
            |waits_for| Step { entry: 0, part: Part::Whole, waits_for, locks: Vec::new(), work: 1 };
        let steps = [step(vec![1]), step(vec![0]), step(vec![])];
        let refused = State::new(&steps, HashMap::new()).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Damaged);
    }
}
