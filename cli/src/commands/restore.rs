//! `pgkeep restore`: a backup of a repository, or a single file, into a database.

use super::connect;
use super::view::SHORT_ID_LEN;
use crate::access::{Context, Reads};
use crate::args::RestoreArgs;
use crate::exit::Exit;
use crate::output::{Labels, Running, bytes, counted, duration, printable, rfc3339};
use pgkeep_engine::Result;
use pgkeep_engine::restore::{self, Analyze, RestoreOptions, RestoreReport};
use serde::Serialize;
use std::time::Duration;

const LABELS: Labels = Labels { bytes: "loaded", stored: Some("read"), things: "tables" };

#[derive(Debug, Serialize)]
struct Summary {
    command: &'static str,
    backup: String,
    database: String,
    dry_run: bool,
    started_at: Option<String>,
    finished_at: Option<String>,
    tables: u64,
    rows: u64,
    plain_bytes: u64,
    /// Tables that were analyzed at the end.
    analyzed: u64,
    /// The SQL of what is dropped first.
    drops: Vec<String>,
    entries: Vec<EntrySummary>,
    warnings: Vec<String>,
    #[serde(skip)]
    took: Duration,
}

#[derive(Debug, Serialize)]
struct EntrySummary {
    kind: String,
    name: String,
}

/// Restores a backup.
pub(super) async fn run(context: &Context, args: &RestoreArgs) -> Result<Exit> {
    let settings = connect::settings(context, &args.connection)?;
    let identity = args.repository.identity.as_deref();
    let repository = match &args.file {
        Some(file) => context.open_path_for_reading(file, identity, Reads::Sealed).await?,
        None => context.open_for_reading(&args.repository, Reads::Sealed).await?,
    };
    let backup = repository.find(&args.backup).await?;
    let options = RestoreOptions {
        selection: args.selection.selection(),
        jobs: args.jobs,
        create: args.create,
        clean: args.clean,
        if_exists: args.if_exists,
        rename_schemas: args.rename_schemas.clone(),
        analyze: match (args.analyze, args.no_analyze) {
            (true, _) => Analyze::All,
            (_, true) => Analyze::Never,
            _ => Analyze::Missing,
        },
        dry_run: args.dry_run,
    };
    let running = Running::start(context.output, LABELS, "starting");
    let (progress, interrupt) = (running.progress(), running.interrupt()?);
    let report =
        restore::run(&repository, &backup, &settings, &options, &progress, interrupt).await?;
    running.finish();
    let exit = Exit::done_with(report.warnings.len());
    let summary = summary(report, args.dry_run);
    if args.dry_run && !context.output.is_json() {
        context.output.data(plan_text(&summary).as_bytes())?;
    }
    context.output.summary(&summary, text)?;
    Ok(exit)
}

fn summary(report: RestoreReport, dry_run: bool) -> Summary {
    let micros = u64::try_from(report.finished_at.saturating_sub(report.started_at));
    let entries = report.entries.into_iter().map(|(kind, name)| EntrySummary { kind, name });
    Summary {
        command: "restore",
        backup: report.backup.to_string(),
        database: report.database,
        dry_run,
        started_at: rfc3339(report.started_at),
        finished_at: rfc3339(report.finished_at),
        tables: report.tables,
        rows: report.rows,
        plain_bytes: report.bytes,
        analyzed: report.analyzed,
        drops: report.drops,
        entries: entries.collect(),
        warnings: report.warnings,
        took: Duration::from_micros(micros.unwrap_or(0)),
    }
}

/// The plan: what is dropped as SQL, what is restored as kind and name.
fn plan_text(summary: &Summary) -> String {
    let mut text = String::new();
    for drop in &summary.drops {
        text.push_str(&printable(drop));
        text.push('\n');
    }
    for entry in &summary.entries {
        text.push_str(&format!("restore {} {}\n", entry.kind, printable(&entry.name)));
    }
    text
}

fn text(summary: &Summary) -> String {
    let id = summary.backup.get(..SHORT_ID_LEN).unwrap_or(&summary.backup);
    let database = printable(&summary.database);
    let what = format!(
        "{}, {} in {}, {}",
        counted(summary.entries.len() as u64, "object"),
        counted(summary.rows, "row"),
        counted(summary.tables, "table"),
        bytes(summary.plain_bytes),
    );
    if summary.dry_run {
        format!(
            "backup {id} would be restored into database \"{database}\": {what}; nothing was changed"
        )
    } else {
        let took = duration(summary.took);
        format!("backup {id} is restored into database \"{database}\": {what}, in {took}")
    }
}
