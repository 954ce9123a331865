//! What could not be restored: the server's refusals, gathered while all else goes on, and what
//! is skipped because it stands on something that failed.

use super::names::{name, title};
use super::refusal::{is_refusal, reason, sqlstate};
use crate::Error;
use crate::Result;
use crate::postgres::ServerError;
use crate::progress::{Event, Progress};
use pgkeep_format::entry::{Entry, EntryKind, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An entry that could not be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its kind.
    pub kind: String,
    /// Its name, with its schema.
    pub name: String,
    /// The server's SQLSTATE; absent for what was skipped.
    pub sqlstate: Option<String>,
    /// Why, in the server's words; or because of what it was skipped.
    pub message: String,
    /// Whether it was not tried, since something that it stands on failed.
    pub skipped: bool,
}

/// The failures of a restore.
pub(super) struct Failures {
    entries: Arc<Vec<Entry>>,
    progress: Arc<dyn Progress>,
    /// The first failure ends the restore.
    exit_on_error: bool,
    found: Mutex<BTreeMap<usize, Failure>>,
    forgiven: Mutex<Vec<String>>,
}

impl Failures {
    pub(super) fn new(
        entries: &Arc<Vec<Entry>>,
        progress: &Arc<dyn Progress>,
        exit_on_error: bool,
    ) -> Self {
        let (entries, progress) = (entries.clone(), progress.clone());
        Self {
            entries,
            progress,
            exit_on_error,
            found: Mutex::default(),
            forgiven: Mutex::default(),
        }
    }

    /// Notes that the server refused an entry.
    ///
    /// # Errors
    /// The error itself, where it is anything else than a refusal or the restore ends at the
    /// first one.
    pub(super) fn note(&self, at: usize, error: Error) -> Result<()> {
        if self.exit_on_error || !is_refusal(&error) {
            return Err(error);
        }
        let server = error.cause::<ServerError>();
        let mut message = server.map_or_else(|| error.to_string(), |server| server.message.clone());
        if let Some(detail) = server.and_then(|server| server.detail.as_ref()) {
            message = format!("{message}: {detail}");
        }
        let told = format!("could not restore {}: {message}", title(&self.entries, at));
        let sqlstate = sqlstate(&error).map(str::to_owned);
        let failure = Failure {
            kind: self.entries[at].kind.to_string(),
            name: name(&self.entries, at),
            sqlstate,
            message,
            skipped: false,
        };
        // Several connections may fail at the rows of one table; the first one tells why.
        let is_first = self.lock().insert_if_new(at, failure);
        if is_first {
            let hints = error.hints().into_iter().map(|hint| format!(" ({hint})"));
            self.progress.event(Event::Warning(told + &hints.collect::<String>()));
        }
        Ok(())
    }

    /// Notes that the server refused an entry that the restore can do without.
    ///
    /// # Errors
    /// The error itself, where it is anything else than a refusal.
    pub(super) fn forgive(&self, at: usize, error: Error) -> Result<()> {
        let warning = format!("could not restore {}: {}", title(&self.entries, at), reason(error)?);
        self.progress.event(Event::Warning(warning.clone()));
        self.forgiven.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
        Ok(())
    }

    /// What was forgiven, a sentence each.
    pub(super) fn forgiven(&self) -> Vec<String> {
        self.forgiven.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that entries are skipped, each for this reason.
    pub(super) fn skip(&self, all: &BTreeSet<usize>, reason: &str) {
        let mut found = self.lock();
        for at in all {
            found.insert_if_new(*at, self.skipped(*at, reason.to_owned()));
        }
    }

    /// Whether an entry failed or has to be skipped; notes that it is.
    pub(super) fn skips(&self, at: usize) -> bool {
        let mut found = self.lock();
        if found.contains_key(&at) {
            return true;
        }
        let entry = &self.entries[at];
        let mut needs = entry.depends_on.iter().chain(&entry.belongs_to).map(|at| *at as usize);
        let failed = needs.find(|needed| found.contains_key(needed) && self.carries(*needed));
        let Some(failed) = failed else { return false };
        let reason = format!("stands on {}, which failed", title(&self.entries, failed));
        found.insert_if_new(at, self.skipped(at, reason));
        true
    }

    /// Whether what depends on an entry cannot be without it: rows are only waited for.
    fn carries(&self, at: usize) -> bool {
        !matches!(
            self.entries[at].kind,
            EntryKind::Known(Kind::TableData | Kind::SequenceSet | Kind::MaterializedViewData)
        )
    }

    fn skipped(&self, at: usize, message: String) -> Failure {
        let kind = self.entries[at].kind.to_string();
        Failure { kind, name: name(&self.entries, at), sqlstate: None, message, skipped: true }
    }

    /// Whether an entry is among them.
    pub(super) fn has(&self, at: usize) -> bool {
        self.lock().contains_key(&at)
    }

    /// All of them, in the order of the entries.
    pub(super) fn all(&self) -> Vec<Failure> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Failure>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

trait InsertIfNew {
    /// Inserts what has no place yet; whether it had none.
    fn insert_if_new(&mut self, at: usize, failure: Failure) -> bool;
}

impl InsertIfNew for BTreeMap<usize, Failure> {
    fn insert_if_new(&mut self, at: usize, failure: Failure) -> bool {
        let is_new = !self.contains_key(&at);
        self.entry(at).or_insert(failure);
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::restore::sample::{entry, on, part};

    #[test]
    fn what_stands_on_a_failure_is_skipped_and_rows_are_only_waited_for() {
        let entries = vec![
            entry(Kind::Table, "jobs"),
            on(Kind::View, "open_jobs", &[0]),
            on(Kind::View, "fewer_jobs", &[1]),
            entry(Kind::Table, "other"),
            part(Kind::TableData, "other", 3),
            on(Kind::Index, "other_id", &[3, 4]),
        ];
        let silent: Arc<dyn Progress> = Arc::new(Silent);
        let failures = Failures::new(&Arc::new(entries), &silent, false);
        failures.skip(&BTreeSet::from([0, 4]), "for a test");
        assert!(failures.skips(1) && failures.skips(2) && failures.skips(4));
        assert!(!failures.skips(3) && !failures.skips(5));
        let reasons: Vec<_> = failures.all().into_iter().map(|one| one.message).collect();
        assert_eq!(reasons[1], "stands on TABLE app.jobs, which failed");
        assert_eq!(reasons[2], "stands on VIEW app.open_jobs, which failed");
    }
}
