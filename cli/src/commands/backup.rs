//! `pgkeep backup`: into the repository, or into a single file with the repository's keys.

use super::connect;
use super::view::{SHORT_ID_LEN, lsn};
use crate::access::Context;
use crate::args::{BackupArgs, ReuseRows};
use crate::exit::Exit;
use crate::output::{
    Labels, Running, bytes, count, counted, duration, printable, rfc3339, stdout_is_terminal,
};
use pgkeep_engine::NewFile;
use pgkeep_engine::backup::{self, BackupOptions, BackupReport, Databases, WithGlobals};
use pgkeep_engine::catalog::{Aspect, Selection};
use pgkeep_engine::postgres::{Settings, SnapshotOptions};
use pgkeep_engine::repository::Repository;
use pgkeep_engine::{Error, ErrorKind, Result};
use pgkeep_format::id::BackupId;
use serde::Serialize;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, BufWriter};
use std::path::Path;
use std::time::Duration;

/// Bytes written to a single file at once.
const FILE_BUFFER_LEN: usize = 1 << 20;

const LABELS: Labels = Labels { bytes: "in", stored: Some("stored"), things: "tables" };

#[derive(Debug, Serialize)]
struct Summary {
    command: &'static str,
    repository: String,
    backup: String,
    /// Their names.
    databases: Vec<String>,
    /// Whether roles and tablespaces are in it.
    globals: bool,
    started_at: Option<String>,
    finished_at: Option<String>,
    lsn: String,
    entries: u64,
    rows: u64,
    plain_bytes: u64,
    stored_bytes: u64,
    added_bytes: u64,
    chunks: u64,
    new_chunks: u64,
    /// Bytes of the single file, where one was written.
    file_bytes: Option<u64>,
    tables: Vec<TableSummary>,
    warnings: Vec<String>,
    /// What `--expect-head` takes; empty of a file.
    head: Vec<String>,
    #[serde(skip)]
    took: Duration,
}

#[derive(Debug, Serialize)]
struct TableSummary {
    database: String,
    schema: String,
    name: String,
    rows: u64,
    plain_bytes: u64,
}

/// Takes a backup.
pub(super) async fn run(context: &Context, args: &BackupArgs) -> Result<Exit> {
    refuse_terminal(context, args)?;
    refuse_double_tags(&args.tags)?;
    let settings = connect::settings(context, &args.connection)?;
    let reuses = match args.reuse_rows {
        // To read a bucket may cost money.
        ReuseRows::Auto if context.place(&args.repository.place)?.directory().is_none() => {
            ReuseRows::Never
        }
        asked => asked,
    };
    let identity = args.identity.as_deref();
    let repository = context.open_for_backup(&args.repository, identity, reuses).await?;
    let options = options(args, reuses != ReuseRows::Never)?;
    let running = Running::start(context.output, LABELS, "starting");
    let (report, file_bytes) = match args.file.as_deref() {
        None => {
            let (progress, interrupt) = (running.progress(), running.interrupt()?);
            let report =
                backup::run(&repository, &settings, &options, &progress, interrupt).await?;
            (report, None)
        }
        Some(file) => {
            let (report, len) = into_file(&repository, &settings, &options, file, &running).await?;
            (report, Some(len))
        }
    };
    running.finish();
    if options.globals == WithGlobals::IfReadable && !report.has_globals {
        context.output.note(
            "roles and tablespaces are not in the backup: the role may not read passwords; \
             --globals takes them without",
        );
    }
    let head = match file_bytes {
        None => head(context, &repository, report.id).await,
        Some(_) => Vec::new(),
    };
    let exit = Exit::done_with(report.warnings.len());
    context.output.summary(&summary(&repository, report, file_bytes, head), text)?;
    Ok(exit)
}

/// What is to be remembered of the repository. The backup is done whether it can be told or not.
async fn head(context: &Context, repository: &Repository, newest: BackupId) -> Vec<String> {
    match repository.head_with(Some(newest)).await {
        Ok(head) => head.iter().map(ToString::to_string).collect(),
        Err(error) => {
            context.output.warning(&format!("what --expect-head takes is not known: {error}"));
            Vec::new()
        }
    }
}

fn options(args: &BackupArgs, reuses_rows: bool) -> Result<BackupOptions> {
    let (selection, selection_text) = selection(args)?;
    let globals = match (args.globals, args.no_globals) {
        (true, _) => WithGlobals::Yes,
        (false, true) => WithGlobals::No,
        _ if selection.is_of_whole_databases() => WithGlobals::IfReadable,
        _ => WithGlobals::No,
    };
    let databases = match args.all_databases {
        true => Databases::All { exclude: args.exclude_database.clone() },
        false => Databases::Connected,
    };
    let foreign_tables = !selection.foreign_data.is_empty();
    Ok(BackupOptions {
        databases,
        selection,
        globals,
        // A provider shows them to nobody.
        role_passwords: !args.no_role_passwords && args.selection.profile.is_none(),
        jobs: args.jobs,
        tags: args.tags.clone(),
        lock_timeout: args.lock_timeout,
        selection_text,
        snapshot: SnapshotOptions {
            exported: args.snapshot.clone(),
            serializable_deferrable: args.serializable_deferrable,
            row_security: args.enable_row_security,
            foreign_tables,
            readers: 0,
        },
        reuses_rows,
        is_copy: false,
    })
}

