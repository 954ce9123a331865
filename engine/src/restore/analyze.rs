//! Optimizer statistics of what was restored: those of the backup where the server takes
//! them, else what `ANALYZE` finds out now. Without either, the first queries run with plans
//! made for tables that nobody knows.
//!
//! No row hangs on statistics: what goes wrong with them is told and stops nothing.

use super::Run;
use super::names::title;
use super::plan::Plan;
use super::refusal::reason;
use crate::postgres::{Row, WireSession, qualified};
use crate::progress::Event;
use crate::{Error, Result};
use futures_util::future::try_join_all;
use pgkeep_format::entry::{Entry, Kind};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The first major version that puts statistics back, and that analyzes a partitioned table
/// without its partitions.
const FIRST_MAJOR: u32 = 18;

/// Whether servers of this major version take statistics.
pub(super) fn takes_statistics(major: u32) -> bool {
    major >= FIRST_MAJOR
}

/// Which tables to analyze once they have their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Analyze {
    /// Those that get no statistics from the backup.
    #[default]
    Missing,
    /// All.
    All,
    /// None.
    Never,
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Analyzed {
    /// Tables that `ANALYZE` was told to look at; partitions that it finds itself not counted.
    pub(super) tables: u64,
    /// Statistics that are missing now, a sentence each.
    pub(super) warnings: Vec<String>,
}

/// Puts the plan's statistics back and analyzes the tables that are to be.
pub(super) async fn run(
    run: &Run<'_>,
    plan: &Plan,
    analyze: Analyze,
    jobs: NonZeroUsize,
) -> Result<Analyzed> {
    let others = tables_of_provider(run);
    let work = Work { run, warnings: Mutex::default(), given: Mutex::new(others.clone()) };
    let jobs = run.sessions.side_by_side(jobs.get());
    let mut sessions: Vec<WireSession> = Vec::new();
    if !plan.statistics.is_empty() {
        run.progress.event(Event::Phase("restoring statistics".to_owned()));
        let give = async |wire: &mut WireSession, at| work.give(wire, at).await;
        side_by_side(run, jobs, &mut sessions, plan.statistics.clone(), give).await?;
    }
    let tables = match analyze {
        Analyze::Never => Tables::default(),
        Analyze::Missing => Tables::new(run, plan, &lock(&work.given)),
        Analyze::All => Tables::new(run, plan, &others),
    };
    let mut count = 0;
    if !tables.is_empty() {
        run.progress.event(Event::Phase("analyzing tables".to_owned()));
        let statements = tables.statements(run);
        count = statements.len() as u64;
        let analyze = async |wire: &mut WireSession, statement| work.analyze(wire, statement).await;
        side_by_side(run, jobs, &mut sessions, statements, analyze).await?;
    }
    sessions.into_iter().for_each(|wire| run.sessions.put(wire));
    let mut warnings = work.warnings.into_inner().unwrap_or_else(PoisonError::into_inner);
    warnings.sort();
    for warning in &warnings {
        run.progress.event(Event::Warning(warning.clone()));
    }
    Ok(Analyzed { tables: count, warnings })
}

/// Does all tasks, each on one of at most `jobs` sessions; opens those that are missing.
async fn side_by_side<T>(
    run: &Run<'_>,
    jobs: usize,
    sessions: &mut Vec<WireSession>,
    tasks: Vec<T>,
    work: impl AsyncFn(&mut WireSession, T) -> Result<()>,
) -> Result<()> {
    while sessions.len() < jobs.min(tasks.len()) {
        sessions.push(run.sessions.take().await?);
    }
    let queue = Mutex::new(VecDeque::from(tasks));
    let (queue, work) = (&queue, &work);
    let workers = sessions.iter_mut().map(|wire| async move {
        loop {
            let Some(task) = lock(queue).pop_front() else { return Ok::<(), Error>(()) };
            work(wire, task).await?;
        }
    });
    try_join_all(workers).await?;
    Ok(())
}

