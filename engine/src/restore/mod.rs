//! Restores a backup: entries, rows, the rest, on several connections.
//!
//! ```text
//! manifest -> entries -> selection -> what it needs -> plan
//! first     drops, definitions                       in order, tables side by side
//! then      rows, indexes, constraints, triggers …   side by side, as each can begin
//! last      privileges, materialized views, statistics, event triggers
//! ```
//!
//! Nothing here parses SQL or passes through a shell: an entry's SQL is sent as it was
//! stored, names are quoted where this program writes SQL itself.

mod analyze;
mod definitions;
mod failures;
mod folded;
mod globals;
mod groups;
mod load;
mod managed;
mod names;
mod needs;
mod parallel;
mod passing;
mod plan;
mod privileges;
mod references;
mod refusal;
mod rename;
mod routes;
mod row_groups;
#[cfg(test)]
mod sample;
mod schedule;
mod server;
mod sessions;
mod standing;
mod target;
mod there;
mod triggers;

pub use analyze::Analyze;
pub use failures::Failure;
pub use globals::{Globals, GlobalsReport, run as run_globals};
pub use server::{ServerReport, run_all};

use crate::catalog::{Aspect, Provider, Selection, forget_storage, select_entries};
use crate::fold::Recovery;
use crate::postgres::Settings;
use crate::progress::{Event, Interrupt, Progress};
use crate::repository::{Backup, ChunkReader, MissingRows, Repository};
use crate::{Error, ErrorKind, Result, clock};
use analyze::Analyzed;
use failures::Failures;
use folded::Folded;
use groups::Replaced;
use load::Loader;
use managed::Managed;
use names::{name, title};
use needs::Completed;
use pgkeep_format::entry::{Entry, Kind};
use pgkeep_format::id::BackupId;
use pgkeep_format::manifest::Database;
use plan::Plan;
use rename::Rename;
use routes::Routes;
use sessions::{Manner, Sessions};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use target::Target;

/// What every session that restores is told first.
const SESSION_SETTINGS: &str = "\
    SET search_path = ''; SET client_encoding = 'UTF8'; SET standard_conforming_strings = on; \
    SET check_function_bodies = off; SET client_min_messages = warning; SET row_security = off; \
    SET statement_timeout = 0; SET lock_timeout = 0; \
    SET idle_in_transaction_session_timeout = 0; SET default_transaction_read_only = off; \
    SET xmloption = content; SET default_table_access_method = heap; \
    SELECT pg_catalog.set_config('session_replication_role', 'origin', false) \
      WHERE pg_catalog.current_setting('session_replication_role') <> 'origin'";

/// What a session that brings rows into tables with triggers and foreign keys is told, where
/// it may: the rows were consistent when they were backed up, tables come in any order, and
/// triggers did their work on them long ago.
const ROWS_ALONE: &str = "SET session_replication_role = replica";

/// What the user is told where it may not and disables triggers table by table.
const KEYS_ARE_CHECKED: &str = "foreign keys are checked while rows come in: the role may not set \
    session_replication_role";

/// What the user is told where it may not.
const ROWS_ARE_CHECKED: &str = "triggers fire and foreign keys are checked while rows come in: \
    the role may not set session_replication_role";

/// What to restore and how.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// Which database; needed only where the backup has several.
    pub database: Option<String>,
    /// Which entries.
    pub selection: Selection,
    /// Connections that load rows and build indexes.
    pub jobs: NonZeroUsize,
    /// Makes the database under its own name first and restores into that.
    pub create: bool,
    /// Drops what is to be restored first.
    pub clean: bool,
    /// With `clean`: what is not there need not be dropped.
    pub if_exists: bool,
    /// Schemas to restore under another name: pairs of old and new.
    pub rename_schemas: Vec<(String, String)>,
    /// Which tables to analyze at the end.
    pub analyze: Analyze,
    /// Plans and changes nothing.
    pub dry_run: bool,
    /// Ends at the first entry that the server refuses, rather than going on with all else.
    pub exit_on_error: bool,
    /// All in one transaction, on one connection; ends at the first error.
    pub single_transaction: bool,
    /// How long a statement waits for a lock; absent for ever.
    pub lock_timeout: Option<Duration>,
    /// With rows alone: triggers do not fire, also where the role may say so only of each table.
    pub disable_triggers: bool,
    /// Rows of all partitions go through the root of their partition tree; without it those that
    /// might belong to another partition on this server.
    pub load_via_partition_root: bool,
    /// Goes on without chunks of rows that cannot be read, and says what is missing. Definitions and
    /// changes must be whole all the same.
    pub allow_damage: bool,
    /// The changes that lead from the backup to the moment that is restored; absent for the
    /// backup as it is.
    pub recovery: Option<Arc<Recovery>>,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreReport {
    /// The backup that was restored.
    pub backup: BackupId,
    /// The database that it was restored into.
    pub database: String,
    /// Entries that were restored, or would be: kind and name.
    pub entries: Vec<(String, String)>,
    /// SQL of the drops that come first.
    pub drops: Vec<String>,
    /// Foreign keys, and members of publications, that are left out: what they refer to is not
    /// there.
    pub left_out: Vec<LeftOut>,
    /// What could not be restored, in the order of the backup.
    pub failed: Vec<Failure>,
    /// Tables whose rows were restored.
    pub tables: u64,
    /// Rows; with a dry run those that would be.
    pub rows: u64,
    /// Bytes of these rows, plain.
    pub bytes: u64,
    /// Rows that are missing, with `allow_damage`.
    pub missing: Vec<MissingRows>,
    /// Tables that were analyzed at the end.
    pub analyzed: u64,
    /// When it began and was done, microseconds since 1970 UTC.
    pub started_at: i64,
    /// See `started_at`.
    pub finished_at: i64,
    /// What the user should look at, a sentence each.
    pub warnings: Vec<String>,
}

