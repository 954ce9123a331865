//! `pgkeep repair`: says what was mended, what is lost and what that harms.

use super::view::SHORT_ID_LEN;
use crate::access::Context;
use crate::args::{RepairArgs, Repaired};
use crate::exit::Exit;
use crate::output::{Labels, Running, counted, printable};
use pgkeep_engine::repair::{self, RepairOptions, RepairReport};
use pgkeep_engine::{Error, ErrorKind, Result};
use serde::Serialize;

const LABELS: Labels = Labels { bytes: "read", stored: None, things: "packs" };

#[derive(Debug, Serialize)]
struct Summary {
    command: &'static str,
    what: &'static str,
    dry_run: bool,
    repository: String,
    /// Packs that new indexes name.
    indexed: Vec<String>,
    removed_indexes: Vec<RemovedSummary>,
    damaged: Vec<DamagedSummary>,
    /// Chunks that no pack has and some backup needs.
    lost: Vec<String>,
    harmed: Vec<HarmedSummary>,
    lost_keys: Vec<KeySummary>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RemovedSummary {
    index: String,
    message: String,
}

#[derive(Debug, Serialize)]
struct DamagedSummary {
    pack: String,
    good: u64,
    bad: Vec<String>,
    message: String,
}

#[derive(Debug, Serialize)]
struct HarmedSummary {
    backup: String,
    chunks: u64,
    streams: u64,
}

#[derive(Debug, Serialize)]
struct KeySummary {
    key: String,
    backups: Vec<String>,
    segments: u64,
}

/// Repairs indexes or packs.
pub(super) async fn run(context: &Context, args: &RepairArgs) -> Result<Exit> {
    let index = args.what == Repaired::Index;
    if index && (!args.packs.is_empty() || args.lost_keys) {
        let message = "options --pack and --lost-keys go with repair packs alone";
        return Err(Error::new(ErrorKind::Usage, message));
    }
    let repository = context.open_for_writing(&args.repository).await?;
    let options = RepairOptions {
        dry_run: args.dry_run,
        packs: args.packs.clone(),
        lost_keys: args.lost_keys,
    };
    let running = Running::start(context.output, LABELS, "starting");
    let (progress, interrupt) = (running.progress(), running.interrupt()?);
    let report = match args.what {
        Repaired::Index => repair::index(&repository, &options, &progress, interrupt).await?,
        Repaired::Packs => repair::packs(&repository, &options, &progress, interrupt).await?,
    };
    running.finish();
    let summary = summary(args, repository.id().to_string(), report);
    if !context.output.is_json() {
        context.output.data(lines(&summary).as_bytes())?;
    }
    context.output.summary(&summary, text)?;
    let told = summary.harmed.len() + summary.lost_keys.len() + summary.warnings.len();
    Ok(Exit::done_with(told))
}

fn summary(args: &RepairArgs, repository: String, report: RepairReport) -> Summary {
    let removed = report.removed_indexes.into_iter();
    let damaged = report.damaged.into_iter().map(|pack| DamagedSummary {
        pack: pack.pack.to_string(),
        good: pack.good,
        bad: pack.bad.iter().map(ToString::to_string).collect(),
        message: pack.message,
    });
    let harmed = report.harmed.into_iter().map(|harmed| HarmedSummary {
        backup: harmed.backup.to_string(),
        chunks: harmed.chunks,
        streams: harmed.streams,
    });
    let lost_keys = report.lost_keys.into_iter().map(|key| KeySummary {
        key: key.key.to_string(),
        backups: key.backups.iter().map(ToString::to_string).collect(),
        segments: key.segments,
    });
    Summary {
        command: "repair",
        what: match args.what {
            Repaired::Index => "index",
            Repaired::Packs => "packs",
        },
        dry_run: args.dry_run,
        repository,
        indexed: report.indexed.iter().map(ToString::to_string).collect(),
        removed_indexes: removed
            .map(|(index, message)| RemovedSummary { index: index.to_string(), message })
            .collect(),
        damaged: damaged.collect(),
        lost: report.lost.iter().map(ToString::to_string).collect(),
        harmed: harmed.collect(),
        lost_keys: lost_keys.collect(),
        warnings: report.warnings,
    }
}

/// What was found, a line each.
fn lines(summary: &Summary) -> String {
    let mut lines = Vec::new();
    for pack in &summary.damaged {
        let (good, bad) =
            (counted(pack.good, "good chunk"), counted(pack.bad.len() as u64, "chunk"));
        lines.push(format!("pack {}: {} ({good}, {bad} damaged)", pack.pack, pack.message));
    }
    for removed in &summary.removed_indexes {
        lines.push(format!("{}: {}", removed.index, removed.message));
    }
    for harmed in &summary.harmed {
        let backup = harmed.backup.get(..SHORT_ID_LEN).unwrap_or(&harmed.backup);
        let (chunks, streams) =
            (counted(harmed.chunks, "chunk"), counted(harmed.streams, "stream"));
        lines.push(format!("backup {backup} lacks {chunks} of {streams} (tables or definitions)"));
    }
    for key in &summary.lost_keys {
        let backups = key.backups.iter().map(|id| id.get(..SHORT_ID_LEN).unwrap_or(id));
        let backups: Vec<&str> = backups.collect();
        let harms = match (backups.is_empty(), key.segments) {
            (false, 0) => format!("backups {}", backups.join(", ")),
            (true, segments) => counted(segments, "segment of changes"),
            (false, segments) => {
                let segments = counted(segments, "segment");
                format!("backups {} and {segments} of changes", backups.join(", "))
            }
        };
        lines.push(format!("key {} is lost: it sealed {harms}", key.key));
    }
    lines.extend(summary.warnings.iter().cloned());
    lines.iter().map(|line| format!("{}\n", printable(line))).collect()
}

fn text(summary: &Summary) -> String {
    let (indexed, removed) = (summary.indexed.len() as u64, summary.removed_indexes.len() as u64);
    let mut text = match summary.what {
        "index" => format!(
            "named {} in new indexes, removed {} of no use",
            counted(indexed, "pack"),
            counted(removed, "index object"),
        ),
        _ => format!(
            "moved {} of {} into new packs",
            counted(summary.damaged.iter().map(|pack| pack.good).sum(), "good chunk"),
            counted(summary.damaged.len() as u64, "damaged pack"),
        ),
    };
    if summary.dry_run {
        text = format!("a repair would say: {text}; nothing was changed");
    }
    if !summary.lost.is_empty() {
        text.push_str(&format!(
            "\nBackups need {}: the next backup stores again what the database still has. \
             pgkeep verify tells the tables and rows, with the identity.",
            counted(summary.lost.len() as u64, "lost chunk"),
        ));
    }
    text
}
