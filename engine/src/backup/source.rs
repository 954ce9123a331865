//! What is backed up of a server: one database or all, each seen in a snapshot of its own,
//! held until its rows are copied.

use super::BackupOptions;
use crate::catalog::{self, Catalog, Provider};
use crate::postgres::{
    Coordinator, ServerError, Session, Settings, Snapshot, SnapshotOptions, qualified,
};
use crate::progress::{Event, Progress};
use crate::{Error, ErrorKind, Result};
use std::collections::HashSet;
use std::sync::Arc;

/// Which databases of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Databases {
    /// The one that the settings name.
    Connected,
    /// All but those that match a pattern.
    All {
        /// Patterns, as `pg_dumpall --exclude-database` takes them.
        exclude: Vec<String>,
    },
}

/// How often the catalogs are read when others change them meanwhile.
const ATTEMPTS: u32 = 10;

/// A database on the point of being copied: its tables are locked, its catalogs read.
pub(super) struct Source {
    pub(super) snapshot: Snapshot,
    pub(super) catalog: Catalog,
}

impl Source {
    pub(super) async fn open(
        settings: &Settings,
        options: &BackupOptions,
        progress: &Arc<dyn Progress>,
    ) -> Result<Self> {
        progress.event(Event::Phase(match options.databases {
            Databases::Connected => "reading the catalogs".to_owned(),
            Databases::All { .. } => {
                format!("reading the catalogs of \"{}\"", settings.database())
            }
        }));
        let mut attempts = ATTEMPTS;
        let (snapshot, mut catalog) = loop {
            attempts -= 1;
            match look(settings, options).await {
                // A snapshot that was given stays what it is.
                Err(error) if attempts > 0 && is_changed(&error, options) => {
                    tracing::info!("definitions changed meanwhile: {error:?}");
                    let again = "reading the catalogs again: definitions changed meanwhile";
                    progress.event(Event::Phase(again.to_owned()));
                }
                looked => break looked?,
            }
        };
        if options.databases != Databases::Connected {
            let name = &catalog.database.name;
            let warnings = catalog.warnings.iter();
            catalog.warnings =
                warnings.map(|warning| format!("database \"{name}\": {warning}")).collect();
        }
        for warning in &catalog.warnings {
            progress.event(Event::Warning(warning.clone()));
        }
        Ok(Self { snapshot, catalog })
    }
}

/// Locks what is selected, then reads the catalogs as they are under these locks.
async fn look(settings: &Settings, options: &BackupOptions) -> Result<(Snapshot, Catalog)> {
    let snapshot = SnapshotOptions { readers: options.jobs.get(), ..options.snapshot.clone() };
    let coordinator = Coordinator::connect(settings, &snapshot).await?;
    let before = catalog::lock_targets(coordinator.session(), &options.selection).await?;
    let tables: Vec<(String, String)> =
        before.iter().map(|target| (target.schema.clone(), target.name.clone())).collect();
    let snapshot = coordinator
        .lock_and_look(&tables, options.lock_timeout)
        .await
        .map_err(|error| hint_provider(error, &tables, options))?;
    let session = snapshot.session();
    let seen = catalog::lock_targets(session, &options.selection).await?;
    let locked: HashSet<_> = before.iter().collect();
    if let Some(target) = seen.iter().find(|target| !locked.contains(target)) {
        let table = qualified(&target.schema, &target.name);
        let message = format!("table {table} was created, renamed or dropped meanwhile");
        return Err(Error::new(ErrorKind::Changed, message).hint("Run the command again."));
    }
    let catalog = catalog::read(session, &options.selection).await?;
    Ok((snapshot, catalog))
}

/// Whether another look may help: somebody defined, changed or dropped things between two
/// queries of ours, or while we waited for locks.
fn is_changed(error: &Error, options: &BackupOptions) -> bool {
    options.snapshot.exported.is_none()
        && (error.kind() == ErrorKind::Changed || ServerError::is_of_changed_definitions(error))
}

/// Who may not read a provider's tables perhaps does not know that he need not.
fn hint_provider(error: Error, tables: &[(String, String)], options: &BackupOptions) -> Error {
    if error.kind() != ErrorKind::Privilege || options.selection.provider.is_some() {
        return error;
    }
    let keeps = |provider: &Provider, schema: &str| {
        provider.hides_schema(schema) || provider.shares_schema(schema)
    };
    let known = Provider::ALL
        .into_iter()
        .find(|provider| tables.iter().any(|(schema, _)| keeps(provider, schema)));
    match known {
        Some(provider) => error.hint(format!("On such a server: --profile {}", provider.name())),
        None => error,
    }
}

/// The settings of each database to back up, ascending by name, and what is left out of them.
pub(super) async fn databases(
    settings: &Settings,
    options: &BackupOptions,
) -> Result<(Vec<Settings>, Vec<String>)> {
    let Databases::All { exclude } = &options.databases else {
        return Ok((vec![settings.clone()], Vec::new()));
    };
    let mut session = Session::connect(settings, "backup").await?;
    let mut listed = catalog::databases(&session, exclude).await?;
    if let Some(provider) = options.selection.provider {
        listed.names.retain(|name| !provider.owns_database(name));
    }
    // Where it came in: with several hosts, the others must not come in elsewhere.
    let settings = session.settings().clone();
    session.close().await;
    if listed.names.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, "no database is left to back up"));
    }
    let each = listed.names.iter().map(|name| settings.with_database(name.as_str()));
    Ok((each.collect(), listed.warnings))
}
