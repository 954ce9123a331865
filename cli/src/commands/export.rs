//! `pgkeep export`: a backup as SQL, CSV or an archive, to standard output, a new file, or a
//! directory.

use super::entry_list;
use super::view::MissingSummary;
use crate::access::{Context, Reads};
use crate::args::{ExportArgs, ExportFormat as Format};
use crate::exit::Exit;
use crate::output::{Labels, Running, counted};
use pgkeep_engine::catalog::Aspect;
use pgkeep_engine::export::{
    self, ExportFormat, ExportOptions, ExportOutput, ExportReport, InsertOptions, RowStatements,
    SqlOptions,
};
use pgkeep_engine::repository::{Backup, Repository};
use pgkeep_engine::{Error, ErrorKind, NewFile, Result};
use serde::Serialize;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroU32;
use std::path::{MAIN_SEPARATOR_STR, Path};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes written at once.
const BUFFER_LEN: usize = 1 << 18;

const LABELS: Labels = Labels { bytes: "written", stored: Some("read"), things: "tables" };

#[derive(Debug, Serialize)]
struct Summary {
    command: &'static str,
    backup: String,
    format: &'static str,
    output: String,
    entries: u64,
    tables: u64,
    rows: u64,
    /// Rows that could not be read.
    missing: Vec<MissingSummary>,
}

/// Exports a backup.
pub(super) async fn run(context: &Context, args: &ExportArgs) -> Result<Exit> {
    if args.output.is_none() && context.output.is_json() {
        let message = "the export and JSON cannot both go to standard output";
        return Err(Error::new(ErrorKind::Usage, message).hint("Name a file: --output FILE"));
    }
    let mut selection = args.parts.selection(&args.selection)?;
    if !args.statistics && !args.selection.statistics_only {
        // Nobody knows which server reads it, and one before 18 would stop there.
        selection.without.insert(Aspect::Statistics);
    }
    let format = format(args)?;
    let repository = context.open_for_reading(&args.repository, Reads::Sealed).await?;
    let backup = repository.find(&args.backup).await?;
    if let Some(list) = args.list.use_list.as_deref() {
        let database = args.database.as_deref();
        entry_list::select(&mut selection, list, &repository, &backup, database).await?;
    }
    let (database, allow_damage) = (args.database.clone(), args.allow_damage);
    let options = ExportOptions { database, selection, format, allow_damage };
    let export = Export { repository: &repository, backup: &backup, options: &options };
    let running = Running::start(context.output, LABELS, "starting");
    let Some(path) = args.output.as_deref() else {
        let missing = export.to_stdout(&running).await?;
        // What goes to standard output is the export.
        missing.iter().for_each(|missing| context.output.warning(missing.text().trim_end()));
        return Ok(Exit::done_with(missing.len()));
    };
    let report = export.to_path(path, &running).await?;
    running.finish();
    let summary = Summary {
        command: "export",
        backup: backup.clear.id.to_string(),
        format: match args.format {
            Format::Sql => "sql",
            Format::Csv => "csv",
            Format::Directory => "directory",
        },
        output: path.display().to_string(),
        entries: report.entries,
        tables: report.tables,
        rows: report.rows,
        missing: report.missing.into_iter().map(MissingSummary::from).collect(),
    };
    if !context.output.is_json() {
        let lines: String = summary.missing.iter().map(MissingSummary::text).collect();
        context.output.data(lines.as_bytes())?;
    }
    context.output.summary(&summary, text)?;
    Ok(Exit::done_with(summary.missing.len()))
}

fn format(args: &ExportArgs) -> Result<ExportFormat> {
    let rows_per_insert = args.rows_per_insert.unwrap_or(NonZeroU32::MIN);
    let inserts = args.inserts || args.column_inserts || args.rows_per_insert.is_some();
    let rows = if inserts {
        RowStatements::Inserts(InsertOptions {
            name_columns: args.column_inserts,
            rows_per_insert,
            on_conflict_do_nothing: args.on_conflict_do_nothing,
        })
    } else {
        RowStatements::Copy
    };
    let sql = SqlOptions {
        rows,
        clean: args.clean,
        if_exists: args.if_exists,
        create: args.create,
        disable_triggers: args.disable_triggers,
        restrict_key: args.restrict_key.clone(),
    };
    let for_sql_alone = [
        ("--clean", args.clean),
        ("--create", args.create),
        ("--inserts", inserts),
        ("--disable-triggers", args.disable_triggers),
        ("--restrict-key", args.restrict_key.is_some()),
    ];
    let other = match args.format {
        Format::Sql => return Ok(ExportFormat::Sql(sql)),
        Format::Csv => ExportFormat::Csv,
        Format::Directory => ExportFormat::Directory,
    };
    match for_sql_alone.into_iter().find(|(_, given)| *given) {
        None => Ok(other),
        Some((option, _)) => {
            let message = format!("option {option} goes with --format sql alone");
            let error = Error::new(ErrorKind::Usage, message);
            Err(if other == ExportFormat::Directory {
                error.hint("pg_restore, which reads the directory, has such options of its own.")
            } else {
                error
            })
        }
    }
}

/// What is exported.
struct Export<'a> {
    repository: &'a Repository,
    backup: &'a Backup,
    options: &'a ExportOptions,
}

impl Export<'_> {
    async fn to(&self, output: ExportOutput, running: &Running) -> Result<ExportReport> {
        let (progress, interrupt) = (running.progress(), running.interrupt()?);
        export::run(self.repository, self.backup, self.options, output, &progress, interrupt).await
    }

    /// A reader that goes away, such as `head`, has seen what it wanted.
    /// Returns what is missing of it.
    async fn to_stdout(&self, running: &Running) -> Result<Vec<MissingSummary>> {
        let gone = Arc::new(AtomicBool::new(false));
        let stdout = Watched { inner: io::stdout(), gone: Arc::clone(&gone) };
        let sink = BufWriter::with_capacity(BUFFER_LEN, stdout);
        match self.to(ExportOutput::Stream(Box::new(sink)), running).await {
            Err(_) if gone.load(Ordering::Relaxed) => Ok(Vec::new()),
            result => Ok(result?.missing.into_iter().map(MissingSummary::from).collect()),
        }
    }

    async fn to_path(&self, path: &Path, running: &Running) -> Result<ExportReport> {
        let names_directory = path.to_string_lossy().ends_with(MAIN_SEPARATOR_STR);
        let makes_directory = match self.options.format {
            ExportFormat::Sql(_) => false,
            ExportFormat::Csv => names_directory || path.is_dir(),
            ExportFormat::Directory => true,
        };
        if makes_directory {
            return self.to(ExportOutput::Directory(path.to_owned()), running).await;
        }
        let file = NewFile::create(path)?;
        let sink = BufWriter::with_capacity(BUFFER_LEN, file.handle()?);
        let report = self.to(ExportOutput::Stream(Box::new(sink)), running).await?;
        file.keep()?;
        Ok(report)
    }
}

/// A writer that remembers whether its reader went away.
struct Watched<W> {
    inner: W,
    gone: Arc<AtomicBool>,
}

impl<W> Watched<W> {
    fn watch<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            self.gone.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.inner.write(bytes);
        self.watch(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.inner.flush();
        self.watch(result)
    }
}

fn text(summary: &Summary) -> String {
    format!(
        "wrote {} and {} of {} to \"{}\"",
        counted(summary.entries, "object"),
        counted(summary.rows, "row"),
        counted(summary.tables, "table"),
        summary.output
    )
}
