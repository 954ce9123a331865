//! Restores a backup: entries, rows, the rest, on several connections.
//!
//! ```text
//! manifest -> entries -> selection -> plan
//! first     drops, definitions                       one after another
//! then      rows, indexes, constraints, triggers …   side by side, as each can begin
//! last      privileges, materialized views, statistics, event triggers
//! ```
//!
//! Nothing here parses SQL or passes through a shell: an entry's SQL is sent as it was
//! stored, names are quoted where this program writes SQL itself.

mod analyze;
mod globals;
mod load;
mod managed;
mod plan;
mod privileges;
mod rename;
mod schedule;
mod server;
mod target;

pub use globals::{Globals, GlobalsReport, run as run_globals};
pub use server::{ServerReport, run_all};

use crate::catalog::{Aspect, Provider, Selection, creation, forget_storage, select_entries};
use crate::postgres::{ServerError, Session, Settings, WireSession};
use crate::progress::{Event, Interrupt, Progress};
use crate::repository::{Backup, ChunkReader, Repository};
use crate::{Error, ErrorKind, Result, clock};
pub use analyze::Analyze;
use managed::Managed;
use pgkeep_format::entry::{Entry, Kind};
use pgkeep_format::id::BackupId;
use plan::Plan;
use rename::Rename;
use std::num::NonZeroUsize;
use std::sync::Arc;

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
    /// Tables whose rows were restored.
    pub tables: u64,
    /// Rows; with a dry run those that would be.
    pub rows: u64,
    /// Bytes of these rows, plain.
    pub bytes: u64,
    /// Tables that were analyzed at the end.
    pub analyzed: u64,
    /// When it began and was done, microseconds since 1970 UTC.
    pub started_at: i64,
    /// See `started_at`.
    pub finished_at: i64,
    /// What the user should look at, a sentence each.
    pub warnings: Vec<String>,
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
            Err(Error::new(ErrorKind::Interrupted, "restore was interrupted: the database is not complete")
                .hint("Run it again with --clean --if-exists."))
        }
        report = restore(repository, backup, settings, options, progress) => report,
    }
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
    let reader = ChunkReader::open(repository).await?;
    let database = backup.database(options.database.as_deref())?;
    let mut entries = reader.entries(backup, database.entries_stream).await?;
    forget_storage(&mut entries, &options.selection);
    let entries = Arc::new(entries);
    let rename = Rename::new(&options.rename_schemas)?;

    let mut asked = select_entries(&entries, &options.selection)?;
    let target = target::open(settings, &entries, database, options).await?;
    if !target.takes_statistics() {
        asked.retain(|at| entries[*at].kind != Kind::StatisticsData);
    }
    let managed = Managed::new(&entries, &target, &rename, options);
    let mut warnings = managed.as_ref().map(|it| it.leave(&mut asked)).unwrap_or_default();
    let mut selected = target.complete(&entries, &asked, options, &rename)?;
    if let Some(managed) = &managed {
        // What is asked for may need what the provider has under no name of its own.
        managed.leave(&mut selected);
    }
    let mut drops = managed.as_ref().map(|it| it.drops(&selected)).unwrap_or_default();
    let shared = managed.map(|managed| managed.shared_rows(&selected)).unwrap_or_default();
    if let Some(session) = target.session() {
        Managed::check_empty(session, &shared).await?;
    }
    let mut plan = Plan::new(&entries, &selected, &asked, options);
    drops.append(&mut plan.drops);
    plan.drops = drops;
    warnings.extend(target.left_behind(&entries, &selected, &rename));
    let (tables, rows, bytes) = plan.sums(&entries);
    let into_tables =
        !shared.is_empty() || tables > 0 && options.selection.is_without(Aspect::Definitions);
    let rows_alone = into_tables && target.may_load_unchecked().await?;
    if into_tables && !rows_alone {
        warnings.push(ROWS_ARE_CHECKED.to_owned());
    }
    progress.event(Event::Plan { tables, bytes });
    for warning in &warnings {
        progress.event(Event::Warning(warning.clone()));
    }

    let mut analyzed = 0;
    if !options.dry_run {
        target.clean(&plan, &rename, options).await?;
        let loader = load::Loader::new(&reader, backup, database, &entries, &rename)?;
        let before = if options.selection.is_without(Aspect::Privileges) {
            None
        } else {
            target.look().await?
        };
        let settings = target.settings();
        let provider = options.selection.provider;
        let run =
            Run { settings, entries: &entries, rename: &rename, progress, rows_alone, provider };
        progress.event(Event::Phase("restoring definitions".to_owned()));
        warnings.extend(run.one_by_one(&plan.before).await?);
        progress.event(Event::Phase("restoring rows, indexes and constraints".to_owned()));
        schedule::run(&run, &plan, loader, options.jobs).await?;
        progress.event(Event::Phase("restoring privileges and materialized views".to_owned()));
        if let Some(before) = before {
            target.reset_privileges(&before).await?;
        }
        warnings.extend(run.one_by_one(&plan.after).await?);
        let done = analyze::run(&run, &plan, options.analyze, options.jobs).await?;
        analyzed = done.tables;
        warnings.extend(done.warnings);
        warnings.extend(run.one_by_one(&plan.last).await?);
    }
    Ok(RestoreReport {
        backup: backup.clear.id,
        database: target.database().to_owned(),
        entries: plan.names(&entries),
        drops: plan.drops.clone(),
        tables,
        rows,
        bytes,
        analyzed,
        started_at,
        finished_at: clock::now_micros(),
        warnings,
    })
}