/// What the tasks share.
struct Work<'a> {
    run: &'a Run<'a>,
    warnings: Mutex<Vec<String>>,
    /// Tables that have the statistics of the backup, and those that are not ours to analyze.
    given: Mutex<HashSet<usize>>,
}

impl Work<'_> {
    /// Puts the statistics of one entry back.
    async fn give(&self, wire: &mut WireSession, at: usize) -> Result<()> {
        if self.run.failures.skips(at) {
            return Ok(());
        }
        let entry = &self.run.entries[at];
        let what = title(self.run.entries, at);
        match self.ask(wire, &entry.create).await {
            Ok(answers) if answers.iter().all(is_taken) => {
                lock(&self.given).extend(table_of(self.run.entries, entry));
            }
            Ok(_) => self.warn(format!("{what} is not complete: the server refused part of it")),
            Err(error) => {
                self.warn(format!("{what} could not be restored: {}", reason(error)?));
            }
        }
        self.run.progress.event(Event::Step(what));
        Ok(())
    }

    /// Asks under the names of schemas that the backup has; in a transaction, so that what is
    /// refused ends no larger one.
    async fn ask(&self, wire: &mut WireSession, sql: &str) -> Result<Vec<Row>> {
        self.run.sessions.begin(wire).await?;
        let done = async {
            self.run.rename.begin(wire).await?;
            let answers = wire.query(sql).await?;
            self.run.rename.end(wire).await?;
            Ok(answers)
        };
        let done = done.await;
        self.run.sessions.end(wire, done).await
    }

    /// Analyzes one table: its name for people, and the statement.
    async fn analyze(&self, wire: &mut WireSession, (name, sql): (String, String)) -> Result<()> {
        self.run.sessions.begin(wire).await?;
        let done = wire.execute(&sql).await;
        if let Err(error) = self.run.sessions.end(wire, done).await {
            self.warn(format!("{name} could not be analyzed: {}", reason(error)?));
        }
        self.run.progress.event(Event::Step(sql));
        Ok(())
    }

    fn warn(&self, warning: String) {
        lock(&self.warnings).push(warning);
    }
}

/// Whether the server took all that a call told it.
fn is_taken(answer: &Row) -> bool {
    matches!(answer.optional("taken"), Ok(Some("t")))
}

/// The table that statistics are of; absent for those of its indexes.
fn table_of(entries: &[Entry], statistics: &Entry) -> Option<usize> {
    let at = statistics.belongs_to? as usize;
    let table = entries.get(at)?;
    let is_own = table.schema == statistics.schema && table.name == statistics.name;
    is_own.then_some(at)
}

/// Tables to analyze.
#[derive(Debug, Default)]
struct Tables {
    /// Entries that bear the names of tables with rows of their own.
    plain: Vec<usize>,
    /// Partitioned tables.
    partitioned: BTreeSet<usize>,
}

