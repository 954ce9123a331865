//! Restores all databases of a backup, roles and tablespaces before them: the restore of one
//! database, again and again. A database that is not there is made.

use super::globals::{self, Globals, GlobalsReport};
use super::{RestoreOptions, RestoreReport, run};
use crate::Result;
use crate::postgres::{Session, Settings};
use crate::progress::{Interrupt, Progress, Silent};
use crate::repository::{Backup, Repository};
use std::collections::HashSet;
use std::sync::Arc;

/// What was restored of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerReport {
    /// Roles and tablespaces, where they were wanted.
    pub globals: Option<GlobalsReport>,
    /// Each database, ascending by name.
    pub databases: Vec<RestoreReport>,
}

/// Restores `globals`, if wanted, and all databases of `backup` to the server that `settings`
/// lead to. `options` are for each database, but for `database` and `create`.
///
/// # Errors
/// As [`run`]. When an object of some database is there already, before anything is changed.
pub async fn run_all(
    repository: &Repository,
    backup: &Backup,
    settings: &Settings,
    globals: Option<Globals>,
    options: &RestoreOptions,
    progress: &Arc<dyn Progress>,
    interrupt: Interrupt,
) -> Result<ServerReport> {
    let there = databases(settings).await?;
    let mut each = Vec::new();
    for database in &backup.sealed_part()?.databases {
        let create = !there.contains(&database.name);
        let settings =
            if create { settings.clone() } else { settings.with_database(database.name.as_str()) };
        let name = Some(database.name.clone());
        each.push((settings, RestoreOptions { database: name, create, ..options.clone() }));
    }
    if !options.dry_run {
        let silent: Arc<dyn Progress> = Arc::new(Silent);
        for (settings, options) in each.iter().filter(|(_, options)| !options.create) {
            let plan = RestoreOptions { dry_run: true, ..options.clone() };
            run(repository, backup, settings, &plan, &silent, interrupt.clone()).await?;
        }
    }
    let globals = match globals {
        Some(which) => {
            Some(globals::run(repository, backup, settings, which, options, progress).await?)
        }
        None => None,
    };
    let mut databases = Vec::new();
    for (settings, options) in &each {
        let report = run(repository, backup, settings, options, progress, interrupt.clone());
        databases.push(report.await?);
    }
    Ok(ServerReport { globals, databases })
}

async fn databases(settings: &Settings) -> Result<HashSet<String>> {
    let mut session = Session::connect(settings, "restore").await?;
    let rows = session.query("SELECT datname AS name FROM pg_catalog.pg_database").await?;
    session.close().await;
    rows.iter().map(|row| Ok(row.text("name")?.to_owned())).collect()
}
