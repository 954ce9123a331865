//! The database that is restored into: made, looked at, cleaned, finished.

use super::plan::Plan;
use super::rename::Rename;
use super::{
    ROWS_ALONE, RestoreOptions, SESSION_SETTINGS, analyze, describe, failed, privileges, sqlstate,
};
use crate::catalog::{Aspect, select_database};
use crate::postgres::{Session, Settings, identifier};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Entry, EntryKind, Kind, Section};
use pgkeep_format::manifest::Database;
use std::collections::{BTreeSet, HashSet};

/// Objects that an error about existing ones names at most.
const NAMED_MAX: usize = 5;

/// The database that is restored into.
pub(super) struct Target {
    settings: Settings,
    /// Absent with a dry run for a database that would be made.
    session: Option<Session>,
    there: HashSet<Object>,
}

/// A class of objects that share their names, and a name: schema (empty where the class
/// has none) and name.
type Object = (&'static str, String, String);

/// Opens the target, with `--create` after making it.
pub(super) async fn open(
    settings: &Settings,
    entries: &[Entry],
    database: &Database,
    options: &RestoreOptions,
) -> Result<Target> {
    let settings = if options.create {
        let name = &database.name;
        let made = settings.with_database(name.as_str());
        if options.dry_run {
            return Ok(Target { settings: made, session: None, there: HashSet::new() });
        }
        create_database(settings, name, entries, options).await?;
        made
    } else {
        settings.clone()
    };
    let session = Session::connect(&settings, "restore").await?;
    session.execute(SESSION_SETTINGS).await?;
    let there = what_is_there(&session).await?;
    // Where it came in: with several hosts, the workers must not come in elsewhere.
    let settings = session.settings().clone();
    Ok(Target { settings, session: Some(session), there })
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
            session.execute(&entry.create).await.map_err(|error| failed(entry, error))?;
        }
    }
    session.close().await;
    Ok(())
}

async fn what_is_there(session: &Session) -> Result<HashSet<Object>> {
    let sql = "\
        SELECT 'schema' AS class, '' AS schema, nspname AS name FROM pg_catalog.pg_namespace \
        UNION ALL SELECT 'extension', '', extname FROM pg_catalog.pg_extension \
        UNION ALL SELECT 'relation', nspname, relname FROM pg_catalog.pg_class c \
          JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace \
        UNION ALL SELECT 'type', nspname, typname FROM pg_catalog.pg_type t \
          JOIN pg_catalog.pg_namespace n ON n.oid = typnamespace \
        UNION ALL SELECT 'function', nspname, proname FROM pg_catalog.pg_proc p \
          JOIN pg_catalog.pg_namespace n ON n.oid = pronamespace \
        UNION ALL SELECT 'publication', '', pubname FROM pg_catalog.pg_publication \
        UNION ALL SELECT 'event trigger', '', evtname FROM pg_catalog.pg_event_trigger \
        UNION ALL SELECT 'constraint', nspname || '.' || relname, conname \
          FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = conrelid \
          JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace \
        UNION ALL SELECT 'trigger', nspname || '.' || relname, tgname \
          FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = tgrelid \
          JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace WHERE NOT tgisinternal \
        UNION ALL SELECT 'policy', nspname || '.' || relname, polname \
          FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = polrelid \
          JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace";
    let classes = [
        "schema",
        "extension",
        "relation",
        "type",
        "function",
        "publication",
        "event trigger",
        "constraint",
        "trigger",
        "policy",
    ];
    let mut there = HashSet::new();
    for row in session.query(sql).await? {
        let class = row.text("class")?;
        if let Some(class) = classes.into_iter().find(|known| *known == class) {
            there.insert((class, row.text("schema")?.to_owned(), row.text("name")?.to_owned()));
        }
    }
    Ok(there)
}

fn left_out(entry: &Entry, needed: &Entry, database: &str) -> Error {
    let message = format!(
        "{} needs {}, which is neither in the list nor in database \"{database}\"",
        describe(entry),
        describe(needed)
    );
    Error::new(ErrorKind::NotFound, message).hint("Take its line back into the list.")
}

impl Target {
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn database(&self) -> &str {
        self.settings.database()
    }