/// An entry that is left out of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its kind.
    pub kind: String,
    /// Its name, with its schema.
    pub name: String,
    /// What it needs, kind and name.
    pub needs: String,
}

/// Restores `backup` of `repository` into the database that `settings` lead to.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] before anything is changed when something to be restored
/// is there; [`ErrorKind::Damaged`] when stored bytes are; what the server gives, with the
/// entry and its SQL. [`ErrorKind::Interrupted`] when it was told to stop.
pub async fn run(
    repository: &Repository,
    backup: &Backup,
    settings: &Settings,
    options: &RestoreOptions,
    progress: &Arc<dyn Progress>,
    mut interrupt: Interrupt,
) -> Result<RestoreReport> {
    tokio::select! {
        biased;
        () = interrupt.wait() => {
            Err(interrupted(options))
        }
        report = restore(repository, backup, settings, options, progress) => report,
    }
}

fn interrupted(options: &RestoreOptions) -> Error {
    let interrupted = |what: &str| {
        Error::new(
            ErrorKind::Interrupted,
            format!("restore was interrupted: the database is {what}"),
        )
    };
    if options.single_transaction {
        return interrupted("as it was");
    }
    interrupted("not complete").hint("Run it again with --clean --if-exists.")
}

/// The steps of a restore.
async fn restore(
    repository: &Repository,
    backup: &Backup,
    settings: &Settings,
    options: &RestoreOptions,
    progress: &Arc<dyn Progress>,
) -> Result<RestoreReport> {
    let started_at = clock::now_micros();
    progress.event(Event::Phase("reading the backup".to_owned()));
    let database = backup.database(options.database.as_deref())?;
    // Neither needs the other, and both wait.
    let read = read_backup(repository, backup, database, options);
    let (read, connected) = tokio::join!(read, target::connect(settings, options));
    let (reader, Folded { mut entries, bases, mut warnings }) = read?;
    let connected = connected?;
    forget_storage(&mut entries, &options.selection);
    let entries = Arc::new(entries);
    let rename = Rename::new(&options.rename_schemas)?;

    let mut asked = select_entries(&entries, &options.selection)?;
    let mut target = target::open(connected, settings, &entries, database, options).await?;
    if !target.takes_statistics() {
        asked.retain(|at| entries[*at].kind != Kind::StatisticsData);
    }
    let managed = Managed::new(&entries, &target, &rename, options);
    warnings.extend(managed.as_ref().map(|it| it.leave(&mut asked)).unwrap_or_default());
    let mut completed = target.complete(&entries, &asked, options, &rename)?;
    if let Some(managed) = &managed {
        // What is asked for may need what the provider has under no name of its own.
        managed.leave(&mut completed.selected);
    }
    let drops = managed.as_ref().map(|it| it.drops(&completed.selected)).unwrap_or_default();
    let shared = managed.map(|it| it.shared_rows(&completed.selected)).unwrap_or_default();
    if let Some(session) = target.session() {
        Managed::check_empty(session, &shared).await?;
    }
    let replaced = Replaced { selected: &completed.selected, asked: &asked, drops };
    let groups = target.groups(&entries, replaced, options, &rename).await?;
    let mut plan = Plan::new(&entries, &completed.selected, groups);
    warnings.extend(completed.warnings(&entries));
    warnings.extend(target.left_behind(&entries, &completed, &rename));
    let (tables, _, bytes) = plan.sums(&entries, |_| true);
    let into_tables =
        !shared.is_empty() || tables > 0 && options.selection.is_without(Aspect::Definitions);
    let rows_alone = into_tables && target.may_load_unchecked().await?;
    let checked = into_tables && !rows_alone;
    if checked {
        references::wait(&entries, &mut plan.beside);
        let told = if options.disable_triggers { KEYS_ARE_CHECKED } else { ROWS_ARE_CHECKED };
        warnings.push(told.to_owned());
    }
    progress.event(Event::Plan { tables, bytes });
    for warning in &warnings {
        progress.event(Event::Warning(warning.clone()));
    }

    let single_transaction = options.single_transaction;
    let lock_timeout = options.lock_timeout;
    let manner = Manner { rows_alone, lock_timeout, single_transaction };
    let exit_on_error = options.exit_on_error || single_transaction;
    let first = target.take_first();
    let run = Run {
        sessions: Arc::new(Sessions::new(target.settings(), manner, &rename, first)),
        failures: Arc::new(Failures::new(&entries, progress, exit_on_error)),
        entries: &entries,
        rename: &rename,
        progress,
        provider: options.selection.provider,
        major: target.major(),
    };
    let (mut analyzed, mut loaded, mut missing) = (0, None, Vec::new());
    if !options.dry_run {
        let disables = checked && options.disable_triggers;
        let sessions = &run.sessions;
        let mut loader =
            Loader::new(&reader, backup, database, &entries, &rename, sessions, disables)?;
        loader.recover(options.recovery.as_ref(), bases);
        loader.allow_damage(options.allow_damage);
        if run.major < backup.sealed_part()?.server_version / 10_000 {
            loader.older();
        }
        let (rows, seen) = (loader.rows(), loader.seen());
        let done = run.all(&target, &plan, loader, options).await?;
        loaded = Some(rows.load(Ordering::Relaxed));
        missing = seen.missing(&entries);
        analyzed = done.tables;
        warnings.extend(done.warnings);
        warnings.extend(run.failures.forgiven());
    }
    let (tables, rows, bytes) = plan.sums(&entries, |at| !run.failures.has(at));
    Ok(RestoreReport {
        backup: backup.clear.id,
        database: target.database().to_owned(),
        entries: plan.names(&entries, |at| !run.failures.has(at)),
        drops: plan.drops(),
        left_out: left_out(&entries, &completed),
        failed: run.failures.all(),
        tables,
        rows: loaded.unwrap_or(rows),
        bytes,
        missing,
        analyzed,
        started_at,
        finished_at: clock::now_micros(),
        warnings,
    })
}

