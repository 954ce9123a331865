//! The database that is restored into: made, looked at, compared with what is to come.

use super::groups::{self, Group, Replaced};
use super::names::title;
use super::needs::{self, Completed, NAMED_MAX, Wish};
use super::refusal::{failed, sqlstate};
use super::rename::Rename;
use super::there::There;
use super::{ROWS_ALONE, RestoreOptions, SESSION_SETTINGS, analyze, privileges, standing};
use crate::catalog::{Aspect, select_database, select_entries};
use crate::postgres::{Session, Settings, WireSession, identifier};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Entry, EntryKind, Kind};
use pgkeep_format::manifest::Database;
use std::collections::BTreeSet;

/// The database that is restored into.
pub(super) struct Target {
    settings: Settings,
    /// Absent with a dry run for a database that would be made.
    session: Option<Session>,
    /// The first session that restores, connected while the other one looked.
    first: Option<WireSession>,
    there: There,
}

/// Sessions to a target that is there.
pub(super) struct Connected {
    /// The one that looks.
    session: Session,
    /// The first one that restores; absent with a dry run.
    first: Option<WireSession>,
}

/// Connects to a target that is there; absent with `--create`, which makes it first.
pub(super) async fn connect(
    settings: &Settings,
    options: &RestoreOptions,
) -> Result<Option<Connected>> {
    match options.create {
        true => Ok(None),
        false => Connected::to(settings, options).await.map(Some),
    }
}

impl Connected {
    async fn to(settings: &Settings, options: &RestoreOptions) -> Result<Self> {
        let session = Session::connect(settings, "restore").await?;
        // Where it came in: with several hosts, the workers must not come in elsewhere.
        let first = async {
            match options.dry_run {
                true => Ok(None),
                false => WireSession::connect(session.settings(), "restore").await.map(Some),
            }
        };
        let ((), first) = tokio::try_join!(session.execute(SESSION_SETTINGS), first)?;
        Ok(Self { session, first })
    }
}

/// Looks at the target, with `--create` after making it. `connected` is what [`connect`] gave.
pub(super) async fn open(
    connected: Option<Connected>,
    settings: &Settings,
    entries: &[Entry],
    database: &Database,
    options: &RestoreOptions,
) -> Result<Target> {
    let connected = match connected {
        Some(connected) => connected,
        None => {
            let name = &database.name;
            let made = settings.with_database(name.as_str());
            if options.dry_run {
                let there = There::default();
                return Ok(Target { settings: made, session: None, first: None, there });
            }
            create_database(settings, name, entries, options).await?;
            Connected::to(&made, options).await?
        }
    };
    let Connected { session, first } = connected;
    let there = There::look(&session, entries).await?;
    Ok(Target { settings: session.settings().clone(), session: Some(session), first, there })
}

async fn create_database(
    settings: &Settings,
    name: &str,
    entries: &[Entry],
    options: &RestoreOptions,
) -> Result<()> {
    let mut session = Session::connect(settings, "restore").await?;
    if options.clean {
        let if_exists = if options.if_exists { "IF EXISTS " } else { "" };
        session.execute(&format!("DROP DATABASE {if_exists}{}", identifier(name))).await?;
    }
    for at in select_database(entries, &options.selection) {
        let entry = &entries[at];
        if !entry.create.is_empty() {
            session.execute(&entry.create).await.map_err(|error| failed(entries, at, error))?;
        }
    }
    session.close().await;
    Ok(())
}

impl Target {
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A session that nobody works on yet.
    pub(super) fn take_first(&mut self) -> Option<WireSession> {
        self.first.take()
    }

    pub(super) fn database(&self) -> &str {
        self.settings.database()
    }

    /// The major version of the server; that of the newest for one that is not there yet.
    pub(super) fn major(&self) -> u32 {
        self.session.as_ref().map_or(u32::MAX, Session::major)
    }

    /// Whether the server takes optimizer statistics; one that is not there yet is taken for
    /// one that does.
    pub(super) fn takes_statistics(&self) -> bool {
        analyze::takes_statistics(self.major())
    }

