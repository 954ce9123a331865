//! `pgkeep list`: the backups of a repository, the newest last.

use super::view::BackupView;
use crate::access::{Context, Reads};
use crate::args::ListArgs;
use crate::exit::{Exit, kind_name};
use crate::output::{Align, Table, bytes, count, local_time, printable};
use pgkeep_engine::Result;
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Listing {
    repository: String,
    location: String,
    encrypted: bool,
    backups: Vec<BackupView>,
    unreadable: Vec<Unreadable>,
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
