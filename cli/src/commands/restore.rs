//! `pgkeep restore`: a backup of a repository, or a single file, into a database.

use super::backup::databases;
use super::connect;
use super::entry_list;
use super::moment;
use super::view::{MissingSummary, SHORT_ID_LEN, lsn};
use crate::access::{Context, Reads};
use crate::args::{PlaceArgs, RestoreArgs};
use crate::exit::Exit;
use crate::output::{Labels, Running, bytes, counted, duration, local_time, printable, rfc3339};
use pgkeep_engine::fold::Recovery;
use pgkeep_engine::postgres::Settings;
use pgkeep_engine::repository::{Backup, Repository};
use pgkeep_engine::restore::{
    self, Analyze, Failure, Globals, LeftOut, RestoreOptions, ServerReport,
};
use pgkeep_engine::{Error, ErrorKind, Result, clock};
use serde::Serialize;
use std::time::Duration;

const LABELS: Labels = Labels { bytes: "loaded", stored: Some("read"), things: "tables" };

#[derive(Debug, Serialize)]
struct Summary {
    command: &'static str,
    backup: String,
    dry_run: bool,
    /// The moment that is restored, if not that of the backup.
    moment: Option<MomentSummary>,
    /// Bytes read from the repository.
    read_bytes: u64,
    started_at: Option<String>,
    finished_at: Option<String>,
    /// Roles and tablespaces; absent where they were not wanted.
    globals: Option<Vec<EntrySummary>>,
    databases: Vec<DatabaseSummary>,
    warnings: Vec<String>,
    #[serde(skip)]
    took: Duration,
}

#[derive(Debug, Serialize)]
struct DatabaseSummary {
    database: String,
    tables: u64,
    rows: u64,
    plain_bytes: u64,
    /// Tables that were analyzed at the end.
    analyzed: u64,
    /// The SQL of what is dropped first.
    drops: Vec<String>,
    entries: Vec<EntrySummary>,
    /// Foreign keys and members of publications that are left out.
    left_out: Vec<LeftOutSummary>,
    /// What could not be restored.
    failed: Vec<FailureSummary>,
    /// Rows that could not be read.
    missing: Vec<MissingSummary>,
}

#[derive(Debug, Serialize)]
struct MomentSummary {
    /// The last transaction that counts, where it is known.
    xid: Option<u64>,
    lsn: Option<String>,
    committed_at: Option<String>,
    /// Segments of changes that count.
    segments: u64,
    /// As people read it.
    #[serde(skip)]
    time: Option<String>,
}

#[derive(Debug, Serialize)]
struct EntrySummary {
    kind: String,
    name: String,
}

#[derive(Debug, Serialize)]
struct LeftOutSummary {
    kind: String,
    name: String,
    needs: String,
}

#[derive(Debug, Serialize)]
struct FailureSummary {
    kind: String,
    name: String,
    sqlstate: Option<String>,
    message: String,
    skipped: bool,
}

/// Restores a backup.
pub(super) async fn run(context: &Context, args: &RestoreArgs) -> Result<Exit> {
    let settings = connect::settings(context, &args.connection)?;
    let identity = args.repository.identity.as_deref();
    let repository = match &args.file {
        Some(file) => {
            let asked = args.repository.place.clone();
            let place = context.place(&PlaceArgs { repo: Some(file.clone()), ..asked })?;
            let repository =
                context.open_place_for_reading(&place, identity, Reads::Sealed).await?;
            repository.expect(&args.repository.expected).await?;
            repository
        }
        None => context.open_for_reading(&args.repository, Reads::Sealed).await?,
    };
    let mut options = options(args)?;
    let database = args.database.as_deref();
    let moment = moment::recovery(&repository, &args.moment, args.backup(), database).await?;
    let backup = match moment {
        Some((backup, recovery)) => {
            options.recovery = Some(recovery);
            backup
        }
        None => repository.find(args.backup().unwrap_or("latest")).await?,
    };
    if let Some(list) = args.list.use_list.as_deref() {
        entry_list::select(&mut options.selection, list, &repository, &backup, database).await?;
    }
    let running = Running::start(context.output, LABELS, "starting");
    let started_at = clock::now_micros();
    let restore = Restore { repository, backup, settings, options };
    let report = restore.run(args, &running).await?;
    running.finish();
    let summary = summary(&restore, report, started_at);
    let missing = summary.databases.iter().flat_map(|database| &database.missing);
    let exit = Exit::done_with(summary.warnings.len() + missing.clone().count());
    if !context.output.is_json() {
        let lines: String = missing.map(MissingSummary::text).collect();
        context.output.data(lines.as_bytes())?;
    }
    if args.dry_run && !context.output.is_json() {
        context.output.data(plan_text(&summary).as_bytes())?;
    }
    let failed = summary.databases.iter().flat_map(|database| &database.failed);
    let count = failed.clone().count() as u64;
    if count > 0 && !context.output.is_json() {
        let lines: String = failed.map(failure_text).collect();
        context.output.data(lines.as_bytes())?;
    }
    context.output.summary(&summary, text)?;
    if count == 0 { Ok(exit) } else { Err(incomplete(count)) }
}