/// What is selected, and that as it could be typed.
fn selection(args: &BackupArgs) -> Result<(Selection, Vec<String>)> {
    let mut all = args.selection.with_filter()?;
    if let Some((_, name)) =
        [(&all.indexes, "index"), (&all.functions, "function"), (&all.triggers, "trigger")]
            .into_iter()
            .find(|(patterns, _)| !patterns.is_empty())
    {
        let message = format!("a backup cannot be of one {name} alone");
        return Err(Error::new(ErrorKind::Usage, message)
            .hint("Back up its table or schema, and select when you restore."));
    }
    all.foreign_data.extend(args.include_foreign_data.iter().cloned());
    let (mut selection, mut typed) = (all.selection(), all.as_typed());
    for (table, condition) in &args.row_filters {
        typed.push(format!("--where={table}={condition}"));
    }
    selection.row_filters.clone_from(&args.row_filters);
    let flags = [
        ("--no-unlogged-table-data", args.no_unlogged_table_data, Aspect::UnloggedRows),
        ("--no-toast-compression", args.no_toast_compression, Aspect::ToastCompression),
    ];
    for (option, _, aspect) in flags.into_iter().filter(|(_, set, _)| *set) {
        selection.without.insert(aspect);
        typed.push(option.to_owned());
    }
    Ok((selection, typed))
}

/// A single file goes where somebody can keep it, and nothing else goes there.
fn refuse_terminal(context: &Context, args: &BackupArgs) -> Result<()> {
    if args.file.as_deref() != Some(Path::new("-")) {
        return Ok(());
    }
    if context.output.is_json() {
        let message = "the backup and JSON cannot both go to standard output";
        return Err(Error::new(ErrorKind::Usage, message).hint("Name a file: --file OUT"));
    }
    if stdout_is_terminal() {
        let message = "refusing to write a backup to a terminal";
        return Err(Error::new(ErrorKind::Usage, message)
            .hint("Send standard output to a file or a program, or name a file: --file OUT"));
    }
    Ok(())
}

/// A key has one value, or a script that looks for it could find either.
fn refuse_double_tags(tags: &[(String, String)]) -> Result<()> {
    let mut keys = HashSet::new();
    match tags.iter().find(|(key, _)| !keys.insert(key)) {
        None => Ok(()),
        Some((key, _)) => {
            let message = format!("tag \"{key}\" is given twice");
            Err(Error::new(ErrorKind::Usage, message).hint("Give each key one value."))
        }
    }
}

async fn into_file(
    repository: &Repository,
    settings: &Settings,
    options: &BackupOptions,
    path: &Path,
    running: &Running,
) -> Result<(BackupReport, u64)> {
    let (progress, interrupt) = (running.progress(), running.interrupt()?);
    let write = |sink, location: String| async move {
        backup::run_into_file(repository, sink, &location, settings, options, &progress, interrupt)
            .await
    };
    if path == Path::new("-") {
        let sink = BufWriter::with_capacity(FILE_BUFFER_LEN, io::stdout());
        return write(Box::new(sink), "standard output".to_owned()).await;
    }
    let file = NewFile::create(path)?;
    let sink = BufWriter::with_capacity(FILE_BUFFER_LEN, file.handle()?);
    let done = write(Box::new(sink), path.display().to_string()).await?;
    file.keep()?;
    Ok(done)
}

fn summary(
    repository: &Repository,
    report: BackupReport,
    file_bytes: Option<u64>,
    head: Vec<String>,
) -> Summary {
    let totals = report.totals;
    let micros = u64::try_from(report.finished_at.saturating_sub(report.started_at));
    let tables = report.tables.into_iter().map(|table| TableSummary {
        database: table.database,
        schema: table.schema,
        name: table.name,
        rows: table.rows,
        plain_bytes: table.bytes,
    });
    Summary {
        command: "backup",
        repository: repository.id().to_string(),
        backup: report.id.to_string(),
        databases: report.databases,
        globals: report.has_globals,
        started_at: rfc3339(report.started_at),
        finished_at: rfc3339(report.finished_at),
        lsn: lsn(report.lsn),
        entries: totals.entries,
        rows: totals.rows,
        plain_bytes: totals.plain_bytes,
        stored_bytes: totals.stored_bytes,
        added_bytes: totals.added_bytes,
        chunks: totals.chunks,
        new_chunks: totals.new_chunks,
        file_bytes,
        tables: tables.collect(),
        warnings: report.warnings,
        head,
        took: Duration::from_micros(micros.unwrap_or(0)),
    }
}

fn text(summary: &Summary) -> String {
    let mut text = format!(
        "backup {} of {} is done: {} in {}, {}, in {}",
        summary.backup.get(..SHORT_ID_LEN).unwrap_or(&summary.backup),
        databases(&summary.databases),
        counted(summary.rows, "row"),
        counted(summary.tables.len() as u64, "table"),
        bytes(summary.plain_bytes),
        duration(summary.took),
    );
    let _infallible = match summary.file_bytes {
        Some(len) => write!(text, "; the file has {}", bytes(len)),
        None => write!(
            text,
            "\nadded {} to the repository: {} of its {} chunks were not there yet",
            bytes(summary.added_bytes),
            count(summary.new_chunks),
            count(summary.chunks)
        ),
    };
    text
}

/// Databases in a sentence: the name of one, the number of several.
pub(super) fn databases(names: &[String]) -> String {
    match names {
        [name] => format!("database \"{}\"", printable(name)),
        names => counted(names.len() as u64, "database"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_one_value() {
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        refuse_double_tags(&[tag("a", "1"), tag("b", "1")]).unwrap();
        let error = refuse_double_tags(&[tag("a", "1"), tag("a", "2")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
}
