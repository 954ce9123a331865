//! `pgkeep forget`: what is kept and what is not, each with its reason.

use super::view::{BackupView, SHORT_ID_LEN, lsn};
use crate::access::Context;
use crate::args::ForgetArgs;
use crate::exit::Exit;
use crate::output::{Align, Table, counted, local_time, printable};
use pgkeep_engine::forget::{self, Decision, ForgetOptions, Rules, StreamDecision};
use pgkeep_engine::{Result, clock};
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Forgotten {
    repository: String,
    dry_run: bool,
    kept: u64,
    forgotten: u64,
    retained: u64,
    backups: Vec<DecisionView>,
    streams: Vec<StreamView>,
}

#[derive(Debug, Serialize)]
struct DecisionView {
    id: String,
    keep: bool,
    reasons: Vec<String>,
    /// Absent where it cannot be read.
    backup: Option<BackupView>,
}

impl DecisionView {
    fn of(decision: &Decision) -> Self {
        Self {
            id: decision.id.to_string(),
            keep: decision.keep,
            reasons: decision.reasons.clone(),
            backup: decision.backup.as_ref().map(BackupView::from),
        }
    }
}

#[derive(Debug, Serialize)]
struct StreamView {
    stream: String,
    /// Absent without the identity.
    database: Option<String>,
    /// Where it begins, before and after.
    began: String,
    begins: String,
    forgotten_segments: u64,
    kept_segments: u64,
    reason: String,
}

impl StreamView {
    fn of(decision: &StreamDecision) -> Self {
        let [began, begins] = decision.begins.map(lsn);
        Self {
            stream: decision.stream.to_string(),
            database: decision.database.clone(),
            began,
            begins,
            forgotten_segments: decision.forgotten,
            kept_segments: decision.kept,
            reason: decision.reason.clone(),
        }
    }
}

/// Forgets backups.
pub(super) async fn run(context: &Context, args: &ForgetArgs) -> Result<Exit> {
    let repository = context.open_for_keeping(&args.repository).await?;
    let rules = &args.rules;
    let options = ForgetOptions {
        rules: Rules {
            last: rules.keep_last,
            hourly: rules.keep_hourly,
            daily: rules.keep_daily,
            weekly: rules.keep_weekly,
            monthly: rules.keep_monthly,
            yearly: rules.keep_yearly,
            within: rules.keep_within,
            tags: rules.keep_tags.clone(),
        },
        changes: rules.keep_changes,
        names: args.backups.clone(),
        last_too: args.last_too,
        dry_run: args.dry_run,
        now: clock::now_micros(),
        zone: jiff::tz::TimeZone::system(),
    };
    let decisions = forget::run(&repository, &options).await?;
    let kept = decisions.backups.iter().filter(|decision| decision.keep).count() as u64;
    let forgotten = Forgotten {
        repository: repository.id().to_string(),
        dry_run: args.dry_run,
        kept,
        forgotten: decisions.backups.len() as u64 - kept,
        retained: decisions.retained(),
        backups: decisions.backups.iter().map(DecisionView::of).collect(),
        streams: decisions.streams.iter().map(StreamView::of).collect(),
    };
    context.output.document(&forgotten, text)?;
    if !context.output.is_json() {
        context.output.note(&note(&forgotten));
        if forgotten.retained > 0 {
            let retained = counted(forgotten.retained, "object");
            context.output.warning(&format!(
                "the store does not let {retained} go: locks are not over, or these credentials may \
                 not remove; forget again later"
            ));
        }
    }
    Ok(Exit::done_with(usize::from(forgotten.retained > 0)))
}

fn note(forgotten: &Forgotten) -> String {
    let segments: u64 = forgotten.streams.iter().map(|stream| stream.forgotten_segments).sum();
    let mut what = counted(forgotten.forgotten, "backup");
    if segments > 0 {
        what = format!("{what} and {} of changes", counted(segments, "segment"));
    }
    match (forgotten.dry_run, forgotten.forgotten + segments) {
        (true, _) => format!("would forget {what}; nothing was changed"),
        (false, 0) => "forgot no backup".to_owned(),
        (false, _) => format!("forgot {what}; to free what they needed, run: pgkeep prune"),
    }
}

fn text(forgotten: &Forgotten) -> String {
    let mut table = Table::new(&[
        ("", Align::Left),
        ("id", Align::Left),
        ("finished", Align::Left),
        ("database", Align::Left),
        ("tags", Align::Left),
        ("reasons", Align::Left),
    ]);
    for decision in &forgotten.backups {
        let backup = decision.backup.as_ref();
        let database = backup.and_then(BackupView::database_line);
        table.row(vec![
            if decision.keep { "keep" } else { "forget" }.to_owned(),
            decision.id.get(..SHORT_ID_LEN).unwrap_or(&decision.id).to_owned(),
            backup.map_or_else(String::new, |backup| local_time(backup.finished_micros)),
            database.map_or_else(|| "(sealed)".to_owned(), |line| printable(&line)),
            backup.map_or_else(String::new, |backup| printable(&backup.tag_line())),
            printable(&decision.reasons.join(", ")),
        ]);
    }
    let mut text = table.render();
    if !forgotten.streams.is_empty() {
        text.push('\n');
        text.push_str(&streams(&forgotten.streams));
    }
    text
}

fn streams(streams: &[StreamView]) -> String {
    let mut table = Table::new(&[
        ("stream", Align::Left),
        ("database", Align::Left),
        ("begins", Align::Left),
        ("forget", Align::Right),
        ("keep", Align::Right),
        ("reason", Align::Left),
    ]);
    for stream in streams {
        table.row(vec![
            stream.stream.get(..SHORT_ID_LEN).unwrap_or(&stream.stream).to_owned(),
            stream.database.as_deref().map_or_else(|| "(sealed)".to_owned(), printable),
            stream.begins.clone(),
            stream.forgotten_segments.to_string(),
            stream.kept_segments.to_string(),
            stream.reason.clone(),
        ]);
    }
    table.render()
}