impl Tables {
    /// Tables that got rows, and partitioned ones above them, but for those that are `given`
    /// statistics.
    fn new(run: &Run<'_>, plan: &Plan, given: &HashSet<usize>) -> Self {
        let entries: &[Entry] = run.entries;
        let steps = plan.beside.iter().map(|step| step.entry).chain(plan.after.iter().copied());
        let filled: Vec<usize> = steps
            .filter(|at| {
                let kind = &entries[*at].kind;
                let has_rows = *kind == Kind::TableData || *kind == Kind::MaterializedViewData;
                has_rows && !run.failures.has(*at)
            })
            .collect();
        let whole = |at: &usize| entries[*at].belongs_to.map(|whole| whole as usize);
        let with_rows: HashSet<usize> = filled.iter().filter_map(whole).collect();
        let mut partitioned = partitioned_above(entries, plan, with_rows);
        // Sampling what has foreign tables below it would reach for other servers.
        let left_out = &above_foreign(entries) | given;
        partitioned.retain(|at| !left_out.contains(at));
        let is_left_out = |at: &usize| whole(at).is_some_and(|table| left_out.contains(&table));
        let plain = filled.into_iter().filter(|at| !is_left_out(at)).collect();
        Self { plain, partitioned }
    }

    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.partitioned.is_empty()
    }

    /// Name and statement of each.
    fn statements(&self, run: &Run<'_>) -> Vec<(String, String)> {
        let statement = |at: usize, only: &str| {
            let entry = &run.entries[at];
            let schema = run.rename.new_name(entry.schema.as_deref().unwrap_or_default());
            let sql = format!("ANALYZE {only}{}", qualified(schema, &entry.name));
            (format!("{schema}.{}", entry.name), sql)
        };
        let (plain, partitioned) = (self.plain.iter(), self.partitioned.iter());
        if run.major >= FIRST_MAJOR {
            let plain = plain.map(|at| statement(*at, ""));
            return plain.chain(partitioned.map(|at| statement(*at, "ONLY "))).collect();
        }
        // A partitioned table is analyzed with all below it, or not at all.
        let is_covered =
            |at: usize| parents(run.entries, at).any(|parent| self.partitioned.contains(&parent));
        let own = |at: usize| run.entries[at].belongs_to.map_or(at, |table| table as usize);
        let plain = plain.filter(|at| !is_covered(own(**at)));
        let roots = partitioned.filter(|at| !is_covered(**at));
        plain.chain(roots).map(|at| statement(*at, "")).collect()
    }
}

/// The tables that a table inherits from or is a partition of.
fn parents(entries: &[Entry], at: usize) -> impl Iterator<Item = usize> + '_ {
    let relation = entries.get(at).and_then(|entry| entry.relation.as_ref());
    relation.into_iter().flat_map(|relation| &relation.parents).map(|parent| *parent as usize)
}

/// Tables that their provider analyzes.
fn tables_of_provider(run: &Run<'_>) -> HashSet<usize> {
    let Some(provider) = run.provider else { return HashSet::new() };
    let all = run.entries.iter().enumerate();
    let shared = all.filter(|(_, entry)| {
        entry.schema.as_deref().is_some_and(|schema| provider.shares_schema(schema))
    });
    shared.map(|(at, _)| at).collect()
}

/// Tables that have foreign tables below them.
fn above_foreign(entries: &[Entry]) -> HashSet<usize> {
    let is_foreign = |at: &usize| entries[*at].kind == Kind::ForeignTable;
    let mut above = HashSet::new();
    let mut todo: Vec<usize> = (0..entries.len()).filter(is_foreign).collect();
    while let Some(at) = todo.pop() {
        todo.extend(parents(entries, at).filter(|parent| above.insert(*parent)));
    }
    above
}

/// Partitioned tables above those that are `filled`: the ones that this restore made, and the
/// ones of which it filled all partitions.
fn partitioned_above(
    entries: &[Entry],
    plan: &Plan,
    mut filled: HashSet<usize>,
) -> BTreeSet<usize> {
    let made: HashSet<usize> = plan.definitions().collect();
    let mut partitions: HashMap<usize, Vec<usize>> = HashMap::new();
    for at in 0..entries.len() {
        for parent in parents(entries, at) {
            let relation = entries.get(parent).and_then(|parent| parent.relation.as_ref());
            if relation.is_some_and(|relation| relation.partitioned) {
                partitions.entry(parent).or_default().push(at);
            }
        }
    }
    let mut found = BTreeSet::new();
    // Each round goes a level up.
    loop {
        let is_filled = |at: &usize| filled.contains(at);
        let next = partitions.iter().filter(|(parent, parts)| {
            let whole = made.contains(parent) || parts.iter().all(is_filled);
            !is_filled(parent) && whole && parts.iter().any(is_filled)
        });
        let next: Vec<usize> = next.map(|(parent, _)| *parent).collect();
        if next.is_empty() {
            return found;
        }
        filled.extend(&next);
        found.extend(next);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