fn options(args: &RestoreArgs) -> Result<RestoreOptions> {
    Ok(RestoreOptions {
        database: args.database.clone(),
        selection: args.parts.selection(&args.selection)?,
        jobs: args.jobs()?,
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
        exit_on_error: args.exit_on_error,
        single_transaction: args.single_transaction,
        disable_triggers: args.disable_triggers,
        load_via_partition_root: args.load_via_partition_root,
        allow_damage: args.allow_damage,
        recovery: None,
        lock_timeout: Some(args.lock_timeout).filter(|timeout| !timeout.is_zero()),
    })
}

fn incomplete(failed: u64) -> Error {
    let message = format!("{} could not be restored", counted(failed, "object"));
    Error::new(ErrorKind::Server, message)
        .hint("All else is restored. With --exit-on-error a restore stops at the first error.")
}

/// A line: `TABLE app.jobs: type "app.state" does not exist [42704]`.
fn failure_text(failure: &FailureSummary) -> String {
    let sqlstate = failure.sqlstate.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
    let FailureSummary { kind, name, message, .. } = failure;
    format!("{}\n", printable(&format!("{kind} {name}: {message}{sqlstate}")))
}

/// What is restored, and into what.
struct Restore {
    repository: Repository,
    backup: Backup,
    settings: Settings,
    options: RestoreOptions,
}

impl Restore {
    async fn run(&self, args: &RestoreArgs, running: &Running) -> Result<ServerReport> {
        let Self { repository, backup, settings, options } = self;
        let (progress, interrupt) = (running.progress(), running.interrupt()?);
        let only = match (args.globals_only, args.roles_only, args.tablespaces_only) {
            (true, _, _) => Some(Globals::All),
            (_, true, _) => Some(Globals::Roles),
            (_, _, true) => Some(Globals::Tablespaces),
            _ => None,
        };
        let has_globals = backup.sealed_part()?.globals_stream.is_some();
        let globals = match only {
            None if args.globals => Some(Globals::All),
            None if args.all_databases && !args.no_globals && has_globals => Some(Globals::All),
            only => only,
        };
        if args.all_databases {
            let run = restore::run_all;
            return run(repository, backup, settings, globals, options, &progress, interrupt).await;
        }
        let mut report = ServerReport { globals: None, databases: Vec::new() };
        if let Some(which) = globals {
            let run = restore::run_globals;
            let done = run(repository, backup, settings, which, options, &progress).await?;
            report.globals = Some(done);
        }
        if only.is_none() {
            let run = restore::run;
            let done = run(repository, backup, settings, options, &progress, interrupt).await?;
            report.databases.push(done);
        }
        Ok(report)
    }
}

fn summary(restore: &Restore, report: ServerReport, started_at: i64) -> Summary {
    let finished_at = clock::now_micros();
    let micros = u64::try_from(finished_at.saturating_sub(started_at));
    let mut warnings = Vec::new();
    let globals = report.globals.map(|globals| {
        warnings.extend(globals.warnings);
        entries(globals.entries)
    });
    let databases = report.databases.into_iter().map(|database| {
        warnings.extend(database.warnings);
        DatabaseSummary {
            database: database.database,
            tables: database.tables,
            rows: database.rows,
            plain_bytes: database.bytes,
            analyzed: database.analyzed,
            drops: database.drops,
            entries: entries(database.entries),
            left_out: database.left_out.into_iter().map(left_out).collect(),
            failed: database.failed.into_iter().map(failure).collect(),
            missing: database.missing.into_iter().map(MissingSummary::from).collect(),
        }
    });
    let databases = databases.collect();
    Summary {
        command: "restore",
        backup: restore.backup.clear.id.to_string(),
        dry_run: restore.options.dry_run,
        moment: restore.options.recovery.as_deref().map(moment_summary),
        read_bytes: restore.repository.bytes_read(),
        started_at: rfc3339(started_at),
        finished_at: rfc3339(finished_at),
        globals,
        databases,
        warnings,
        took: Duration::from_micros(micros.unwrap_or(0)),
    }
}

