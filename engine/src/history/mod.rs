//! What happened to the rows of tables: changes as the stream recorded them, the newest first.
//! It folds nothing and needs no backup.
//!
//! ```text
//! runs, newest first -> segments -> changes of the tables -> those asked for -> caller
//! ```
//!
//! One chunk of changes of each table of a segment is in memory, and a few segments without their
//! changes.

mod condition;
mod recorded;
mod segment;

pub use condition::Condition;
pub use recorded::{Field, Recorded, Value};

use crate::catalog::NameMatcher;
use crate::fold::{Chain, Cut, Moment, Named, Run, Target};
use crate::repository::Repository;
use crate::{Error, ErrorKind, Result};
use condition::Conditions;
use futures_util::{StreamExt, stream};
use segment::Range;
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Segments that are read ahead.
const SEGMENTS_AHEAD: usize = 4;

/// Which changes are asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Which stream.
    pub named: Named,
    /// Which tables, by any name that they had in the time; then all their changes up to when
    /// they had it are taken.
    pub tables: NameMatcher,
    /// What a row must be like before or after the change; all of these.
    pub row: Vec<Condition>,
    /// From when on, microseconds since 1970 UTC: what a restore to just before it would lack.
    pub from: Option<i64>,
    /// Up to when: what a restore to then would have.
    pub to: Option<i64>,
    /// At most so many changes, the newest.
    pub limit: Option<u64>,
}

/// What was found beside the changes themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Number of changes.
    pub changes: u64,
    /// Whether older ones were left out: for the limit, or because that was enough.
    pub is_cut: bool,
    /// Times that were asked for of which the stream has nothing.
    pub gaps: Vec<Gap>,
}

/// A time of which the stream has nothing, microseconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Where it begins; absent for all before.
    pub from: Option<i64>,
    /// Where it ends.
    pub to: i64,
}

/// Who is told of each change; breaks when that was enough.
pub type Tell<'a> = dyn FnMut(&Recorded<'_>) -> Result<ControlFlow<()>> + Send + 'a;

/// Tells the changes of tables, the newest first, one by one.
///
/// # Errors
/// [`ErrorKind::NotFound`] when the repository has no stream; [`ErrorKind::Usage`] when it has
/// several and none was named, or a condition does not fit the tables; what reading the repository
/// and `tell` give.
pub async fn history(repository: &Repository, asked: &Asked, tell: &mut Tell<'_>) -> Result<Found> {
    let chain = Chain::the_one(repository, &asked.named).await?;
    let mut history = History {
        repository,
        asked,
        tables: HashSet::new(),
        conditions: Conditions::new(&asked.row),
        found: Found::default(),
        tell,
    };
    history.read(&chain).await?;
    history.conditions.check()?;
    Ok(history.found)
}

struct History<'a, 't> {
    repository: &'a Repository,
    asked: &'a Asked,
    /// Tables that had a name which was asked for, by OID.
    tables: HashSet<u32>,
    conditions: Conditions<'a>,
    found: Found,
    tell: &'a mut Tell<'t>,
}

impl History<'_, '_> {
    async fn read(&mut self, chain: &Chain) -> Result<()> {
        let (from, to) = (self.asked.from, self.asked.to);
        // Where the run after this one begins, if anything was asked of before.
        let mut after = None;
        for run in chain.runs.iter().rev() {
            let (begins, ends) = (run.begin.known_until, run.last.known_until);
            if to.is_some_and(|to| to < begins) {
                continue;
            }
            let gap_to = after.or(to.filter(|to| *to > ends));
            let gap_from = from.map_or(ends, |from| from.max(ends));
            if let Some(to) = gap_to.filter(|to| *to > gap_from) {
                self.found.gaps.push(Gap { from: Some(gap_from), to });
            }
            if from.is_some_and(|from| from > ends) {
                return Ok(());
            }
            self.read_run(run).await?;
            if self.found.is_cut || from.is_some_and(|from| from >= begins) {
                return Ok(());
            }
            after = Some(begins);
        }
        let Some(begins) = after.or(chain.runs.first().map(|run| run.begin.known_until)) else {
            return Ok(());
        };
        if from.is_some() || after.is_none() {
            let to = to.map_or(begins, |to| to.min(begins));
            self.found.gaps.push(Gap { from, to });
        }
        Ok(())
    }

    async fn read_run(&mut self, run: &Run) -> Result<()> {
        let start = match self.asked.from.filter(|from| *from >= run.begin.known_until) {
            Some(time) => Some(self.cut(run, time, true).await?),
            None => None,
        };
        let end = match self.asked.to.filter(|to| *to <= run.last.known_until) {
            Some(time) => Some(self.cut(run, time, false).await?),
            None => None,
        };
        let first = start.map_or(0, |cut| cut.segments);
        let behind =
            end.map_or(run.names.len(), |cut| cut.segments + usize::from(cut.transactions > 0));
        let range = Range {
            start: start.map_or(0, |cut| cut.end),
            end: end.map_or(u64::MAX, |cut| cut.end),
        };
        let repository = self.repository;
        let reads: Vec<_> = (first..behind).rev().map(|at| run.read(repository, at)).collect();
        let mut reads = stream::iter(reads).buffered(SEGMENTS_AHEAD);
        while let Some(read) = reads.next().await {
            self.read_segment(read?, range).await?;
            if self.found.is_cut {
                break;
            }
        }
        Ok(())
    }

    async fn cut(&self, run: &Run, time: i64, exclusive: bool) -> Result<Cut> {
        let target = Target { moment: Moment::Time(time), exclusive };
        target.find(self.repository, run).await?.ok_or_else(|| {
            Error::new(ErrorKind::Internal, "time is within a run and was not found there")
        })
    }

    /// Tells a change, if it was asked for.
    fn tell(&mut self, recorded: &Recorded<'_>) -> Result<()> {
        if !self.conditions.hold(recorded)? {
            return Ok(());
        }
        if self.asked.limit.is_some_and(|limit| self.found.changes >= limit) {
            self.found.is_cut = true;
            return Ok(());
        }
        self.found.changes += 1;
        self.found.is_cut = (self.tell)(recorded)?.is_break();
        Ok(())
    }
}