/// The entries of the backup, or what changes make of them.
async fn read_backup(
    repository: &Repository,
    backup: &Backup,
    database: &Database,
    options: &RestoreOptions,
) -> Result<(ChunkReader, Folded)> {
    let reader = ChunkReader::open(repository).await?;
    let folded = match &options.recovery {
        Some(recovery) => {
            folded::fold(&reader, backup, database, recovery, &options.selection).await?
        }
        None => {
            let entries = reader.entries(backup, database.entries_stream).await?;
            Folded { entries, ..Folded::default() }
        }
    };
    Ok((reader, folded))
}

fn left_out(entries: &[Entry], completed: &Completed) -> Vec<LeftOut> {
    let all = completed.left_out.iter().map(|(at, needed)| LeftOut {
        kind: entries[*at].kind.to_string(),
        name: name(entries, *at),
        needs: title(entries, *needed),
    });
    all.collect()
}

/// What all phases share.
struct Run<'a> {
    sessions: Arc<Sessions>,
    failures: Arc<Failures>,
    entries: &'a Arc<Vec<Entry>>,
    rename: &'a Rename,
    progress: &'a Arc<dyn Progress>,
    /// Whose server it is, if not the user's own.
    provider: Option<Provider>,
    /// The server's major version.
    major: u32,
}

impl Run<'_> {
    /// All phases, in their order.
    async fn all(
        &self,
        target: &Target,
        plan: &Plan,
        mut loader: Loader,
        options: &RestoreOptions,
    ) -> Result<Analyzed> {
        let phase = |name: &str| self.progress.event(Event::Phase(name.to_owned()));
        let before = if options.selection.is_without(Aspect::Privileges) {
            None
        } else {
            target.look().await?
        };
        phase("restoring definitions");
        self.replace(&plan.groups).await?;
        self.define(&plan.before, options.jobs).await?;
        loader.route(self.routes(plan, options.load_via_partition_root).await?);
        loader.made(plan.definitions().filter(|at| !self.failures.has(*at)).collect());
        phase("restoring rows, indexes and constraints");
        schedule::run(self, plan, loader, options.jobs).await?;
        phase("restoring privileges and materialized views");
        if let Some(before) = before {
            let mut wire = self.sessions.take().await?;
            privileges::reset(&mut wire, &before).await?;
            self.sessions.put(wire);
        }
        self.one_by_one(&plan.after).await?;
        let done = analyze::run(self, plan, options.analyze, options.jobs).await?;
        self.one_by_one(&plan.last).await?;
        self.sessions.finish().await?;
        Ok(done)
    }

    /// Which rows go through the root of their partition tree.
    async fn routes(&self, plan: &Plan, all: bool) -> Result<Routes> {
        let mut wire = self.sessions.take().await?;
        let routes = Routes::find(&mut wire, self.entries, &plan.beside, self.rename, all).await?;
        self.sessions.put(wire);
        Ok(routes)
    }
}
