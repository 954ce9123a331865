//! `pgkeep setup`, `stream`, `mark` and `teardown`: the change stream of a database.

use super::connect;
use super::view::lsn;
use crate::access::Context;
use crate::args::{Keyless, MarkArgs, SetupArgs, StreamArgs, TeardownArgs};
use crate::exit::Exit;
use crate::output::{Labels, Running, bytes, counted, printable};
use async_trait::async_trait;
use pgkeep_engine::Result;
use pgkeep_engine::backup::{self, BackupOptions, Databases, WithGlobals};
use pgkeep_engine::catalog::Selection;
use pgkeep_engine::postgres::{Settings, SnapshotOptions, qualified};
use pgkeep_engine::progress::{Progress, Silent, interrupt};
use pgkeep_engine::repository::Repository;
use pgkeep_engine::stream::{self, SetupOptions, StreamOptions, TableCopier};
use serde::Serialize;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

const LABELS: Labels = Labels { bytes: "in", stored: Some("stored"), things: "tables" };

/// Longest name of a slot, in bytes.
const SLOT_LEN_MAX: usize = 63;

#[derive(Debug, Serialize)]
struct SetupSummary {
    command: &'static str,
    database: String,
    dry_run: bool,
    slot: String,
    publication: String,
    /// SQL that was run, or would be.
    statements: Vec<String>,
    tables: u64,
    /// Tables that are not in the stream.
    left_out: Vec<String>,
    /// Where the stream begins; absent where it had begun before.
    lsn: Option<String>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct StreamSummary {
    command: &'static str,
    database: String,
    segments: u64,
    transactions: u64,
    stored_bytes: u64,
    /// Tables that were copied anew, as a command had rewritten or filled them.
    copied_tables: u64,
    /// How far the stream goes.
    lsn: String,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct MarkSummary {
    command: &'static str,
    name: String,
    lsn: String,
}

#[derive(Debug, Serialize)]
struct TeardownSummary {
    command: &'static str,
    dry_run: bool,
    /// SQL that was run, or would be.
    statements: Vec<String>,
}

/// The slot's name: as asked, or made of the database's name.
fn slot_name(asked: Option<&String>, database: &str) -> String {
    if let Some(asked) = asked {
        return asked.clone();
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = "pgkeep_".chars().chain(database.chars().map(plain)).collect();
    name.chars().take(SLOT_LEN_MAX).collect()
}

/// Sets a stream up.
pub(super) async fn setup(context: &Context, args: &SetupArgs) -> Result<Exit> {
    let settings = connect::settings(context, &args.connection)?;
    let repository = context.open_for_writing(&args.repository).await?;
    let options = SetupOptions {
        slot: slot_name(args.names.slot.as_ref(), settings.database()),
        publication: args.names.publication.clone(),
        keyless: match args.keyless {
            Keyless::Full => stream::Keyless::Full,
            Keyless::Skip => stream::Keyless::Skip,
        },
        failover: args.failover,
        dry_run: args.dry_run,
    };
    let running = Running::start(context.output, LABELS, "starting");
    let report = stream::setup(&repository, &settings, &options, &running.progress()).await?;
    running.finish();
    if args.dry_run && !context.output.is_json() {
        let lines: String = report.statements.iter().map(|sql| format!("{sql};\n")).collect();
        context.output.data(lines.as_bytes())?;
    }
    let exit = Exit::done_with(report.warnings.len());
    let summary = SetupSummary {
        command: "setup",
        database: report.database,
        dry_run: args.dry_run,
        slot: options.slot,
        publication: options.publication,
        statements: report.statements,
        tables: report.tables,
        left_out: report.left_out,
        lsn: report.begins_at.map(lsn),
        warnings: report.warnings,
    };
    context.output.summary(&summary, setup_text)?;
    Ok(exit)
}

fn setup_text(summary: &SetupSummary) -> String {
    let tables = counted(summary.tables, "table");
    let database = printable(&summary.database);
    if summary.dry_run {
        return format!(
            "the stream of database \"{database}\" would have {tables}; nothing was changed"
        );
    }
    match &summary.lsn {
        Some(lsn) => format!(
            "the stream of database \"{database}\" begins at {lsn}, with {tables}\n\
             Next: pgkeep stream, and a first backup: pgkeep backup"
        ),
        None => format!("the stream of database \"{database}\" goes on, with {tables}"),
    }
}

/// Backs up tables whose rows the stream lacks.
struct Copier {
    repository: Repository,
    settings: Settings,
}

/// How long a copy waits for its lock: a command that rewrites a table again may hold it.
const COPY_LOCK_TIMEOUT: Duration = Duration::from_secs(60);

#[async_trait]
impl TableCopier for Copier {
    async fn copy(&self, tables: &[(String, String)]) -> Result<u64> {
        let names = tables.iter().map(|(schema, name)| qualified(schema, name));
        let tables: Vec<String> = names.collect();
        let options = BackupOptions {
            databases: Databases::Connected,
            selection_text: tables.iter().map(|table| format!("--table={table}")).collect(),
            selection: Selection { tables, ..Selection::default() },
            globals: WithGlobals::No,
            role_passwords: false,
            snapshot: SnapshotOptions::default(),
            jobs: NonZeroUsize::MIN,
            tags: Vec::new(),
            lock_timeout: COPY_LOCK_TIMEOUT,
            reuses_rows: false,
            is_copy: true,
        };
        let silent: Arc<dyn Progress> = Arc::new(Silent);
        // Whoever drops this future stops it.
        let (_, never) = interrupt();
        let report =
            backup::run(&self.repository, &self.settings, &options, &silent, never).await?;
        Ok(report.lsn)
    }
}

/// Streams until it is told to stop.
pub(super) async fn run(context: &Context, args: &StreamArgs) -> Result<Exit> {
    let settings = connect::settings(context, &args.connection)?;
    let repository = context.open_for_writing(&args.repository).await?;
    let options = StreamOptions {
        slot: slot_name(args.names.slot.as_ref(), settings.database()),
        publication: args.names.publication.clone(),
        segment_time: args.segment_time(),
        segment_bytes: usize::try_from(args.segment_bytes).unwrap_or(usize::MAX),
        max_lag_bytes: args.max_lag,
        join_interval: args.join_interval,
        until_caught_up: args.until_caught_up,
    };
    let running = Running::start(context.output, LABELS, "starting");
    let (progress, interrupt) = (running.progress(), running.interrupt()?);
    let copier: Arc<dyn TableCopier> =
        Arc::new(Copier { repository: repository.clone(), settings: settings.clone() });
    let report =
        stream::run(&repository, &settings, &options, &copier, &progress, interrupt).await?;
    running.finish();
    let exit = Exit::done_with(report.warnings.len());
    let summary = StreamSummary {
        command: "stream",
        database: report.database,
        segments: report.segments,
        transactions: report.transactions,
        stored_bytes: report.stored_bytes,
        copied_tables: report.copied_tables,
        lsn: lsn(report.last),
        warnings: report.warnings,
    };
    context.output.summary(&summary, |summary| {
        let copied = match summary.copied_tables {
            0 => String::new(),
            tables => format!(", copied {} anew", counted(tables, "table")),
        };
        format!(
            "stored {} in {}, {}, up to {}{copied}",
            counted(summary.transactions, "transaction"),
            counted(summary.segments, "segment"),
            bytes(summary.stored_bytes),
            summary.lsn
        )
    })?;
    Ok(exit)
}

/// Names a moment.
pub(super) async fn mark(context: &Context, args: &MarkArgs) -> Result<Exit> {
    let settings = connect::settings(context, &args.connection)?;
    let at = stream::mark(&settings, &args.name).await?;
    let summary = MarkSummary { command: "mark", name: args.name.clone(), lsn: at.to_string() };
    context.output.summary(&summary, |summary| {
        format!("mark \"{}\" is at {}", printable(&summary.name), summary.lsn)
    })?;
    Ok(Exit::Done)
}

/// Takes a stream's slot and publication away.
pub(super) async fn teardown(context: &Context, args: &TeardownArgs) -> Result<Exit> {
    let settings = connect::settings(context, &args.connection)?;
    let slot = slot_name(args.names.slot.as_ref(), settings.database());
    let statements =
        stream::teardown(&settings, &slot, &args.names.publication, args.dry_run).await?;
    if args.dry_run && !context.output.is_json() {
        let lines: String = statements.iter().map(|sql| format!("{sql};\n")).collect();
        context.output.data(lines.as_bytes())?;
    }
    let summary = TeardownSummary { command: "teardown", dry_run: args.dry_run, statements };
    context.output.summary(&summary, |summary| {
        let count = counted(summary.statements.len() as u64, "statement");
        if summary.dry_run { format!("{count} would be run") } else { format!("{count} run") }
    })?;
    Ok(Exit::Done)
}