    /// Whether the server takes optimizer statistics; one that is not there yet is taken for
    /// one that does.
    pub(super) fn takes_statistics(&self) -> bool {
        self.session.as_ref().is_none_or(|session| analyze::takes_statistics(session.major()))
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

    /// Takes default privileges off what has come since.
    pub(super) async fn reset_privileges(&self, before: &privileges::Before) -> Result<()> {
        match &self.session {
            Some(session) => privileges::reset(session, before).await,
            None => Ok(()),
        }
    }

    /// What an entry would be there; absent for entries that cannot be looked up by a name
    /// of their own.
    fn object(entry: &Entry, rename: &Rename) -> Option<Object> {
        let EntryKind::Known(kind) = &entry.kind else { return None };
        let class = match kind {
            Kind::Schema => "schema",
            Kind::Extension => "extension",
            Kind::Table
            | Kind::ForeignTable
            | Kind::View
            | Kind::MaterializedView
            | Kind::Sequence => "relation",
            Kind::Type | Kind::Domain => "type",
            Kind::Function | Kind::Procedure | Kind::Aggregate => "function",
            Kind::Publication => "publication",
            Kind::EventTrigger => "event trigger",
            _ => return None,
        };
        let schema = entry.schema.as_deref().map(|schema| rename.new_name(schema).to_owned());
        let name = match *kind {
            Kind::Schema => rename.new_name(&entry.name),
            // Without argument types: a function of the same name is near enough to ask.
            Kind::Function | Kind::Procedure | Kind::Aggregate => {
                entry.name.split_once('(').map_or(entry.name.as_str(), |(name, _)| name)
            }
            _ => &entry.name,
        };
        Some((class, schema.unwrap_or_default(), name.to_owned()))
    }

    pub(super) fn is_there(&self, entry: &Entry, rename: &Rename) -> bool {
        Self::object(entry, rename).is_some_and(|object| self.there.contains(&object))
    }

    /// Whether a trigger or policy of this name is there on the table of this name.
    pub(super) fn has_part(&self, entry: &Entry, table: Option<&Entry>) -> bool {
        let class = if entry.kind == Kind::Policy { "policy" } else { "trigger" };
        table.is_some_and(|table| {
            let on = format!("{}.{}", table.schema.as_deref().unwrap_or_default(), table.name);
            self.there.contains(&(class, on, entry.name.clone()))
        })
    }

    /// The session that looks and cleans; absent with a dry run for a database that would be
    /// made.
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Adds what the selected entries need and the target lacks, leaves out what every
    /// database has, and refuses to restore over what is there.
    pub(super) fn complete(
        &self,
        entries: &[Entry],
        asked: &BTreeSet<usize>,
        options: &RestoreOptions,
        rename: &Rename,
    ) -> Result<BTreeSet<usize>> {
        if options.selection.is_without(Aspect::Definitions) {
            return self.check_tables_are_there(entries, asked, rename);
        }
        let mut selected = asked.clone();
        let mut todo: Vec<usize> = asked.iter().copied().collect();
        let is_list = options.selection.listed.is_some();
        while let Some(at) = todo.pop() {
            for needed in entries[at].depends_on.iter().map(|needed| *needed as usize) {
                let entry = &entries[needed];
                let lacking = entry.section == Section::PreData && !self.is_there(entry, rename);
                let database = matches!(
                    entry.kind,
                    EntryKind::Known(Kind::Database | Kind::DatabaseProperties)
                );
                if !lacking || database || selected.contains(&needed) {
                    continue;
                }
                // The sort of thing that can be looked for was, and was left out on purpose.
                if is_list && Self::object(entry, rename).is_some() {
                    return Err(left_out(&entries[at], entry, self.database()));
                }
                if !is_list {
                    selected.insert(needed);
                    todo.push(needed);
                }
            }
        }
        let conflicts: Vec<String> = asked
            .iter()
            .map(|at| &entries[*at])
            .filter(|entry| entry.drop.is_some() && self.is_there(entry, rename))
            .map(describe)
            .collect();
        if options.clean || conflicts.is_empty() {
            return Ok(selected);
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

    /// Rows alone need their tables.
    fn check_tables_are_there(
        &self,
        entries: &[Entry],
        asked: &BTreeSet<usize>,
        rename: &Rename,
    ) -> Result<BTreeSet<usize>> {
        let tables = asked.iter().filter_map(|at| entries[*at].belongs_to);
        let missing = tables
            .map(|table| &entries[table as usize])
            .find(|table| table.relation.is_some() && !self.is_there(table, rename));
        match missing {
            None => Ok(asked.clone()),
            Some(table) => {
                let message =
                    format!("{} is not in database \"{}\"", describe(table), self.database());
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
        selected: &BTreeSet<usize>,
        rename: &Rename,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            let needs = entry.depends_on.iter().find(|needed| {
                let needed = **needed as usize;
                selected.contains(&needed) && entries[needed].relation.is_some()
            });
            let Some(needed) = needs.filter(|_| !selected.contains(&at)) else { continue };
            let lacking = match entry.kind {
                EntryKind::Known(Kind::ForeignKey) => entry.belongs_to.is_some_and(|table| {
                    let table = &entries[table as usize];
                    let schema = rename.new_name(table.schema.as_deref().unwrap_or_default());
                    let on = format!("{schema}.{}", table.name);
                    self.is_there(table, rename)
                        && !self.there.contains(&("constraint", on, entry.name.clone()))
                }),
                EntryKind::Known(Kind::View | Kind::MaterializedView) => {
                    !self.is_there(entry, rename)
                }
                _ => false,
            };
            if lacking {
                let on = entry
                    .belongs_to
                    .map(|table| format!(" of {}", describe(&entries[table as usize])));
                warnings.push(format!(
                    "{}{} stands on {} and is not restored: select it too",
                    describe(entry),
                    on.unwrap_or_default(),
                    describe(&entries[*needed as usize]),
                ));
            }
        }
        warnings
    }

    /// Drops what is to be replaced, all or nothing.
    pub(super) async fn clean(
        &self,
        plan: &Plan,
        rename: &Rename,
        options: &RestoreOptions,
    ) -> Result<()> {
        let Some(session) = &self.session else { return Ok(()) };
        if plan.drops.is_empty() || (options.create && options.clean) {
            return Ok(());
        }
        let begin = if rename.is_none() {
            session.execute("BEGIN").await
        } else {
            rename.begin(session).await
        };
        begin?;
        for drop in &plan.drops {
            session.execute(drop).await.map_err(|error| {
                let kind = error.kind();
                let dependent = sqlstate(&error) == Some("2BP01");
                let wrapped = Error::new(kind, format!("could not drop what is to be replaced: {drop}")).because(error);
                if dependent {
                    wrapped.hint("Other objects stand on it; select them too, or drop them first. Nothing was changed.")
                } else {
                    wrapped.hint("Nothing was changed.")
                }
            })?;
        }
        if rename.is_none() { session.execute("COMMIT").await } else { rename.end(session).await }
    }
}