fn moment_summary(recovery: &Recovery) -> MomentSummary {
    let last = recovery.last();
    MomentSummary {
        xid: last.map(|last| last.xid),
        lsn: last.map(|last| lsn(last.lsn)),
        committed_at: last.and_then(|last| rfc3339(last.time)),
        segments: recovery.segments() as u64,
        time: last.map(|last| local_time(last.time)),
    }
}

fn entries(names: Vec<(String, String)>) -> Vec<EntrySummary> {
    names.into_iter().map(|(kind, name)| EntrySummary { kind, name }).collect()
}

fn left_out(entry: LeftOut) -> LeftOutSummary {
    LeftOutSummary { kind: entry.kind, name: entry.name, needs: entry.needs }
}

fn failure(failure: Failure) -> FailureSummary {
    FailureSummary {
        kind: failure.kind,
        name: failure.name,
        sqlstate: failure.sqlstate,
        message: failure.message,
        skipped: failure.skipped,
    }
}

/// The plan: what is dropped as SQL, what is restored as kind and name.
fn plan_text(summary: &Summary) -> String {
    let mut text = String::new();
    let restores = |entries: &[EntrySummary], text: &mut String| {
        for entry in entries {
            text.push_str(&format!("restore {} {}\n", entry.kind, printable(&entry.name)));
        }
    };
    restores(summary.globals.as_deref().unwrap_or_default(), &mut text);
    for database in &summary.databases {
        if summary.databases.len() > 1 {
            text.push_str(&format!("into database \"{}\"\n", printable(&database.database)));
        }
        for drop in &database.drops {
            text.push_str(&printable(drop));
            text.push('\n');
        }
        restores(&database.entries, &mut text);
    }
    text
}

fn text(summary: &Summary) -> String {
    let id = summary.backup.get(..SHORT_ID_LEN).unwrap_or(&summary.backup);
    let sum = |number: fn(&DatabaseSummary) -> u64| summary.databases.iter().map(number).sum();
    let mut what = Vec::new();
    if let Some(globals) = &summary.globals {
        what.push(format!(
            "{} of roles and tablespaces",
            counted(globals.len() as u64, "statement")
        ));
    }
    if !summary.databases.is_empty() {
        what.push(format!(
            "{}, {} in {}, {}",
            counted(sum(|database| database.entries.len() as u64), "object"),
            counted(sum(|database| database.rows), "row"),
            counted(sum(|database| database.tables), "table"),
            bytes(sum(|database| database.plain_bytes)),
        ));
    }
    let what = what.join(", ");
    let names: Vec<String> =
        summary.databases.iter().map(|database| database.database.clone()).collect();
    let moment = summary.moment.as_ref().map_or_else(String::new, |moment| {
        let segments = counted(moment.segments, "segment");
        match (&moment.xid, &moment.lsn, &moment.time) {
            (Some(xid), Some(lsn), Some(time)) => {
                format!(" with {segments} of changes, up to transaction {xid} ({time}, {lsn}),")
            }
            _ => format!(" with {segments} of changes"),
        }
    });
    let read = bytes(summary.read_bytes);
    let into = if names.is_empty() { "the server".to_owned() } else { databases(&names) };
    if summary.dry_run {
        format!("backup {id}{moment} would be restored into {into}: {what}; nothing was changed")
    } else {
        let took = duration(summary.took);
        let failed = summary.databases.iter().any(|database| !database.failed.is_empty());
        let lacks = summary.databases.iter().any(|database| !database.missing.is_empty());
        let in_part = if failed || lacks { " in part" } else { "" };
        format!(
            "backup {id}{moment} is restored{in_part} into {into}: {what}, {read} read, in {took}"
        )
    }
}
