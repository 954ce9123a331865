//! Roles, tablespaces and what else belongs to no database. They are the whole server's, and
//! other databases live by them: nothing is dropped, what is there is altered, and what the role
//! may not do is said at the end instead of ending the restore.

use super::names::title;
use super::refusal::reason;
use super::{RestoreOptions, SESSION_SETTINGS};
use crate::Result;
use crate::catalog::Provider;
use crate::postgres::{Session, Settings};
use crate::progress::{Event, Progress};
use crate::repository::{Backup, ChunkReader, Repository};
use pgkeep_format::entry::{Entry, EntryKind, Kind};
use std::collections::HashSet;
use std::sync::Arc;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Globals {
    /// Everything.
    All,
    /// Roles with all that is said of them.
    Roles,
    /// Tablespaces with all that is said of them.
    Tablespaces,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GlobalsReport {
    /// Entries that were restored: kind and name.
    pub entries: Vec<(String, String)>,
    /// What could not be, a sentence each.
    pub warnings: Vec<String>,
}

/// Restores what `which` names of a backup into the server that `settings` lead to, but for what
/// a provider made there. Of `options`, the provider counts and whether it is a dry run.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when the backup holds no globals; when the server cannot be reached
/// or goes away. A statement that fails is a warning.
pub async fn run(
    repository: &Repository,
    backup: &Backup,
    settings: &Settings,
    which: Globals,
    options: &RestoreOptions,
    progress: &Arc<dyn Progress>,
) -> Result<GlobalsReport> {
    progress.event(Event::Phase("restoring roles and tablespaces".to_owned()));
    let reader = ChunkReader::open(repository).await?;
    let entries = reader.entries(backup, backup.globals_stream()?).await?;
    let mut session = Session::connect(settings, "restore").await?;
    session.execute(SESSION_SETTINGS).await?;
    let there = there(&session).await?;
    let mut report = GlobalsReport::default();
    let provider = options.selection.provider;
    let user = session.settings().user().to_owned();
    let wanted = entries.iter().enumerate().filter(|(_, entry)| which.takes(&entries, entry));
    for (at, entry) in wanted {
        if there.contains(&(entry.kind.to_string(), entry.name.clone()))
            || provider.is_some_and(|provider| is_of_provider(provider, &user, &entries, entry))
        {
            continue;
        }
        let done = if options.dry_run { Ok(()) } else { session.execute(&entry.create).await };
        match done {
            Ok(()) => {
                progress.event(Event::Step(title(&entries, at)));
                report.entries.push((entry.kind.to_string(), entry.name.clone()));
            }
            Err(error) => {
                // The server's words alone: a statement may hold a password.
                let why = reason(error)?;
                let warning = format!("could not restore {}: {why}", title(&entries, at));
                progress.event(Event::Warning(warning.clone()));
                report.warnings.push(warning);
                // An entry may be several statements, the first of which took another role on.
                session.execute("RESET SESSION AUTHORIZATION").await?;
            }
        }
    }
    session.close().await;
    Ok(report)
}

/// Roles and tablespaces that need not be made.
async fn there(session: &Session) -> Result<HashSet<(String, String)>> {
    let rows = session
        .query(
            "SELECT 'ROLE' AS kind, rolname AS name FROM pg_catalog.pg_roles \
             UNION ALL SELECT 'TABLESPACE', spcname FROM pg_catalog.pg_tablespace",
        )
        .await?;
    rows.iter()
        .map(|row| Ok((row.text("kind")?.to_owned(), row.text("name")?.to_owned())))
        .collect()
}

/// Whether it makes or alters a role that the provider made, as the first one of the user's was.
fn is_of_provider(provider: Provider, user: &str, entries: &[Entry], entry: &Entry) -> bool {
    let made = |role: &str| provider.owns_role(role) || role == "postgres" || role == user;
    let whole = entry.belongs_to.and_then(|whole| entries.get(whole as usize)).unwrap_or(entry);
    match whole.kind {
        EntryKind::Known(Kind::Role | Kind::RoleSetting) => made(&whole.name),
        EntryKind::Known(Kind::RoleMembership) => {
            let roles = whole.name.split_once(" TO ");
            roles.is_some_and(|(role, member)| {
                provider.owns_role(member) || (made(role) && made(member))
            })
        }
        _ => false,
    }
}

impl Globals {
    fn takes(self, entries: &[Entry], entry: &Entry) -> bool {
        let whole = entry.belongs_to.and_then(|whole| entries.get(whole as usize));
        let is_tablespace =
            matches!(whole.unwrap_or(entry).kind, EntryKind::Known(Kind::Tablespace));
        match self {
            Globals::All => true,
            Globals::Roles => !is_tablespace,
            Globals::Tablespaces => is_tablespace,
        }
    }
}