    /// Whether rows may come in without firing triggers and checking foreign keys.
    pub(super) async fn may_load_unchecked(&self) -> Result<bool> {
        let Some(session) = &self.session else { return Ok(true) };
        match session.execute(ROWS_ALONE).await {
            Ok(()) => session.execute(SESSION_SETTINGS).await.map(|()| true),
            Err(error) if sqlstate(&error) == Some("42501") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What is there now, where the server grants default privileges on what comes.
    pub(super) async fn look(&self) -> Result<Option<privileges::Before>> {
        match &self.session {
            Some(session) => privileges::look(session).await,
            None => Ok(None),
        }
    }

    pub(super) fn is_there(&self, entries: &[Entry], at: usize, rename: &Rename) -> bool {
        self.there.has(entries, at, rename)
    }

    /// The session that looks; absent with a dry run for a database that would be made.
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// What was `asked` for with all that it needs and the target lacks.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] where something is there that is not to be replaced;
    /// [`ErrorKind::NotFound`] where something is lacking.
    pub(super) fn complete(
        &self,
        entries: &[Entry],
        asked: &BTreeSet<usize>,
        options: &RestoreOptions,
        rename: &Rename,
    ) -> Result<Completed> {
        let selection = &options.selection;
        if selection.is_without(Aspect::Definitions) {
            let selected = self.check_tables_are_there(entries, asked, rename)?;
            return Ok(Completed { selected, ..Completed::default() });
        }
        if !options.clean {
            self.check_nothing_is_there(entries, asked, rename)?;
        }
        let allowed = select_entries(entries, &selection.of_any_name())?;
        needs::complete(&Wish {
            entries,
            asked,
            allowed: &allowed,
            there: &self.there,
            rename,
            rows: !selection.is_without(Aspect::Rows),
            listed: selection.listed.is_some(),
            database: self.database(),
        })
    }

    /// What is replaced together, looked at before anything is changed.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where something to be dropped is not there;
    /// [`ErrorKind::AlreadyExists`] where something else stands on it.
    pub(super) async fn groups(
        &self,
        entries: &[Entry],
        replaced: Replaced<'_>,
        options: &RestoreOptions,
        rename: &Rename,
    ) -> Result<Vec<Group>> {
        // What is made new has nothing to drop.
        if !options.clean || options.create {
            return Ok(Vec::new());
        }
        let groups = groups::groups(entries, replaced, &self.there, rename, options.if_exists);
        self.check_drops(entries, &groups, options, rename).await?;
        Ok(groups)
    }

    /// Refuses to restore over what is there.
    fn check_nothing_is_there(
        &self,
        entries: &[Entry],
        asked: &BTreeSet<usize>,
        rename: &Rename,
    ) -> Result<()> {
        let conflicts: Vec<String> = asked
            .iter()
            .filter(|at| entries[**at].drop.is_some() && entries[**at].belongs_to.is_none())
            .filter(|at| self.there.has(entries, **at, rename))
            .map(|at| title(entries, *at))
            .collect();
        if conflicts.is_empty() {
            return Ok(());
        }
        let named = conflicts[..conflicts.len().min(NAMED_MAX)].join(", ");
        let more = match conflicts.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message = format!("database \"{}\" already has {named}{more}", self.database());
        Err(Error::new(ErrorKind::AlreadyExists, message)
            .hint("Restore into an empty database, or replace what is there: --clean --if-exists"))
    }

    /// Refuses to drop what is not there, where that was not allowed for, and what something
    /// else stands on.
    async fn check_drops(
        &self,
        entries: &[Entry],
        groups: &[Group],
        options: &RestoreOptions,
        rename: &Rename,
    ) -> Result<()> {
        let dropped = || groups.iter().flat_map(|group| &group.drops).map(|(at, _)| *at);
        if !options.if_exists
            && let Some(at) = dropped()
                .find(|at| entries[*at].drop.is_some() && self.there.lacks(entries, *at, rename))
        {
            let (what, database) = (title(entries, at), self.database());
            let message = format!("{what} is not in database \"{database}\" and cannot be dropped");
            return Err(Error::new(ErrorKind::NotFound, message)
                .hint("Drop only what is there: --clean --if-exists. Nothing was changed."));
        }
        let Some(session) = &self.session else { return Ok(()) };
        // What has no drop of its own goes with something else.
        let gone = groups.iter().flat_map(|group| &group.entries);
        let found = gone.filter_map(|at| self.there.find(entries, *at, rename)).collect();
        standing::check(session, &found, entries, &self.there, rename, &options.selection).await
    }

    /// Rows alone need their tables.
    fn check_tables_are_there(
        &self,
        entries: &[Entry],
        asked: &BTreeSet<usize>,
        rename: &Rename,
    ) -> Result<BTreeSet<usize>> {
        let mut tables = asked.iter().filter_map(|at| Some(entries[*at].belongs_to? as usize));
        let missing = tables.find(|table| {
            entries[*table].relation.is_some() && !self.there.has(entries, *table, rename)
        });
        match missing {
            None => Ok(asked.clone()),
            Some(table) => {
                let message =
                    format!("{} is not in database \"{}\"", title(entries, table), self.database());
                Err(Error::new(ErrorKind::NotFound, message)
                    .hint("Restore the definitions too: leave --data-only out."))
            }
        }
    }

    /// Names what stands on selected entries, is not selected itself, and is not there:
    /// views and foreign keys of other tables that went when a table was dropped.
    pub(super) fn left_behind(
        &self,
        entries: &[Entry],
        completed: &Completed,
        rename: &Rename,
    ) -> Vec<String> {
        let selected = &completed.selected;
        let left_out: BTreeSet<usize> = completed.left_out.iter().map(|(at, _)| *at).collect();
        let mut warnings = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            let needs = entry.depends_on.iter().find(|needed| {
                let needed = **needed as usize;
                selected.contains(&needed) && entries[needed].relation.is_some()
            });
            let told = selected.contains(&at) || left_out.contains(&at);
            let Some(needed) = needs.filter(|_| !told) else { continue };
            let whole = entry.belongs_to.map(|whole| whole as usize);
            let lacking = match entry.kind {
                EntryKind::Known(Kind::ForeignKey) => {
                    whole.is_some_and(|table| self.there.has(entries, table, rename))
                        && self.there.find(entries, at, rename).is_none()
                }
                EntryKind::Known(Kind::View | Kind::MaterializedView) => {
                    !self.there.has(entries, at, rename)
                }
                _ => false,
            };
            if lacking {
                warnings.push(format!(
                    "{} stands on {} and is not restored: select it too",
                    title(entries, at),
                    title(entries, *needed as usize),
                ));
            }
        }
        warnings
    }
}
