//! Entries that are restored in their order: groups that are replaced, definitions, privileges,
//! refreshes, event triggers.

use super::groups::Group;
use super::names::title;
use super::refusal::{failed, sqlstate, too_many_locks};
use super::{Run, managed, plan, schedule};
use crate::catalog::creation;
use crate::postgres::WireSession;
use crate::progress::Event;
use crate::{Error, ErrorKind, Result};
use std::num::NonZeroUsize;

/// What others of a group are told of when one could not be replaced.
const ROLLED_BACK: &str = "is as it was: what it is replaced together with failed";

impl Run<'_> {
    /// Replaces the definitions of each group in a transaction of its own.
    pub(super) async fn replace(&self, groups: &[Group]) -> Result<()> {
        if groups.is_empty() {
            return Ok(());
        }
        let mut wire = self.sessions.take().await?;
        for group in groups {
            self.sessions.begin(&mut wire).await?;
            // The entry in work is the one to name when the server refuses.
            let mut at = group.drops.first().map_or(0, |(at, _)| *at);
            let done = self.replace_group(&mut wire, group, &mut at).await;
            if let Err(error) = self.sessions.end(&mut wire, done).await {
                self.failures.note(at, error)?;
                self.failures.skip(&group.entries, ROLLED_BACK);
                continue;
            }
            for at in &group.definitions {
                self.progress.event(Event::Step(title(self.entries, *at)));
            }
        }
        self.sessions.put(wire);
        Ok(())
    }

    async fn replace_group(
        &self,
        wire: &mut WireSession,
        group: &Group,
        at: &mut usize,
    ) -> Result<()> {
        self.rename.begin(wire).await?;
        for (entry, drop) in &group.drops {
            *at = *entry;
            wire.execute(drop).await.map_err(|error| {
                let message = format!("could not drop what is to be replaced: {drop}");
                let hint = too_many_locks(&error);
                let hint = hint.unwrap_or("What it is replaced together with is as it was.");
                Error::new(error.kind(), message).because(error).hint(hint)
            })?;
        }
        for entry in &group.definitions {
            *at = *entry;
            let sql = creation(&self.entries[*entry]);
            let done = if sql.is_empty() {
                Ok(())
            } else if self.may_forgive(*entry) {
                self.try_within(wire, *entry, &sql).await
            } else {
                wire.execute(&sql).await
            };
            done.map_err(|error| failed(self.entries, *entry, error))?;
        }
        self.rename.end(wire).await
    }

    /// Makes definitions in their order, tables that follow each other side by side.
    pub(super) async fn define(&self, positions: &[usize], jobs: NonZeroUsize) -> Result<()> {
        // Where refusals are forgiven, each statement is within a transaction of its own.
        if self.provider.is_some() {
            return self.one_by_one(positions).await;
        }
        let of_tables = |at: &usize| plan::is_of_tables(&self.entries[*at]);
        for run in positions.chunk_by(|a, b| of_tables(a) == of_tables(b)) {
            // An owner between two functions is such a run too, and not worth a plan.
            let side_by_side = run.len() >= schedule::STEPS_FOR_ONE;
            match run.first().is_some_and(of_tables) && side_by_side {
                true => schedule::define(self, plan::steps(self.entries, run), jobs).await?,
                false => self.one_by_one(run).await?,
            }
        }
        Ok(())
    }

    /// Restores entries one after another, in their order.
    pub(super) async fn one_by_one(&self, positions: &[usize]) -> Result<()> {
        if positions.is_empty() {
            return Ok(());
        }
        let mut wire = self.sessions.take().await?;
        for at in positions {
            let entry = &self.entries[*at];
            if self.failures.skips(*at) || entry.create.is_empty() {
                continue;
            }
            let done = if self.may_forgive(*at) {
                self.sessions.execute_apart(&mut wire, &creation(entry)).await
            } else {
                self.sessions.execute(&mut wire, &creation(entry)).await
            };
            match done {
                Ok(()) => self.progress.event(Event::Step(title(self.entries, *at))),
                Err(error) if self.forgives(*at, &error) => self.failures.forgive(*at, error)?,
                Err(error) => self.failures.note(*at, failed(self.entries, *at, error))?,
            }
        }
        self.sessions.put(wire);
        Ok(())
    }
    /// Runs the SQL of an entry within a transaction, which goes on where the server's refusal
    /// is forgiven.
    async fn try_within(&self, wire: &mut WireSession, at: usize, sql: &str) -> Result<()> {
        wire.execute("SAVEPOINT pgkeep_entry").await?;
        match wire.execute(sql).await {
            Ok(()) => wire.execute("RELEASE pgkeep_entry").await,
            Err(error) if self.forgives(at, &error) => {
                wire.execute("ROLLBACK TO pgkeep_entry; RELEASE pgkeep_entry").await?;
                self.failures.forgive(at, error)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a refusal of this entry ends nothing: on a provider's server, a role may not do
    /// everything that others did.
    fn may_forgive(&self, at: usize) -> bool {
        self.provider.is_some() && managed::can_do_without(&self.entries[at])
    }

    fn forgives(&self, at: usize, error: &Error) -> bool {
        let refused = error.kind() == ErrorKind::Privilege || sqlstate(error) == Some("42501");
        refused && self.may_forgive(at)
    }
}
