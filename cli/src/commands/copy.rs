//! `pgkeep copy`: backups into another repository.

use super::view::SHORT_ID_LEN;
use crate::access::{Context, Reads};
use crate::args::CopyArgs;
use crate::exit::Exit;
use crate::output::{Labels, Running, bytes, counted, printable};
use pgkeep_engine::copy::{self, CopyReport};
use pgkeep_engine::{Error, ErrorKind, Result};
use serde::Serialize;

const LABELS: Labels = Labels { bytes: "read", stored: Some("stored"), things: "backups" };

#[derive(Debug, Serialize)]
struct Summary {
    command: &'static str,
    from: String,
    repository: String,
    copied: Vec<CopiedSummary>,
    /// Backups that were there.
    already: Vec<String>,
    /// Backups that could not be read whole.
    failed: Vec<FailedSummary>,
}

#[derive(Debug, Serialize)]
struct CopiedSummary {
    backup: String,
    chunks: u64,
    new_chunks: u64,
    added_bytes: u64,
}

#[derive(Debug, Serialize)]
struct FailedSummary {
    backup: String,
    message: String,
}

/// Copies backups.
pub(super) async fn run(context: &Context, args: &CopyArgs) -> Result<Exit> {
    let place = context.place(&args.source.place(&args.repository.place))?;
    let identity = args.source.from_identity.as_deref();
    let from = context.open_place_for_reading(&place, identity, Reads::Sealed).await?;
    let to = context.open_for_writing(&args.repository).await?;
    let mut backups = Vec::with_capacity(args.backups.len());
    for wanted in &args.backups {
        backups.push(from.find(wanted).await?.clear.id);
    }
    let running = Running::start(context.output, LABELS, "starting");
    let (progress, interrupt) = (running.progress(), running.interrupt()?);
    let report = copy::run(&from, &to, &backups, &progress, interrupt).await?;
    running.finish();
    let summary = summary(from.id().to_string(), to.id().to_string(), report);
    if !context.output.is_json() {
        let lines: String = summary.failed.iter().map(failed_text).collect();
        context.output.data(lines.as_bytes())?;
    }
    context.output.summary(&summary, text)?;
    match summary.failed.len() as u64 {
        0 => Ok(Exit::Done),
        failed => {
            let message = format!("{} could not be copied", counted(failed, "backup"));
            Err(Error::new(ErrorKind::Damaged, message)
                .hint("What is wrong with them: pgkeep verify, of the source."))
        }
    }
}

fn summary(from: String, repository: String, report: CopyReport) -> Summary {
    let copied = report.copied.into_iter().map(|copied| CopiedSummary {
        backup: copied.backup.to_string(),
        chunks: copied.totals.chunks,
        new_chunks: copied.totals.new_chunks,
        added_bytes: copied.totals.added_bytes,
    });
    let failed = report.failed.into_iter();
    Summary {
        command: "copy",
        from,
        repository,
        copied: copied.collect(),
        already: report.already.iter().map(ToString::to_string).collect(),
        failed: failed
            .map(|(backup, message)| FailedSummary { backup: backup.to_string(), message })
            .collect(),
    }
}

fn failed_text(failed: &FailedSummary) -> String {
    let backup = failed.backup.get(..SHORT_ID_LEN).unwrap_or(&failed.backup);
    format!("{}\n", printable(&format!("backup {backup}: {}", failed.message)))
}

fn text(summary: &Summary) -> String {
    let new = summary.copied.iter().map(|copied| copied.new_chunks).sum();
    let added = summary.copied.iter().map(|copied| copied.added_bytes).sum();
    format!(
        "copied {} with {}, {}; {} there already",
        counted(summary.copied.len() as u64, "backup"),
        counted(new, "new chunk"),
        bytes(added),
        match summary.already.len() {
            1 => "1 was".to_owned(),
            already => format!("{already} were"),
        }
    )
}
