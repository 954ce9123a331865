//! What is backed up of a server: one database or all, each seen in a snapshot of its own,
//! held until its rows are copied.

use super::BackupOptions;
use crate::catalog::{self, Catalog, Provider};
use crate::postgres::{Session, Settings, Snapshot};
use crate::progress::{Event, Progress};
use crate::{Error, ErrorKind, Result};
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
        let snapshot = Snapshot::open(settings, &options.snapshot).await?;
        let session = snapshot.session();
        let targets = catalog::lock_targets(session, &options.selection).await?;
        let tables: Vec<(String, String)> =
            targets.into_iter().map(|target| (target.schema, target.name)).collect();
        snapshot
            .lock(&tables, options.lock_timeout)
            .await
            .map_err(|error| hint_provider(error, &tables, options))?;
        let mut catalog = catalog::read(session, &options.selection).await?;
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
