//! Writes a backup for people and other programs: SQL that `psql` restores, the rows of
//! tables as CSV, or a directory that `pg_restore` reads. No server is needed.
//!
//! ```text
//! manifest -> entries -> selection -> chunks -> rows, checked -> text
//! ```
//!
//! What is read comes from a server that may have been hostile. No name of an object becomes
//! a name of a file or a part of a comment as it is, and rows are rows before they are written.

mod archive;
mod csv;
mod directory;
mod insert;
mod large_objects;
mod rows;
mod sql;

pub use insert::InsertOptions;
pub use sql::{RestrictKey, RowStatements, SqlOptions};

use crate::catalog::{Selection, Turn, forget_storage, select_entries, turn};
use crate::progress::{Event, Interrupt, Progress};
use crate::repository::{Backup, ChunkReader, MissingRows, Repository};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Entry, Section};
use pgkeep_format::manifest::Database;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// How to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportFormat {
    /// Plain SQL for `psql`.
    Sql(SqlOptions),
    /// A line for each row, as `COPY … (FORMAT csv, HEADER)` writes it.
    Csv,
    /// A directory as `pg_dump --format=directory` makes it, for `pg_restore`.
    Directory,
}

/// Where to write.
pub enum ExportOutput {
    /// One stream; CSV of one table only.
    Stream(Box<dyn Write + Send>),
    /// A directory: for CSV made if missing, with a file for each table; for `pg_restore` new.
    Directory(PathBuf),
}

/// What to write.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// Which database; needed only where the backup has several.
    pub database: Option<String>,
    /// Which entries.
    pub selection: Selection,
    /// How.
    pub format: ExportFormat,
    /// Goes on without chunks of rows that cannot be read, and says what is missing. Definitions
    /// must be whole all the same.
    pub allow_damage: bool,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportReport {
    /// Entries.
    pub entries: u64,
    /// Tables whose rows were written.
    pub tables: u64,
    /// Rows.
    pub rows: u64,
    /// Rows that are missing, with `allow_damage`.
    pub missing: Vec<MissingRows>,
}

/// What all parts of an export share.
struct Export<'a> {
    reader: ChunkReader,
    backup: &'a Backup,
    database: &'a Database,
    entries: Vec<Entry>,
    selection: &'a Selection,
    /// Positions of the entries to write.
    selected: BTreeSet<usize>,
    progress: &'a Arc<dyn Progress>,
    /// Rows that are missing so far; absent where none may be.
    missing: Option<Mutex<Vec<MissingRows>>>,
}

/// Writes what `options` select of `backup`.
///
/// # Errors
/// [`ErrorKind::Damaged`] when stored bytes are, or are no rows; [`ErrorKind::AlreadyExists`]
/// when something would have to be written over; [`ErrorKind::Store`] when the output cannot
/// be written; [`ErrorKind::Usage`] for an output that does not go with the format;
/// [`ErrorKind::Interrupted`].
pub async fn run(
    repository: &Repository,
    backup: &Backup,
    options: &ExportOptions,
    output: ExportOutput,
    progress: &Arc<dyn Progress>,
    mut interrupt: Interrupt,
) -> Result<ExportReport> {
    tokio::select! {
        biased;
        () = interrupt.wait() => Err(Error::new(ErrorKind::Interrupted, "export was interrupted")),
        report = export(repository, backup, options, output, progress) => report,
    }
}

async fn export(
    repository: &Repository,
    backup: &Backup,
    options: &ExportOptions,
    output: ExportOutput,
    progress: &Arc<dyn Progress>,
) -> Result<ExportReport> {
    progress.event(Event::Phase("reading the backup".to_owned()));
    let reader = ChunkReader::open(repository).await?;
    let database = backup.database(options.database.as_deref())?;
    let mut entries = reader.entries(backup, database.entries_stream).await?;
    let selection = &options.selection;
    forget_storage(&mut entries, selection);
    let selected = select_entries(&entries, selection)?;
    let missing = options.allow_damage.then(Mutex::default);
    let export =
        Export { reader, backup, database, entries, selection, selected, progress, missing };
    export.plan();
    progress.event(Event::Phase("writing".to_owned()));
    let mut report = match (&options.format, output) {
        (ExportFormat::Sql(options), ExportOutput::Stream(mut output)) => {
            sql::write(&export, options, output.as_mut()).await
        }
        (ExportFormat::Sql(_), ExportOutput::Directory(_)) => {
            Err(Error::new(ErrorKind::Usage, "SQL is written to a file, not to a directory"))
        }
        (ExportFormat::Csv, output) => csv::write(&export, output).await,
        (ExportFormat::Directory, ExportOutput::Directory(path)) => {
            directory::write(&export, &path).await
        }
        (ExportFormat::Directory, ExportOutput::Stream(_)) => {
            let message = "a directory cannot be written to a stream";
            Err(Error::new(ErrorKind::Usage, message).hint("Name one: --output DIR"))
        }
    }?;
    report.missing = export.missing().unwrap_or_default();
    let rows = report.missing.iter().map(|missing| missing.rows).sum();
    report.rows = report.rows.saturating_sub(rows);
    Ok(report)
}

impl Export<'_> {
    /// What is missing so far; absent where nothing may be.
    fn missing(&self) -> Option<Vec<MissingRows>> {
        let missing = self.missing.as_ref()?;
        Some(missing.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn note_missing(&self, rows: MissingRows) {
        if let Some(missing) = &self.missing {
            missing.lock().unwrap_or_else(PoisonError::into_inner).push(rows);
        }
    }

    /// Tells how much there is to do.
    fn plan(&self) {
        let data = self.selected.iter().filter_map(|at| self.entries[*at].data.as_ref());
        let (tables, bytes) = data.fold((0, 0_u64), |(tables, bytes), data| {
            (tables + 1, bytes.saturating_add(data.bytes))
        });
        self.progress.event(Event::Plan { tables, bytes });
    }

    /// Positions of the selected entries in the order in which one session restores them.
    fn in_order(&self) -> Vec<usize> {
        let mut order: Vec<(Turn, Section, usize)> = self
            .selected
            .iter()
            .map(|at| {
                let entry = &self.entries[*at];
                (turn(&self.entries, entry), entry.section, *at)
            })
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, _, at)| at).collect()
    }

    /// What an entry is a part of or speaks about: the table of rows.
    fn whole_of(&self, entry: &Entry) -> Option<&Entry> {
        entry.belongs_to.and_then(|at| self.entries.get(at as usize))
    }
}

/// The error for output that cannot be written.
fn unwritable(error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::StoreFull,
        _ => ErrorKind::Store,
    };
    Error::new(kind, "could not write the export").because(error)
}
