//! The editable list: every entry of a backup on a line, written by `ls --list` and read by
//! `--use-list`, as `pg_restore -l` and `-L` have it.
//!
//! ```text
//! ; what follows a semicolon at the begin of a line is a comment
//! 12; TABLE public jobs app_owner
//! ```
//!
//! A line counts by its number; the rest must be what the entry's line says, so that the list
//! of another backup is not taken for one of this.

use crate::output::printable;
use pgkeep_engine::catalog::{Selection, select_entries};
use pgkeep_engine::repository::{Backup, ChunkReader, Repository};
use pgkeep_engine::{Error, ErrorKind, Result};
use pgkeep_format::entry::Entry;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of a list, at most: a line of each of ten million entries.
const LEN_MAX: u64 = 1 << 30;

/// The list of these entries.
pub(super) fn write(backup: &Backup, entries: &[Entry], selected: &BTreeSet<usize>) -> String {
    let mut text = format!(
        ";\n; Entries of backup {}, in the order in which they are restored.\n\
         ; Take out lines, or put a semicolon before them, and restore the rest:\n\
         ;     pgkeep restore --backup {} --use-list FILE\n;\n",
        backup.clear.id, backup.clear.id
    );
    for at in selected {
        text.push_str(&line(entries, *at));
        text.push('\n');
    }
    text
}

fn line(entries: &[Entry], at: usize) -> String {
    let entry = &entries[at];
    let whole = entry.belongs_to.and_then(|whole| entries.get(whole as usize));
    let owner = entry.owner.as_deref().or_else(|| whole?.owner.as_deref());
    let or_none = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), printable);
    format!(
        "{at}; {} {} {} {}",
        entry.kind,
        or_none(entry.schema.as_deref()),
        printable(&entry.name),
        or_none(owner)
    )
}

/// Makes `selection` that of a list: the lines of the file that are none of comments.
///
/// # Errors
/// [`ErrorKind::Usage`], with the line, for what is no list of this database of this backup;
/// [`ErrorKind::NotFound`] when the file cannot be read.
pub(super) async fn select(
    selection: &mut Selection,
    path: &Path,
    repository: &Repository,
    backup: &Backup,
    database: Option<&str>,
) -> Result<()> {
    let stream = backup.database(database)?.entries_stream;
    let entries = ChunkReader::open(repository).await?.entries(backup, stream).await?;
    let place = path.display();
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().take(LEN_MAX + 1).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(LEN_MAX + 1).read_to_string(&mut text))
    };
    read.map_err(|error| {
        let message = format!("could not read list \"{place}\"");
        Error::new(ErrorKind::NotFound, message).because(error)
    })?;
    if text.len() as u64 > LEN_MAX {
        let message = format!("list \"{place}\" is longer than {LEN_MAX} bytes");
        return Err(Error::new(ErrorKind::Usage, message));
    }
    let all = select_entries(&entries, &Selection::default())?;
    let listed = parse(&text, &entries, &all).map_err(|(number, why)| {
        Error::new(ErrorKind::Usage, format!("list \"{place}\", line {number}: {why}")).hint(
            format!("Write the list of this backup anew: pgkeep ls --list {}", backup.clear.id),
        )
    })?;
    selection.listed = Some(listed);
    Ok(())
}

fn parse(
    text: &str,
    entries: &[Entry],
    all: &BTreeSet<usize>,
) -> std::result::Result<BTreeSet<usize>, (usize, String)> {
    let mut listed = BTreeSet::new();
    for (number, text) in text.lines().enumerate().map(|(at, text)| (at + 1, text.trim())) {
        if text.is_empty() || text.starts_with(';') {
            continue;
        }
        let (id, rest) = text.split_once(';').unwrap_or((text, ""));
        let at: usize = id
            .trim()
            .parse()
            .map_err(|_| (number, format!("\"{}\" is no number of an entry", printable(id))))?;
        if !all.contains(&at) {
            return Err((number, format!("the backup has no entry {at}")));
        }
        let own = line(entries, at);
        let own = own.split_once(';').map_or("", |(_, own)| own.trim());
        if !rest.trim().is_empty() && rest.trim() != own {
            return Err((number, format!("entry {at} of the backup is another one: {own}")));
        }
        listed.insert(at);
    }
    Ok(listed)
}
