//! Writes a backup for people and other programs: SQL that `psql` restores, or the rows of
//! tables as CSV. No server is needed.
//!
//! ```text
//! manifest -> entries -> selection -> chunks -> text
//! ```

mod csv;
mod sql;

use crate::catalog::{Selection, forget_storage, select_entries};
use crate::progress::{Event, Interrupt, Progress};
use crate::repository::{Backup, ChunkReader, Repository};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::Entry;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// How to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// Plain SQL for `psql`.
    Sql,
    /// A line for each row, as `COPY … (FORMAT csv, HEADER)` writes it.
    Csv,
}

/// Where to write.
pub enum ExportOutput {
    /// One stream; CSV of one table only.
    Stream(Box<dyn Write + Send>),
    /// A directory, made if missing, with a CSV file for each table.
    Directory(PathBuf),
}

/// What to write.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// Which entries.
    pub selection: Selection,
    /// How.
    pub format: ExportFormat,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportReport {
    /// Entries.
    pub entries: u64,
    /// Tables whose rows were written.
    pub tables: u64,
    /// Rows.
    pub rows: u64,
}

/// What all parts of an export share.
struct Export<'a> {
    reader: ChunkReader,
    backup: &'a Backup,
    entries: Vec<Entry>,
    progress: &'a Arc<dyn Progress>,
}

/// Writes what `options` select of `backup`.
///
/// # Errors
/// [`ErrorKind::Damaged`] when stored bytes are, [`ErrorKind::Store`] when the output
/// cannot be written, [`ErrorKind::Usage`] for CSV of several tables into one stream,
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
    let mut entries = reader.entries(backup).await?;
    forget_storage(&mut entries, &options.selection);
    let selected = select_entries(&entries, &options.selection)?;
    let export = Export { reader, backup, entries, progress };
    match (options.format, output) {
        (ExportFormat::Sql, ExportOutput::Stream(mut output)) => {
            sql::write(&export, &selected, output.as_mut()).await
        }
        (ExportFormat::Sql, ExportOutput::Directory(_)) => {
            Err(Error::new(ErrorKind::Usage, "SQL is written to a file, not to a directory"))
        }
        (ExportFormat::Csv, output) => csv::write(&export, &selected, output).await,
    }
}

/// The error for output that cannot be written.
fn unwritable(error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull => ErrorKind::StoreFull,
        _ => ErrorKind::Store,
    };
    Error::new(kind, "could not write the export").because(error)
}
