//! `pgkeep list`: the backups of a repository, the newest last, and what its change streams let
//! restore.

use super::view::{BackupView, SHORT_ID_LEN, lsn};
use crate::access::{Context, Reads};
use crate::args::ListArgs;
use crate::exit::{Exit, kind_name};
use crate::output::{Align, Table, bytes, count, local_time, printable, rfc3339};
use pgkeep_engine::Result;
use pgkeep_engine::fold::{self, Window};
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Listing {
    repository: String,
    location: String,
    encrypted: bool,
    backups: Vec<BackupView>,
    unreadable: Vec<Unreadable>,
    windows: Vec<WindowView>,
    /// What `--expect-head` takes.
    head: Vec<String>,
}

#[derive(Debug, Serialize)]
struct WindowView {
    stream: String,
    /// Absent without the identity.
    database: Option<String>,
    begins_lsn: String,
    ends_lsn: String,
    known_until: Option<String>,
    segments: u64,
    /// The first backup from which on every moment can be restored.
    from_backup: Option<String>,
    from_lsn: Option<String>,
    #[serde(skip)]
    known_until_micros: i64,
}

impl WindowView {
    fn of(window: &Window) -> Self {
        Self {
            stream: window.stream.to_string(),
            database: window.database.clone(),
            begins_lsn: lsn(window.begins),
            ends_lsn: lsn(window.ends),
            known_until: (window.segments > 0).then(|| rfc3339(window.known_until)).flatten(),
            segments: window.segments as u64,
            from_backup: window.from.map(|(backup, _)| backup.to_string()),
            from_lsn: window.from.map(|(_, from)| lsn(from)),
            known_until_micros: window.known_until,
        }
    }
}

#[derive(Debug, Serialize)]
struct Unreadable {
    id: String,
    kind: &'static str,
    message: String,
}

/// Lists the backups.
pub(super) async fn run(context: &Context, args: &ListArgs) -> Result<Exit> {
    let repository = context.open_for_reading(&args.repository, Reads::Clear).await?;
    let backups = repository.backups().await?;
    let windows = fold::windows(&repository).await?;
    let newest = backups.good.last().map(|backup| backup.clear.id);
    let head = repository.head_with(newest).await?;
    let listing = Listing {
        repository: repository.id().to_string(),
        location: repository.store().location(),
        encrypted: repository.config().encrypted,
        backups: backups.good.iter().map(BackupView::from).collect(),
        unreadable: backups
            .unreadable
            .iter()
            .map(|(id, error)| Unreadable {
                id: id.to_string(),
                kind: kind_name(error.kind()),
                message: error.to_string(),
            })
            .collect(),
        windows: windows.iter().map(WindowView::of).collect(),
        head: head.iter().map(ToString::to_string).collect(),
    };
    context.output.document(&listing, text)?;
    if !context.output.is_json() {
        for (id, error) in &backups.unreadable {
            context.output.warning(&format!("backup {id} cannot be read: {error}"));
        }
        if listing.backups.is_empty() && listing.unreadable.is_empty() {
            context.output.note(&format!("repository \"{}\" has no backup yet", listing.location));
        }
    }
    Ok(Exit::done_with(listing.unreadable.len()))
}

fn text(listing: &Listing) -> String {
    let mut text = backups_text(listing);
    for window in &listing.windows {
        let database = window.database.as_deref().unwrap_or("(sealed)");
        let until = match &window.known_until {
            Some(_) => format!(", {}", local_time(window.known_until_micros)),
            None => String::new(),
        };
        let from = match (&window.from_backup, &window.from_lsn) {
            (Some(backup), Some(lsn)) => {
                let id = backup.get(..SHORT_ID_LEN).unwrap_or(backup);
                format!("any moment from backup {id} ({lsn})")
            }
            _ => format!("changes from {}, no backup to begin with yet,", window.begins_lsn),
        };
        text.push_str(&format!(
            "stream {} of {}: {from} to {}{until}\n",
            window.stream.get(..SHORT_ID_LEN).unwrap_or(&window.stream),
            printable(database),
            window.ends_lsn
        ));
    }
    text.push_str(&format!("head {}\n", listing.head.join(" ")));
    text
}

fn backups_text(listing: &Listing) -> String {
    if listing.backups.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        ("id", Align::Left),
        ("finished", Align::Left),
        ("database", Align::Left),
        ("rows", Align::Right),
        ("size", Align::Right),
        ("added", Align::Right),
        ("tags", Align::Left),
    ]);
    for backup in &listing.backups {
        table.row(vec![
            backup.short_id().to_owned(),
            local_time(backup.finished_micros),
            backup.database_line().map_or_else(|| "(sealed)".to_owned(), |line| printable(&line)),
            count(backup.rows),
            bytes(backup.plain_bytes),
            bytes(backup.added_bytes),
            printable(&backup.tag_line()),
        ]);
    }
    table.render()
}