/// What all phases share.
struct Run<'a> {
    settings: &'a Settings,
    entries: &'a Arc<Vec<Entry>>,
    rename: &'a Rename,
    progress: &'a Arc<dyn Progress>,
    /// Whether rows come in without triggers and foreign keys.
    rows_alone: bool,
    /// Whose server it is, if not the user's own.
    provider: Option<Provider>,
}

impl Run<'_> {
    /// A connection for rows and statements, told what every restoring session is told.
    async fn connect(&self) -> Result<WireSession> {
        let mut wire = WireSession::connect(self.settings, "restore").await?;
        wire.execute(SESSION_SETTINGS).await?;
        if self.rows_alone {
            wire.execute(ROWS_ALONE).await?;
        }
        Ok(wire)
    }

    /// Restores entries one after another, in their order; returns what was forgiven, a
    /// sentence each.
    async fn one_by_one(&self, positions: &[usize]) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        if positions.is_empty() {
            return Ok(warnings);
        }
        let mut session = Session::connect(self.settings, "restore").await?;
        session.execute(SESSION_SETTINGS).await?;
        self.rename.begin(&session).await?;
        for position in positions {
            let entry = &self.entries[*position];
            if entry.create.is_empty() {
                continue;
            }
            match session.execute(&creation(entry)).await {
                Ok(()) => self.progress.event(Event::Step(describe(entry))),
                Err(error) if self.forgives(entry, &error) => {
                    let why = reason(error)?;
                    let warning = format!("could not restore {}: {why}", describe(entry));
                    self.progress.event(Event::Warning(warning.clone()));
                    warnings.push(warning);
                    // It may be several statements, the first of which became another role.
                    session.execute("RESET SESSION AUTHORIZATION").await?;
                }
                Err(error) => return Err(failed(entry, error)),
            }
        }
        self.rename.end(&session).await?;
        session.close().await;
        Ok(warnings)
    }

    /// Whether this error of this entry ends nothing: on a provider's server, a role may not do
    /// everything that others did. Inside of a transaction every error ends it.
    fn forgives(&self, entry: &Entry, error: &Error) -> bool {
        let refused = error.kind() == ErrorKind::Privilege || sqlstate(error) == Some("42501");
        self.provider.is_some()
            && self.rename.is_none()
            && refused
            && managed::can_do_without(entry)
    }
}

/// An entry as people call it.
fn describe(entry: &Entry) -> String {
    match &entry.schema {
        Some(schema) => format!("{} {schema}.{}", entry.kind, entry.name),
        None => format!("{} {}", entry.kind, entry.name),
    }
}

/// The SQLSTATE of the server's error behind this one.
fn sqlstate(error: &Error) -> Option<&str> {
    error.cause::<ServerError>().map(|server| server.sqlstate.as_str())
}

/// Why the server refused a statement; an error of any other kind is given back.
fn reason(error: Error) -> Result<String> {
    match error.cause::<ServerError>() {
        Some(server) => Ok(server.message.clone()),
        None => Err(error),
    }
}

/// Characters of an entry's SQL that an error shows.
const SQL_SHOWN: usize = 2000;

/// The error for an entry that could not be restored: names it and shows its SQL.
fn failed(entry: &Entry, error: Error) -> Error {
    let sql: String = entry.create.chars().take(SQL_SHOWN).collect();
    let kind = error.kind();
    let missing_role = sqlstate(&error) == Some("42704") && entry.create.contains(" TO ");
    let statement = Error::new(kind, format!("statement: {sql}")).because(error);
    let wrapped =
        Error::new(kind, format!("could not restore {}", describe(entry))).because(statement);
    if missing_role {
        wrapped.hint("Create the role first, or restore with --no-owner --no-acl.")
    } else {
        wrapped
    }
}
